// One output of a convolution from its definition, taps outside the image left out.
//
// The fast kernels multiply padding as zeros. That is wrong for weights that are Inf or NaN, and then the sum is NaN:
// so outputs that are NaN are computed again by this.
#pragma once

#include "cuda/device.h"
#include "cuda/float16.h"
#include "cuda/kernels/conv2d_geometry.h"

namespace fastconv {
namespace cuda {

template <class T>
FASTCONV_DEVICE_NOINLINE float conv2d_sum_inside(const Conv2dGeometry& g, const T* input, const T* weight,
                                                 std::int32_t output_pixel, std::int32_t channel) {
  const InputPixel at = input_pixel(g, output_pixel);
  weight += static_cast<std::int64_t>(channel) * g.kh * g.kw * g.icg;
  float sum = 0;
  for (std::int32_t kh = 0; kh < g.kh; ++kh) {
    for (std::int32_t kw = 0; kw < g.kw; ++kw, weight += g.icg) {
      const std::int32_t h = at.h + kh * g.dilation_h, w = at.w + kw * g.dilation_w;
      if (!inside(g, h, w)) continue;
      const T* pixel =
          input + ((static_cast<std::int64_t>(at.n) * g.ih + h) * g.iw + w) * g.ic + channel / g.ocg * g.icg;
      for (std::int32_t c = 0; c < g.icg; ++c) sum = multiply_add(to_float(pixel[c]), to_float(weight[c]), sum);
    }
  }
  return sum;
}

}  // namespace cuda
}  // namespace fastconv
