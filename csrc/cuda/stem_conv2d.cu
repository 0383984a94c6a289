// Driver of the convolution of images with few channels.
#include "cuda/stem_conv2d.h"

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_params.h"
#include "cuda/kernels/stem_conv2d.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kMostBytes = 48 << 10;  // what every GPU has without asking

// Output channels of a tile: 32 where more would be idle.
int stem_outputs(const Conv2dShape& s) { return s.oc <= 32 ? 32 : 64; }

std::int64_t patch_rows(const Conv2dShape& s) { return (kStemRows - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1; }
std::int64_t patch_columns(const Conv2dShape& s) {
  return (kStemColumns - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1;
}
std::int64_t pitch(const Conv2dShape& s) { return patch_columns(s) | 1; }  // odd: rows begin in other banks

template <class T, int kChannels>
auto kernel_of(const Conv2dShape& s) {
  return stem_outputs(s) == 32 ? stem_conv2d<T, kChannels, 4> : stem_conv2d<T, kChannels, 8>;
}

template <class T>
void forward(const Conv2dShape& s, const T* input, bool planar, const T* weight, const T* bias, T* output, bool relu,
             Stream stream) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const auto fit = [&](std::int64_t value) { return to_int32("conv2d", value, kMost, s); };
  fit(s.ih + s.pad_top + s.pad_bottom), fit(s.iw + s.pad_left + s.pad_right);
  StemParams<T> p{};
  p.weight = weight, p.bias = bias, p.planar = planar, p.relu = relu;
  p.in_fours = s.oc % 4 == 0 && aligned(output, 4 * sizeof(T));
  p.ih = fit(s.ih), p.iw = fit(s.iw), p.ic = fit(s.ic), p.oh = fit(s.oh), p.ow = fit(s.ow), p.oc = fit(s.oc);
  p.kh = fit(s.kh), p.kw = fit(s.kw), p.stride_h = fit(s.stride_h), p.stride_w = fit(s.stride_w);
  p.pad_top = fit(s.pad_top), p.pad_left = fit(s.pad_left);
  p.dilation_h = fit(s.dilation_h), p.dilation_w = fit(s.dilation_w);
  p.patch_rows = fit(patch_rows(s)), p.patch_columns = fit(patch_columns(s)), p.pitch = fit(pitch(s));
  p.row_tiles = fit(ceil_div(s.oh, kStemRows)), p.column_tiles = fit(ceil_div(s.ow, kStemColumns));
  p.channel_tiles = fit(ceil_div(s.oc, stem_outputs(s)));
  constexpr int kOne = sizeof(T) == 4 ? 1 : 0;  // of 16 bits, one channel takes the loop for any number
  const auto kernel = s.ic == 3 ? kernel_of<T, 3>(s) : s.ic == 1 ? kernel_of<T, kOne>(s) : kernel_of<T, 0>(s);
  const std::int64_t in_image = std::int64_t{p.row_tiles} * p.column_tiles * p.channel_tiles;
  const std::int64_t step = std::max<std::int64_t>(1, kMaxBlocks / in_image);
  for (std::int64_t n = 0; n < s.n; n += step) {
    p.input = input + n * s.ic * s.ih * s.iw, p.output = output + n * s.oh * s.ow * s.oc;
    launch({"stem_conv2d", std::min(step, s.n - n) * in_image, kStemThreads, stem_conv2d_shared_bytes(s), stream},
           kernel, p, s);
  }
}

}  // namespace

std::int64_t stem_conv2d_shared_bytes(const Conv2dShape& s) {
  return (s.ic * patch_rows(s) * pitch(s) + s.kw * s.ic * (stem_outputs(s) + 4)) * static_cast<int>(sizeof(float));
}

bool stem_conv2d_takes(const Conv2dShape& s) {
  const auto small = [](std::int64_t size) { return size <= 1024; };  // the sizes below cannot overflow then
  return s.groups == 1 && s.ic <= kMostStemChannels && small(s.kh) && small(s.kw) && small(s.stride_h) &&
         small(s.stride_w) && small(s.dilation_h) && small(s.dilation_w) && stem_conv2d_shared_bytes(s) <= kMostBytes;
}

void stem_conv2d_forward(const Conv2dShape& s, ElementType type, const void* input, bool planar, const void* weight,
                         const void* bias, void* output, bool relu, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    forward(s, static_cast<const T*>(input), planar, static_cast<const T*>(weight), static_cast<const T*>(bias),
            static_cast<T*>(output), relu, stream);
  });
}

}  // namespace cuda
}  // namespace fastconv
