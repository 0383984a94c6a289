// The gradient of the input as TMA sees it: phases (kernels/conv2d_phase.h) with stride 1 over grad_output, in one
// tensor map.
#pragma once

#include <algorithm>

#include "cuda/conv2d_backward_input.h"

namespace fastconv {
namespace cuda {

// Along one axis: the first output pixel that a tap of any phase may meet, where the last position of that tap lies,
// from the last output pixel on, and how far from it another tap may be.
struct PhaseReach {
  std::int64_t lower, upper, last_tap;
};

inline PhaseReach phase_reach(const PhaseAxis& x, std::int64_t output_size) {
  std::int64_t lower = 0, last = 0;
  bool any = false;
  for (std::int32_t e = 0; e < std::min(x.tap_step, x.kernel); ++e) {  // the others have no taps
    const Phase p = phase(x, e);
    if (p.pixels == 0) continue;
    const std::int64_t first = p.first_output - std::int64_t{p.taps - 1} * x.output_step;
    lower = any ? std::min(lower, first) : first;
    last = any ? std::max<std::int64_t>(last, p.first_output) : p.first_output;
    any = true;
  }
  return {lower, x.most_pixels + lower - output_size, last - lower};
}

}  // namespace cuda
}  // namespace fastconv
