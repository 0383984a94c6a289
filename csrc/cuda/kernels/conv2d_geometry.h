// What a convolution kernel knows of its geometry, in 32 bits, and the two walks that implicit GEMM needs: from a row
// of the product to a pixel, and from a position of the sum to a tap.
//
// Activations lie in memory as (N, H, W, C), weights as (O, KH, KW, C/groups).
#pragma once

#include <cstdint>

#include "cuda/fast_divide.h"

namespace fastconv {
namespace cuda {

struct Conv2dGeometry {
  std::int32_t ih, iw, ic;
  std::int32_t oh, ow, oc;
  std::int32_t icg, ocg;  // channels of one group
  std::int32_t kh, kw;
  std::int32_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  std::int32_t output_pixels;   // n * oh * ow
  FastDivide by_plane, by_row;  // of output pixels: oh * ow, ow
  FastDivide by_icg, by_kw;     // of positions in a filter
};

// The input pixel under tap (0, 0) of an output pixel; it may lie outside the image.
struct InputPixel {
  std::int32_t n, h, w;
};

FASTCONV_DEVICE InputPixel input_pixel(const Conv2dGeometry& g, std::int32_t output_pixel) {
  const std::int32_t n = g.by_plane.quotient(output_pixel);
  const std::int32_t in_plane = g.by_plane.remainder(output_pixel, n);
  const std::int32_t oh = g.by_row.quotient(in_plane);
  const std::int32_t ow = g.by_row.remainder(in_plane, oh);
  return {n, oh * g.stride_h - g.pad_top, ow * g.stride_w - g.pad_left};
}

FASTCONV_DEVICE bool inside(const Conv2dGeometry& g, std::int32_t h, std::int32_t w) {
  return static_cast<std::uint32_t>(h) < static_cast<std::uint32_t>(g.ih) &&
         static_cast<std::uint32_t>(w) < static_cast<std::uint32_t>(g.iw);
}

// A position in the sum over (kh, kw, c), found from its number, or moved on by one.
struct Tap {
  std::int32_t kh, kw, c;

  FASTCONV_DEVICE static Tap at(std::int32_t depth, const FastDivide& by_channels, const FastDivide& by_kernel_w) {
    const std::int32_t tap = by_channels.quotient(depth), kh = by_kernel_w.quotient(tap);
    return {kh, by_kernel_w.remainder(tap, kh), by_channels.remainder(depth, tap)};
  }

  FASTCONV_DEVICE void next(std::int32_t channels, std::int32_t taps_w) {
    if (++c < channels) return;
    c = 0;
    if (++kw == taps_w) kw = 0, ++kh;
  }
};

}  // namespace cuda
}  // namespace fastconv
