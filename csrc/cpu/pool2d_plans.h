// The plans of the pooling passes, for those who run them and for those who explain them.
#pragma once

#include "cpu/pool2d_tasks.h"

namespace fastconv {

template <class T>
PoolPlan plan_max_forward(const Pool2dShape& s, Layout layout, std::int64_t place_size) {
  return plan_pool(s, layout, false, sizeof(T), pool_bytes(s, sizeof(T), place_size));
}

template <class T>
PoolPlan plan_max_backward(const Pool2dShape& s, Layout layout, std::int64_t place_size) {
  return plan_pool(s, layout, true, sizeof(T), pool_bytes(s, sizeof(T), place_size), kMostGatherRows);
}

template <class T>
PoolPlan plan_avg(const Pool2dShape& s, Layout layout, bool backward) {
  return plan_pool(s, layout, backward, sizeof(T), pool_bytes(s, sizeof(T), 0), backward ? kMostGatherRows : INT64_MAX);
}

// Gathering visits every window over a pixel, scattering only every window's maximum, but one element at a time. In
// planes that pays for pairs of columns that are streamed alone. Both add in the order of the windows: the same bits.
inline bool max_backward_gathers(const Pool2dShape& s, const PoolPlan& plan) {
  if (s.dilation_h != 1 || s.dilation_w != 1) return false;
  if (plan.planes && !(plan.stream && s.stride_w == 2 && s.kw == 2 && s.pad_left == 0 && s.pad_top == 0)) return false;
  const std::int64_t over_h = windows_covering(s.kh, s.stride_h), over_w = windows_covering(s.kw, s.stride_w);
  return over_h <= kMostGathered && over_w <= kMostGathered && over_h * over_w <= kMostGathered;
}

// Elements that one thread borrows beside its stage: rows of sums, one for each row of pixels, and shares.
inline std::int64_t avg_backward_room(const Pool2dShape& s, const PoolPlan& plan) {
  return plan.planes ? (plan.piece_rows + 1) * gather_pitch(pool_windows(s)) : 0;
}

}  // namespace fastconv
