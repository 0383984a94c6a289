// Drivers of depthwise convolution: forward, and the gradient of the input.
#include "cuda/depthwise_conv2d.h"

#include "cuda/depthwise_conv2d_params.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class T>
struct Work {
  const char* name;
  void (*kernel)(DepthwiseParams<T>);
  std::int64_t rows, columns;  // tiles of an image
  std::int64_t reads, writes;  // elements of an image
  std::int64_t shared_bytes;
};

// As many images at a time as have tiles that are counted in 31 bits.
template <class T>
void run(const Work<T>& work, const Conv2dShape& s, DepthwiseParams<T> p, Stream stream) {
  const std::int64_t in_image = to_int32("conv2d", work.rows * work.columns, kMostTiles, s);
  const std::int64_t step = std::max<std::int64_t>(1, kMostTiles / in_image);
  p.geometry.by_image = FastDivide(static_cast<std::int32_t>(in_image));
  p.geometry.by_rows = FastDivide(static_cast<std::int32_t>(work.rows));
  for (std::int64_t n = 0; n < s.n; n += step) {
    p.geometry.tiles = static_cast<std::int32_t>(std::min(step, s.n - n) * in_image);
    const std::int64_t blocks = ceil_div(p.geometry.tiles, kDepthwiseThreads / p.geometry.lanes) * p.geometry.chunks;
    launch({work.name, blocks, kDepthwiseThreads, work.shared_bytes, stream}, work.kernel, p, s);
    p.input += step * work.reads, p.output += step * work.writes, p.mask_first += step * work.writes;
  }
}

template <class T, int kVector>
auto unrolled(const Conv2dShape& s) {
  if (s.kh == 3) return s.stride_h == 1 ? depthwise_conv2d<T, kVector, 3, 1> : depthwise_conv2d<T, kVector, 3, 2>;
  return s.stride_h == 1 ? depthwise_conv2d<T, kVector, 5, 1> : depthwise_conv2d<T, kVector, 5, 2>;
}

std::int64_t weight_bytes(const DepthwiseGeometry& g, bool in_fours) {
  return std::int64_t{g.kh} * g.kw * g.lanes * (in_fours ? 4 : 1) * static_cast<int>(sizeof(float));
}
constexpr std::int64_t kMostStagedBytes = 48 << 10;

template <class T>
void run_unrolled(const Conv2dShape& s, const DepthwiseParams<T>& p, bool in_fours, Stream stream) {
  const DepthwiseGeometry& g = p.geometry;
  run<T>({"depthwise_conv2d", in_fours ? unrolled<T, 4>(s) : unrolled<T, 1>(s), ceil_div(g.oh, 2), ceil_div(g.ow, 4),
          std::int64_t{g.ih} * g.iw * g.ic, std::int64_t{g.oh} * g.ow * g.oc, weight_bytes(g, in_fours)},
         s, p, stream);
}

template <class T>
void forward(const Conv2dShape& s, const T* input, const T* weight, const T* bias, T* output, bool relu,
             Stream stream) {
  DepthwiseParams<T> p{};
  p.input = input, p.weight = weight, p.bias = bias, p.output = output, p.relu = relu;
  DepthwiseGeometry& g = p.geometry = depthwise_geometry("conv2d", s);
  const bool in_fours = depthwise_in_fours(s) && aligned(input, 4 * sizeof(T)) && aligned(output, 4 * sizeof(T));
  g.lanes = depthwise_lanes(s, s.oc);
  g.chunks = static_cast<std::int32_t>(ceil_div(s.oc / (in_fours ? 4 : 1), g.lanes));
  if (depthwise_unrolled(s)) return run_unrolled(s, p, in_fours, stream);
  const std::int64_t bytes = weight_bytes(g, in_fours);
  p.staged = bytes <= kMostStagedBytes;
  run<T>({"depthwise_conv2d_any", in_fours ? depthwise_conv2d_any<T, 4> : depthwise_conv2d_any<T, 1>, s.oh, s.ow,
          s.ih * s.iw * s.ic, s.oh * s.ow * s.oc, p.staged ? bytes : 0},
         s, p, stream);
}

template <class T>
void backward_input(const Conv2dShape& s, const T* weight, const T* grad_output, const std::uint32_t* mask,
                    T* grad_input, Stream stream) {
  DepthwiseParams<T> p{};
  p.input = grad_output, p.weight = weight, p.output = grad_input, p.mask = mask;
  DepthwiseGeometry& g = p.geometry = depthwise_geometry("conv2d_backward_input", s);
  const bool in_fours =
      depthwise_in_fours(s) && aligned(grad_output, 4 * sizeof(T)) && aligned(grad_input, 4 * sizeof(T));
  g.lanes = depthwise_lanes(s, s.ic);
  g.chunks = static_cast<std::int32_t>(ceil_div(s.ic / (in_fours ? 4 : 1), g.lanes));
  if (depthwise_unrolled(s) && s.stride_h == 1 && s.oc == s.ic) {
    std::swap(g.ih, g.oh), std::swap(g.iw, g.ow);
    g.pad_top = g.kh - 1 - g.pad_top, g.pad_left = g.kw - 1 - g.pad_left;
    p.turned = true;
    return run_unrolled(s, p, in_fours, stream);
  }
  const std::int64_t bytes = weight_bytes(g, in_fours) * g.multiplier;
  p.staged = bytes <= kMostStagedBytes;
  run<T>({"depthwise_conv2d_backward_input_any",
          in_fours ? depthwise_conv2d_backward_input_any<T, 4> : depthwise_conv2d_backward_input_any<T, 1>, s.ih, s.iw,
          s.oh * s.ow * s.oc, s.ih * s.iw * s.ic, p.staged ? bytes : 0},
         s, p, stream);
}

}  // namespace

void depthwise_conv2d_forward(const Conv2dShape& s, ElementType type, const void* input, const void* weight,
                              const void* bias, void* output, bool relu, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    forward(s, static_cast<const T*>(input), static_cast<const T*>(weight), static_cast<const T*>(bias),
            static_cast<T*>(output), relu, stream);
  });
}

void depthwise_conv2d_backward_input(const Conv2dShape& s, ElementType type, const void* weight,
                                     const void* grad_output, const std::uint32_t* mask, void* grad_input,
                                     Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    backward_input(s, static_cast<const T*>(weight), static_cast<const T*>(grad_output), mask,
                   static_cast<T*>(grad_input), stream);
  });
}

}  // namespace cuda
}  // namespace fastconv
