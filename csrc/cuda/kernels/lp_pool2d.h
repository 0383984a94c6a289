// A thread has an element. p = 1 and 2 are exact; others take a power of double.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/lp_pool2d.h"

namespace fastconv {
namespace cuda {

constexpr int kNormPowerThreads = 256;

FASTCONV_DEVICE float without_sign(float x) { return x < 0 ? -x : x; }
FASTCONV_DEVICE float power_of(float x, double exponent) { return static_cast<float>(power(x, exponent)); }

static FASTCONV_KERNEL norm_power_kernel(FASTCONV_GRID_CONSTANT const NormPower p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kNormPowerThreads + thread_x();
  if (at >= p.count) return;
  const float x = p.input[at], saved = p.saved ? p.saved[at] : 0;
  float y = x;
  switch (p.step) {
    case NormStep::power:
      y = p.p == 1 ? without_sign(x) : p.p == 2 ? x * x : power_of(without_sign(x), p.p);
      break;
    case NormStep::root:
      y = p.p == 1 ? x : p.p == 2 ? root(x) : power_of(x, 1 / p.p);
      break;
    case NormStep::root_back:
      if (p.p != 1) y = saved == 0 ? 0 : p.p == 2 ? x / saved : x * power_of(saved, 1 - p.p);
      break;
    case NormStep::power_back:
      if (p.p == 2) {
        y = x * saved;
        break;
      }
      if (p.p != 1) y = x * power_of(without_sign(saved), p.p - 1);
      y *= saved > 0 ? 1 : saved < 0 ? -1 : saved;  // NaN stays
      break;
  }
  p.output[at] = y;
}

}  // namespace cuda
}  // namespace fastconv
