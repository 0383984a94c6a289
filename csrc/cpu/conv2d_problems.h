// How the convolution passes look to the direct loop nest: forward is one problem, backward-input one per stride phase.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/conv2d_shape.h"
#include "cpu/channel_lanes.h"
#include "cpu/conv2d_choice.h"
#include "cpu/direct_conv.h"
#include "cpu/pack_weight.h"
#include "cpu/pixel_lanes.h"
#include "cpu/winograd.h"

namespace fastconv {

template <class T>
DirectConv<T> forward_problem(const Conv2dShape& shape);
template <class T>
WeightView<T> forward_weight(const Conv2dShape& shape, const T* weight);

// The input rows (or columns) at phase, phase + stride, ... all meet the same taps: kernel index first_tap, first_tap +
// tap_stride, ... (`taps` of them). For position i of the phase tap t reads grad_output at origin + i - t * grad_step.
struct PhaseAxis {
  std::int64_t positions;
  std::int64_t taps, first_tap, tap_stride;
  std::int64_t origin, grad_step;
};

PhaseAxis phase_axis(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                     std::int64_t phase);

// One phase of backward-input: a stride-1 correlation of grad_output whose outputs lie stride apart in grad_input.
struct BackwardInputPhase {
  PhaseAxis h, w;
  std::int64_t row, column;  // the first input row and column of the phase
  bool no_taps() const { return h.taps == 0 || w.taps == 0; }
};

BackwardInputPhase backward_input_phase(const Conv2dShape& shape, std::int64_t row, std::int64_t column);
template <class T>
DirectConv<T> backward_input_problem(const Conv2dShape& shape, const BackwardInputPhase& phase);
template <class T>
WeightView<T> backward_input_weight(const Conv2dShape& shape, const BackwardInputPhase& phase, const T* weight);

template <class T>
std::int64_t packed_phase_elements(const Conv2dShape& s, const BackwardInputPhase& phase) {
  return packed_elements(s.groups, s.icg(), s.ocg(), phase.h.taps * phase.w.taps,
                         active_kernel_set<T>().conv.vector_size);
}

// Runs a problem whose packed weights are those of the choice. `weight` is what was packed.
template <class T>
void run_problem(const Conv2dChoice& choice, const DirectConv<T>& problem, const WeightView<T>& weight) {
  if constexpr (std::is_same_v<T, float>)
    if (choice.method() == Method::winograd) return run_winograd(choice.tile(), problem, weight);
  if (choice.method() == Method::pixel_lanes) return run_pixel_lanes(problem);
  if (choice.method() == Method::channel_lanes) return run_channel_lanes(problem);
  run_direct(problem);
}

// Every phase that has input positions; where the stride exceeds the image there are as many as pixels.
template <class Function>
void for_each_phase(const Conv2dShape& s, Function&& function) {
  for (std::int64_t row = 0; row < std::min(s.stride_h, s.ih); ++row)
    for (std::int64_t column = 0; column < std::min(s.stride_w, s.iw); ++column)
      function(backward_input_phase(s, row, column));
}

}  // namespace fastconv
