// The gradient of the input by phases. Input rows whose numbers leave the same remainder by the stride, a phase, are
// reached by the same taps of the filter, and from one such row to the next the output row moves by one. So every phase
// is a convolution with stride 1 over grad_output, and nothing is multiplied by the zeros between.
//
// Along one axis, with stride s, dilation d and g = gcd(s, d), padded row h + pad meets tap k where
// (h + pad - k d) % s == 0. If k does, so do k + s/g, k + 2 s/g, ..., and the output rows that they reach lie d/g
// apart. Where g > 1 some phases have no tap at all; their gradient is zero.
#pragma once

#include <cstdint>

#include "cuda/host_device.h"

namespace fastconv {
namespace cuda {

struct PhaseAxis {
  std::int32_t size, kernel, stride, pad, dilation;
  std::int32_t tap_step, output_step;   // s/g, d/g
  std::int32_t most_pixels, most_taps;  // of one phase; another has as many, or one less, or none
};

struct Phase {
  std::int32_t first_pixel, pixels;  // input rows first_pixel + i * stride
  std::int32_t first_tap, taps;      // first_tap + t * tap_step
  std::int32_t first_output;         // pixel i meets tap t at output row first_output + i - t * output_step
};

// Number e of the stride's phases, those with most taps first: phase e < s/g begins with tap e.
FASTCONV_HOST_DEVICE Phase phase(const PhaseAxis& x, std::int32_t e) {
  const auto remainder = [](std::int64_t a, std::int32_t by) {
    const auto r = static_cast<std::int32_t>(a % by);
    return r < 0 ? r + by : r;
  };
  Phase p{};
  if (e < x.tap_step) {
    const std::int64_t dilated = static_cast<std::int64_t>(e) * x.dilation;
    p.first_pixel = remainder(dilated - x.pad, x.stride);
    p.first_tap = e;
    p.taps = e < x.kernel ? (x.kernel - 1 - e) / x.tap_step + 1 : 0;
    p.first_output = static_cast<std::int32_t>((p.first_pixel + x.pad - dilated) / x.stride);
  } else {  // the pixels that are not -pad modulo g
    const std::int32_t g = x.stride / x.tap_step, rest = e - x.tap_step;
    p.first_pixel = rest / (g - 1) * g + (remainder(-x.pad, g) + 1 + rest % (g - 1)) % g;
  }
  p.pixels = p.first_pixel < x.size ? (x.size - 1 - p.first_pixel) / x.stride + 1 : 0;
  return p;
}

}  // namespace cuda
}  // namespace fastconv
