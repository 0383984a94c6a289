// Driver of the gradient of depthwise weights: how many slices, and what they need.
#include "cuda/depthwise_conv2d.h"
#include "cuda/depthwise_conv2d_params.h"
#include "cuda/kernels/depthwise_conv2d_weight.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kMostBlocks = 1024, kMostBytes = 16 << 20;

struct Slices {
  std::int64_t tiles;  // strips of four outputs, or single ones
  std::int64_t columns, slices, tiles_of_slice;
};

// As many slices as fill a large GPU, but no more than there is work and memory for.
Slices slices_of(const Conv2dShape& s) {
  Slices p{};
  p.columns = depthwise_unrolled(s) ? ceil_div(s.ow, 4) : s.ow;
  p.tiles =
      to_int32("conv2d_backward_weight", checked_mul(s.n * s.oh, p.columns, "conv2d_backward_weight"), kMostTiles, s);
  const std::int64_t taps = s.kh * s.kw, lanes = depthwise_lanes(s, s.oc);
  const std::int64_t chunks = ceil_div(s.oc / (depthwise_in_fours(s) ? 4 : 1), lanes);
  const std::int64_t blocks = chunks * (depthwise_unrolled(s) ? 1 : taps);
  constexpr std::int64_t kTilesOfThread = 4;
  const std::int64_t most = std::min({kMostBlocks / blocks, kMostBytes / (s.oc * taps * 4),
                                      ceil_div(p.tiles, kDepthwiseThreads / lanes * kTilesOfThread)});
  p.tiles_of_slice = ceil_div(p.tiles, std::max<std::int64_t>(most, 1));
  p.slices = p.tiles == 0 ? 1 : ceil_div(p.tiles, p.tiles_of_slice);
  return p;
}

template <class T, int kVector>
auto kernel_of(const Conv2dShape& s) {
  if (!depthwise_unrolled(s)) return depthwise_conv2d_backward_weight_any<T, kVector>;
  if (s.kh == 3)
    return s.stride_h == 1 ? depthwise_conv2d_backward_weight<T, kVector, 3, 1>
                           : depthwise_conv2d_backward_weight<T, kVector, 3, 2>;
  return s.stride_h == 1 ? depthwise_conv2d_backward_weight<T, kVector, 5, 1>
                         : depthwise_conv2d_backward_weight<T, kVector, 5, 2>;
}

template <class T>
void backward_weight(const Conv2dShape& s, const T* input, const T* grad_output, const DepthwiseSum<T>& to,
                     void* workspace, Stream stream) {
  const Slices slices = slices_of(s);
  const bool in_fours = depthwise_in_fours(s) && aligned(input, 4 * sizeof(T)) && aligned(grad_output, 4 * sizeof(T));
  DepthwiseWeightParams<T> p{};
  p.input = input, p.grad_output = grad_output, p.to = to;
  p.partial = slices.slices == 1 ? nullptr : static_cast<float*>(workspace);

  DepthwiseGeometry& g = p.geometry = depthwise_geometry("conv2d_backward_weight", s);
  g.lanes = depthwise_lanes(s, s.oc);
  g.chunks = static_cast<std::int32_t>(ceil_div(s.oc / (in_fours ? 4 : 1), g.lanes));
  g.tiles = static_cast<std::int32_t>(slices.tiles);
  p.slices = static_cast<std::int32_t>(slices.slices);
  p.tiles_of_slice = static_cast<std::int32_t>(slices.tiles_of_slice);
  p.columns = static_cast<std::int32_t>(slices.columns);
  p.by_columns = FastDivide(p.columns), p.by_height = FastDivide(g.oh);

  const std::int64_t taps = s.kh * s.kw;
  const std::int64_t blocks = slices.slices * g.chunks * (depthwise_unrolled(s) ? 1 : taps);
  const std::int64_t shared_bytes = kDepthwiseThreads * (in_fours ? 4 : 1) * static_cast<int>(sizeof(float));
  launch({"depthwise_conv2d_backward_weight", blocks, kDepthwiseThreads, shared_bytes, stream},
         in_fours ? kernel_of<T, 4>(s) : kernel_of<T, 1>(s), p, s);
  if (slices.slices == 1) return;
  const DepthwiseSumParams<T> sum{{p.partial, nullptr, s.oc * taps, p.slices, to.accumulate}, to};
  launch(
      {"depthwise_conv2d_weight_sum", ceil_div(sum.slices.count, kSumElements), kSumThreads, kSumSharedBytes, stream},
      depthwise_conv2d_weight_sum<T>, sum, s);
}

}  // namespace

std::int64_t depthwise_conv2d_backward_weight_workspace(const Conv2dShape& s) {
  const std::int64_t slices = slices_of(s).slices;
  return slices == 1 ? 0 : slices * s.oc * s.kh * s.kw * static_cast<int>(sizeof(float));
}

void depthwise_conv2d_backward_weight(const Conv2dShape& s, ElementType type, bool wide, const void* input,
                                      const void* grad_output, void* grad_weight, void* workspace, bool accumulate,
                                      Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    backward_weight<T>(s, static_cast<const T*>(input), static_cast<const T*>(grad_output),
                       {grad_weight, wide, accumulate}, workspace, stream);
  });
}

}  // namespace cuda
}  // namespace fastconv
