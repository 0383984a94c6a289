// Max pooling, forward. Channels last: channels in the lanes, one window after the other. Planes: neighbouring windows
// in the lanes, those that meet the padding one by one; where the windows are wide and few (global pooling), the pixels
// under one window are the lanes instead. In all of them the first maximum wins, and the first NaN wins over every
// number.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline bool beats(T x, T best) {
  return !(x <= best) & (best == best);
}

// The window whose first tap is `corner`, for the channels of one vector; Side != 0 fixes both counts of taps.
template <class T, bool WithIndices, int Side>
inline __attribute__((always_inline)) void max_window(const MaxPoolRowArgs<T>& a, const T* corner, std::int64_t first,
                                                      std::int64_t taps_w, int lanes, std::int64_t at) {
  const std::int64_t rows = Side ? Side : a.rows.count, columns = Side ? Side : taps_w;
  const std::int64_t row_step = a.dilation_h * a.columns.iw, column_step = a.columns.dilation;
  Vec<T> best = load_lanes(corner, lanes);
  VecIndex<T> index = VecIndex<T>::broadcast(static_cast<std::int32_t>(first));
  for (std::int64_t th = 0; th < rows; ++th) {
    for (std::int64_t tw = th == 0; tw < columns; ++tw) {
      const std::int64_t step = th * row_step + tw * column_step;
      const Vec<T> x = load_lanes(corner + step * a.pixel, lanes);
      if (WithIndices) {
        const typename Vec<T>::Mask better = beats(x, best);
        best = select(better, x, best);
        index = select(better, VecIndex<T>::broadcast(static_cast<std::int32_t>(first + step)), index);
      } else {
        best = max_or_nan(x, best);
      }
    }
  }
  store_lanes(best, a.output + at, lanes);
  if (WithIndices) store_index_lanes<T>(index, a.indices + at, lanes);
}

template <class T, bool WithIndices, int Side>
inline __attribute__((always_inline)) void max_window_channels(const MaxPoolRowArgs<T>& a, const T* corner,
                                                               std::int64_t first, std::int64_t taps_w,
                                                               std::int64_t at) {
  constexpr int kSize = Vec<T>::kSize;
  std::int64_t c = 0;
  for (; c + kSize <= a.channels; c += kSize)
    max_window<T, WithIndices, Side>(a, corner + c, first, taps_w, kSize, at + c);
  if (c < a.channels)
    max_window<T, WithIndices, Side>(a, corner + c, first, taps_w, static_cast<int>(a.channels - c), at + c);
}

template <class T, bool WithIndices>
void max_windows_nhwc(const MaxPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) {
    const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, w.dilation, w.iw);
    const std::int64_t first = a.rows.first * w.iw + taps.first;
    const T* corner = a.input + first * a.pixel;
    if (a.rows.count == 2 && taps.count == 2)
      max_window_channels<T, WithIndices, 2>(a, corner, first, taps.count, ow * a.pixel);
    else
      max_window_channels<T, WithIndices, 0>(a, corner, first, taps.count, ow * a.pixel);
  }
}

template <class T>
void max_row_nhwc(const MaxPoolRowArgs<T>& a) {
  if (a.indices)
    max_windows_nhwc<T, true>(a);
  else
    max_windows_nhwc<T, false>(a);
}

// Neighbouring windows of a plane, from ow on, that lie inside the image.
template <class T, bool WithIndices, int Stride>
inline void max_full_windows(const MaxPoolRowArgs<T>& a, std::int64_t ow, int lanes) {
  const PoolColumns& w = a.columns;
  const std::int64_t first = a.rows.first * w.iw + ow * w.stride - w.pad;
  const VecIndex<T> start = WithIndices ? VecIndex<T>::broadcast(static_cast<std::int32_t>(first)) +
                                              VecIndex<T>::ramp(static_cast<std::int32_t>(w.stride))
                                        : VecIndex<T>::broadcast(0);
  Vec<T> best = load_strided<T, Stride>(a.input + first, w.stride, lanes);
  VecIndex<T> index = start;
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    for (std::int64_t kw = th == 0; kw < w.kernel; ++kw) {
      const std::int64_t step = th * a.dilation_h * w.iw + kw * w.dilation;
      const Vec<T> x = load_strided<T, Stride>(a.input + first + step, w.stride, lanes);
      if (WithIndices) {
        const typename Vec<T>::Mask better = beats(x, best);
        best = select(better, x, best);
        index = select(better, start + VecIndex<T>::broadcast(static_cast<std::int32_t>(step)), index);
      } else {
        best = max_or_nan(x, best);
      }
    }
  }
  store_lanes(best, a.output + ow, lanes);
  if (WithIndices) store_index_lanes<T>(index, a.indices + ow, lanes);
}

