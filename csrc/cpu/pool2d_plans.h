// The plans of the pooling passes, for those who run them and for those who explain them.
#pragma once

#include "cpu/pool2d_tasks.h"
#include "cpu/scratch.h"

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

// Bytes of one thread for planes side by side: pixels of a cache line; places are at most as wide as values.
inline std::int64_t beside_bytes(const Pool2dShape& s, bool places) {
  const std::int64_t windows = s.oh * s.ow;
  return (s.ih * s.iw + windows + (places ? windows : 0)) * static_cast<std::int64_t>(kAlignment);
}

// Whether small planes are computed side by side (pool2d_beside.h). Pairs of columns are separated in registers, which
// pays as long as the windows of a row fill a vector; few channels would leave lanes empty.
inline bool planes_beside(const Pool2dShape& s, Layout layout, bool places) {
  constexpr std::int64_t kMostBytes = 640 * 1024, kFewChannels = 16;
  if (layout != Layout::nchw || s.c < kFewChannels || s.ow == 1) return false;
  return s.ih * s.iw < kMostBytes && beside_bytes(s, places) <= kMostBytes;
}
inline bool forward_beside(const Pool2dShape& s, Layout layout, bool places) {
  constexpr std::int64_t kRowOfPairs = 14;
  const bool pairs = s.kw == 2 && s.kh == 2 && s.stride_w == 2 && s.pad_left == 0 && s.pad_top == 0;
  if (s.kw > s.ow || (pairs && s.ow >= kRowOfPairs)) return false;
  return planes_beside(s, layout, places);
}
// Of average pooling; in max pooling comparisons of whole vectors cost more than an addition for every window.
inline bool backward_beside(const Pool2dShape& s, Layout layout) {
  constexpr std::int64_t kMostOver = 9;
  const std::int64_t over_h = windows_covering(s.kh, s.stride_h), over_w = windows_covering(s.kw, s.stride_w);
  return over_h <= kMostOver && over_h * over_w <= kMostOver && planes_beside(s, layout, false);
}

// Elements that one thread borrows beside its stage: rows of sums, one for each row of pixels, and shares.
inline std::int64_t avg_backward_room(const Pool2dShape& s, const PoolPlan& plan) {
  return plan.planes ? (plan.piece_rows + 1) * gather_pitch(pool_windows(s)) : 0;
}

}  // namespace fastconv
