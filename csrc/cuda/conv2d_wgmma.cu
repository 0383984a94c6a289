#include "cuda/conv2d_wgmma.h"

#include "cuda/tensor_map.h"

namespace fastconv {
namespace cuda {

const char* conv2d_wgmma_refuses(const Conv2dShape& s, ElementType type, Precision precision, bool aligned,
                                 int compute_capability) {
  if (precision == Precision::kIeee) return "wgmma does not multiply exactly";
#if defined(FASTCONV_HOPPER)
  if (compute_capability != 90) return "wgmma needs compute capability 9.0";
  if (!tensor_maps_available()) return "the driver makes no tensor maps";
  if (precision == Precision::kTf32x3) return "three products for each are not written for wgmma";
  if (s.groups != 1) return "wgmma takes one group";
  // What tensor maps can say: lines of whole 16 bytes, corners of 8 bits, taps of 8 bits without a sign, strides to 8.
  if (!aligned) return "TMA needs addresses that are multiples of 16";
  if (s.ic * bytes_of(type) % 16 != 0) return "TMA needs channels in whole 16 bytes";
  if (s.ih * s.iw * s.ic * bytes_of(type) >= std::int64_t{1} << 40) return "TMA needs images below 2^40 bytes";
  const auto axis_fits = [](std::int64_t before, std::int64_t after, std::int64_t kernel, std::int64_t dilation,
                            std::int64_t stride) {
    const std::int64_t last_tap = (kernel - 1) * dilation, upper = after - last_tap;
    return before <= 128 && upper >= -128 && upper <= 127 && last_tap < 256 && stride <= 8;
  };
  if (!axis_fits(s.pad_top, s.pad_bottom, s.kh, s.dilation_h, s.stride_h) ||
      !axis_fits(s.pad_left, s.pad_right, s.kw, s.dilation_w, s.stride_w))
    return "TMA needs strides up to 8, padding up to 128 and filters that reach less than 128 beyond it";
  // What fills it: a slab is 128 bytes of channels, the smallest tile has 64 columns. Nobody has measured these yet.
  if (s.ic * bytes_of(type) < 64) return "too few input channels for slabs of 128 bytes";
  if (s.oc <= 32) return "too few output channels for tiles of 64 columns";
  return nullptr;
#else
  (void)s, (void)type, (void)precision, (void)aligned, (void)compute_capability;
  return "this build has no code for sm_90a";
#endif
}

Conv2dForwardChoice choose_conv2d_wgmma(const Conv2dShape& s) {
  // The widest tile reads the image half as often, but there are half as many: for images that have many by themselves.
  const int columns = s.oc > 128 && s.oh * s.ow >= 28 * 28 ? 256 : s.oc > 64 ? 128 : 64;
  return {"conv2d_forward_wgmma", true, columns, 0, 4, true};
}

}  // namespace cuda
}  // namespace fastconv
