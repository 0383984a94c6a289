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

// Planes side by side (pool2d_beside.h) go in bands of rows, whose pixels and windows stay in the L2 cache.
struct BesidePlan {
  std::int64_t rows, bands;  // written: windows forward, pixels backward; no rows: not even one is worth it
  std::int64_t read_rows;    // at most, for one band
  std::int64_t bytes;        // of one thread
};

// Rows that must be read for those that are written.
inline Span rows_for(const Pool2dShape& s, bool backward, Span written) {
  const std::int64_t last = written.first + written.count - 1;
  if (backward) {
    const Span from = windows_over(written.first, s.kh, s.stride_h, s.pad_top, s.oh);
    const Span to = windows_over(last, s.kh, s.stride_h, s.pad_top, s.oh);
    return {from.first, std::max<std::int64_t>(0, to.first + to.count - from.first)};
  }
  const std::int64_t begin = std::clamp<std::int64_t>(written.first * s.stride_h - s.pad_top, 0, s.ih);
  const std::int64_t end = last * s.stride_h - s.pad_top + (s.kh - 1) * s.dilation_h + 1;
  return {begin, std::clamp<std::int64_t>(end, begin, s.ih) - begin};
}

// A pixel is a cache line of as many planes; places are at most as wide as values.
inline BesidePlan plan_beside(const Pool2dShape& s, bool backward, bool places) {
  constexpr std::int64_t kMostBytes = 640 * 1024, kBandBytes = 320 * 1024;
  constexpr auto kPixel = static_cast<std::int64_t>(kAlignment);
  const std::int64_t all = backward ? s.ih : s.oh, extent = (s.kh - 1) * s.dilation_h + 1;
  const std::int64_t written = (backward ? s.iw : s.ow * (places ? 2 : 1)) * kPixel;
  const std::int64_t read = (backward ? s.ow : s.iw) * kPixel;
  const auto most_read = [&](std::int64_t rows) {
    return backward ? std::min(s.oh, (rows - 1) / s.stride_h + windows_covering(s.kh, s.stride_h) + 1)
                    : std::min(s.ih, (rows - 1) * s.stride_h + extent);
  };
  const auto bytes = [&](std::int64_t rows) { return most_read(rows) * read + rows * written; };
  if (written > kMostBytes || read > kMostBytes) return {};
  BesidePlan plan{all, 1, 0, 0};
  if (all > kMostBytes / written || bytes(all) > kMostBytes) {
    std::int64_t fits = 0;
    for (std::int64_t step = kBandBytes / written; step > 0; step /= 2)
      while (fits + step <= all && bytes(fits + step) <= kBandBytes) fits += step;
    if (fits == 0 || fits < windows_covering(extent, s.stride_h)) return {};  // mostly rows read again
    plan.bands = ceil_div(all, fits);
    plan.rows = ceil_div(all, plan.bands);
  }
  plan.read_rows = most_read(plan.rows);
  plan.bytes = bytes(plan.rows);
  return plan;
}

// Pairs of columns are separated in registers, which pays as long as the windows of a row fill a vector; few channels
// would leave lanes empty. Wider planes are worth it where neighbouring windows would be read lane by lane.
inline bool planes_beside(const Pool2dShape& s, Layout layout, bool backward, bool places) {
  constexpr std::int64_t kFewChannels = 16, kMostShuffled = 2;
  if (layout != Layout::nchw || s.c < kFewChannels || s.ow == 1) return false;
  const BesidePlan plan = plan_beside(s, backward, places);
  return plan.bands == 1 || (plan.rows > 0 && s.stride_w > kMostShuffled);
}
inline bool forward_beside(const Pool2dShape& s, Layout layout, bool places) {
  constexpr std::int64_t kRowOfPairs = 14;
  const bool pairs = s.kw == 2 && s.kh == 2 && s.stride_w == 2 && s.pad_left == 0 && s.pad_top == 0;
  if (s.kw > s.ow || (pairs && s.ow >= kRowOfPairs)) return false;
  return planes_beside(s, layout, false, places);
}
// Of average pooling; in max pooling comparisons of whole vectors cost more than an addition for every window.
inline bool backward_beside(const Pool2dShape& s, Layout layout) {
  constexpr std::int64_t kMostOver = 9;
  const std::int64_t over_h = windows_covering(s.kh, s.stride_h), over_w = windows_covering(s.kw, s.stride_w);
  return over_h <= kMostOver && over_h * over_w <= kMostOver && planes_beside(s, layout, true, false);
}

// Planes with one row of windows over all of their rows, as in global pooling, are one tall plane: many small ones cost
// one call. (Not for flat indices, which count from the beginning of a plane.)
inline Pool2dShape stacked(const Pool2dShape& s, Layout layout) {
  Pool2dShape tall = s;
  if (layout != Layout::nchw || s.oh != 1 || s.kh != s.ih || s.pad_top != 0 || s.pad_bottom != 0) return tall;
  tall.n = tall.c = 1;
  tall.oh = s.n * s.c;
  tall.ih = tall.oh * s.ih, tall.stride_h = s.ih;
  return tall;
}

// Elements that one thread borrows beside its stage: rows of sums, one for each row of pixels, and shares.
inline std::int64_t avg_backward_room(const Pool2dShape& s, const PoolPlan& plan) {
  return plan.planes ? (plan.piece_rows + 1) * gather_pitch(pool_windows(s)) : 0;
}

}  // namespace fastconv