// One window of a plane, as far as it lies inside the image.
template <class T>
inline void max_border_window(const MaxPoolRowArgs<T>& a, std::int64_t ow) {
  const PoolColumns& w = a.columns;
  const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, w.dilation, w.iw);
  const T* best = a.input + a.rows.first * w.iw + taps.first;
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const T* row = a.input + (a.rows.first + th * a.dilation_h) * w.iw + taps.first;
    for (std::int64_t tw = 0; tw < taps.count; ++tw)
      if (beats(row[tw * w.dilation], *best)) best = row + tw * w.dilation;
  }
  a.output[ow] = *best;
  if (a.indices) a.indices[ow] = static_cast<std::int32_t>(best - a.input);
}

template <class T, bool WithIndices>
inline void max_windows_nchw(const MaxPoolRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  const Span full = a.columns.full;
  const std::int64_t end = full.first + full.count;
  for (std::int64_t ow = full.first; ow < end; ow += kSize) {
    const int lanes = lanes_from(ow, end, kSize);
    if (a.columns.stride == 1)
      max_full_windows<T, WithIndices, 1>(a, ow, lanes);
    else if (a.columns.stride == 2)
      max_full_windows<T, WithIndices, 2>(a, ow, lanes);
    else
      max_full_windows<T, WithIndices, 0>(a, ow, lanes);
  }
  for (std::int64_t ow = 0; ow < full.first; ++ow) max_border_window(a, ow);
  for (std::int64_t ow = end; ow < a.columns.ow; ++ow) max_border_window(a, ow);
}

// The maximum of neighbouring pixels, pixels in the lanes; the caller finds where it was.
template <class T>
inline T max_of_run(const T* x, std::int64_t count) {
  constexpr int kSize = Vec<T>::kSize;
  if (count < kSize) {
    T best = x[0];
    for (std::int64_t i = 1; i < count; ++i) best = beats(x[i], best) ? x[i] : best;
    return best;
  }
  Vec<T> best = Vec<T>::load(x);
  for (std::int64_t i = kSize; i < count; i += kSize)
    best = max_or_nan(Vec<T>::load(x + (i + kSize <= count ? i : count - kSize)), best);  // the last one overlaps
  T lane[kSize];
  best.store(lane);
  for (int half = kSize / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] = beats(lane[i + half], lane[i]) ? lane[i + half] : lane[i];
  return lane[0];
}

// Rows that follow each other in memory without a gap are one run.
template <class T>
void max_wide_windows_nchw(const MaxPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) {
    const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
    const bool one_run = taps.count == w.iw && a.dilation_h == 1;
    const std::int64_t runs = one_run ? 1 : a.rows.count, length = one_run ? a.rows.count * w.iw : taps.count;
    const T* best = a.input + a.rows.first * w.iw + taps.first;
    for (std::int64_t r = 0; r < runs; ++r) {
      const T* run = a.input + (a.rows.first + r * a.dilation_h) * w.iw + taps.first;
      const T value = max_of_run(run, length);
      if (r > 0 && !beats(value, *best)) continue;
      best = run;
      // The bound only matters if somebody writes to the input meanwhile.
      while (best + 1 < run + length && !(*best == value || (value != value && *best != *best))) ++best;
    }
    a.output[ow] = *best;
    if (a.indices) a.indices[ow] = static_cast<std::int32_t>(best - a.input);
  }
}

template <class T>
void max_row_nchw(const MaxPoolRowArgs<T>& a) {
  if (a.columns.kernel > a.columns.ow && a.columns.dilation == 1)
    max_wide_windows_nchw(a);
  else if (a.indices)
    max_windows_nchw<T, true>(a);
  else
    max_windows_nchw<T, false>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
