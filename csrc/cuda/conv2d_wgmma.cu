#include "cuda/conv2d_wgmma.h"

#include <cstdlib>
#include <cstring>

#include "core/checked_math.h"
#include "cuda/conv2d_phase_reach.h"
#include "cuda/tensor_map.h"

namespace fastconv {
namespace cuda {

namespace {

#if defined(FASTCONV_HOPPER)
bool switched_off() {
  const char* const wanted = std::getenv("FASTCONV_CUDA_WGMMA");
  return wanted && std::strcmp(wanted, "0") == 0;
}

// What every pass asks for.
const char* refuses_all_of(const Conv2dShape& s, Precision precision, bool aligned, int compute_capability) {
  if (compute_capability != 90) return "wgmma needs compute capability 9.0";
  if (switched_off()) return "FASTCONV_CUDA_WGMMA=0 is set";
  if (!tensor_maps_available()) return "the driver makes no tensor maps";
  if (precision == Precision::kTf32x3) return "three products for each are not written for wgmma";
  if (s.groups != 1) return "wgmma takes one group";
  if (!aligned) return "TMA needs addresses that are multiples of 16";
  return nullptr;
}

// What tensor maps can say: lines of whole 16 bytes, corners of 8 bits, taps of 8 bits without a sign, strides to 8.
constexpr const char* kPieces = "TMA needs channels in whole 16 bytes";
constexpr const char* kImages = "TMA needs images below 2^40 bytes";
bool in_pieces(std::int64_t channels, ElementType type) { return channels * bytes_of(type) % 16 == 0; }
bool image_fits(std::int64_t elements, ElementType type) { return elements * bytes_of(type) < std::int64_t{1} << 40; }
bool corner_fits(std::int64_t corner) { return corner >= -128 && corner <= 127; }

// What fills a tile: a slab is 128 bytes of channels, the smallest tile has 64 columns. Nobody has measured these yet.
bool fills_slabs(std::int64_t channels, ElementType type) { return channels * bytes_of(type) >= 64; }
bool fills_columns(std::int64_t channels) { return channels > 32; }

const char* refuses_window(const Conv2dShape& s, ElementType type) {
  if (!in_pieces(s.ic, type)) return kPieces;
  if (!image_fits(s.ih * s.iw * s.ic, type)) return kImages;
  const auto axis_fits = [](std::int64_t before, std::int64_t after, std::int64_t kernel, std::int64_t dilation,
                            std::int64_t stride) {
    const std::int64_t last_tap = (kernel - 1) * dilation;
    return corner_fits(-before) && corner_fits(after - last_tap) && last_tap < 256 && stride <= 8;
  };
  if (!axis_fits(s.pad_top, s.pad_bottom, s.kh, s.dilation_h, s.stride_h) ||
      !axis_fits(s.pad_left, s.pad_right, s.kw, s.dilation_w, s.stride_w))
    return "TMA needs strides up to 8, padding up to 128 and filters that reach less than 128 beyond it";
  return nullptr;
}
#else
constexpr const char* kMissing = "this build has no code for sm_90a";
#endif

int columns_of(std::int64_t channels, std::int64_t pixels) {
  // The widest tile reads the image half as often, but there are half as many: for images that have many by themselves.
  return channels > 128 && pixels >= 28 * 28 ? 256 : channels > 64 ? 128 : 64;
}

}  // namespace

const char* conv2d_wgmma_refuses(const Conv2dShape& s, ElementType type, Precision precision, bool aligned,
                                 int compute_capability) {
  if (precision == Precision::kIeee) return "wgmma does not multiply exactly";
#if defined(FASTCONV_HOPPER)
  if (const char* why = refuses_all_of(s, precision, aligned, compute_capability)) return why;
  if (const char* why = refuses_window(s, type)) return why;
  if (!fills_slabs(s.ic, type)) return "too few input channels for slabs of 128 bytes";
  if (!fills_columns(s.oc)) return "too few output channels for tiles of 64 columns";
  return nullptr;
#else
  (void)s, (void)type, (void)aligned, (void)compute_capability;
  return kMissing;
#endif
}

const char* conv2d_backward_input_wgmma_refuses(const Conv2dShape& s, ElementType type, Precision precision,
                                                bool aligned, int compute_capability) {
  if (precision == Precision::kIeee) return "wgmma does not multiply exactly";
#if defined(FASTCONV_HOPPER)
  if (const char* why = refuses_all_of(s, precision, aligned, compute_capability)) return why;
  if (type == ElementType::kFloat32) return "wgmma turns operands of 16 bits only, as the weight is here";
  if (!in_pieces(s.ic, type) || !in_pieces(s.oc, type)) return kPieces;
  if (!image_fits(s.oh * s.ow * s.oc, type)) return kImages;
  const auto axis_fits = [](std::int64_t size, std::int64_t output_size, std::int64_t kernel, std::int64_t stride,
                            std::int64_t pad, std::int64_t dilation) {
    constexpr std::int64_t kMost = std::int64_t{1} << 30;  // beyond, the launch says what is too large
    if (std::max({size, output_size, kernel, stride, pad, dilation, kernel * dilation}) > kMost) return false;
    const PhaseReach reach = phase_reach(phase_axis(size, output_size, kernel, stride, pad, dilation), output_size);
    return corner_fits(reach.lower) && corner_fits(reach.upper) && reach.last_tap < 256;
  };
  if (!axis_fits(s.ih, s.oh, s.kh, s.stride_h, s.pad_top, s.dilation_h) ||
      !axis_fits(s.iw, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w))
    return "TMA needs filters and padding that reach up to 128 output pixels beyond the last";
  if (!fills_slabs(s.oc, type)) return "too few output channels for slabs of 128 bytes";
  if (!fills_columns(s.ic)) return "too few input channels for tiles of 64 columns";
  return nullptr;
#else
  (void)s, (void)type, (void)aligned, (void)compute_capability;
  return kMissing;
#endif
}

const char* conv2d_backward_weight_wgmma_refuses(const Conv2dShape& s, ElementType type, Precision precision,
                                                 bool aligned, int compute_capability) {
  if (precision == Precision::kIeee) return "wgmma does not multiply exactly";
#if defined(FASTCONV_HOPPER)
  if (const char* why = refuses_all_of(s, precision, aligned, compute_capability)) return why;
  if (type == ElementType::kFloat32) return "wgmma turns operands of 16 bits only, as both are here";
  if (const char* why = refuses_window(s, type)) return why;
  if (!in_pieces(s.oc, type)) return kPieces;
  if (!fills_slabs(s.ic, type)) return "too few input channels for columns in blocks of 64";
  if (!fills_columns(s.oc)) return "too few output channels for tiles of 64 rows";
  return nullptr;
#else
  (void)s, (void)type, (void)aligned, (void)compute_capability;
  return kMissing;
#endif
}

Conv2dForwardChoice choose_conv2d_wgmma(const Conv2dShape& s) {
  return {"conv2d_forward_wgmma", true, columns_of(s.oc, s.oh * s.ow), 0, 4, true};
}

Conv2dBackwardChoice choose_conv2d_backward_input_wgmma(const Conv2dShape& s) {
  return {"conv2d_backward_input_wgmma", true, 128, columns_of(s.ic, s.ih * s.iw), 0, 4, true};
}

Conv2dBackwardChoice choose_conv2d_backward_weight_wgmma(const Conv2dShape& s) {
  // With 64 rows each warpgroup has half of the columns: the wider, the less often it reads its rows.
  const bool wide = s.oc <= 64 && s.kh * s.kw * ceil_div(s.ic, 64) > 2;
  return {"conv2d_backward_weight_wgmma", true, s.oc > 64 ? 128 : 64, wide ? 256 : 128, 0, 4, true};
}

}  // namespace cuda
}  // namespace fastconv
