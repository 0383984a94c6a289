// Max pooling, forward. Channels last: channels in the lanes, one window at a time in registers. Planes: the row of
// outputs is the accumulator and takes one tap after the other, so that columns are the lanes; where the windows are
// wide and few (global pooling), the pixels under one window are the lanes instead.
// In all of them the first maximum wins, and the first NaN wins over every number.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline bool beats(T x, T best) {
  return !(x <= best) && best == best;
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

// Folds one tap of `count` neighbouring windows into their outputs: x[i * stride], at index `first` + i * stride.
// First is the tap that the outputs begin with. Stride != 0 fixes the stride, for the compiler's vectors.
template <class T, bool WithIndices, bool First, int Stride>
inline void fold_tap(const T* x, std::int64_t count, std::int64_t stride, std::int32_t first, T* __restrict output,
                     std::int32_t* __restrict indices) {
  const std::int64_t s = Stride ? Stride : stride;
  for (std::int64_t i = 0; i < count; ++i) {
    const T value = x[i * s], best = output[i];
    const bool better = First || (WithIndices ? beats(value, best) : value > best || value != value);
    output[i] = better ? value : best;
    if (WithIndices) indices[i] = better ? first + static_cast<std::int32_t>(i * s) : indices[i];
  }
}

// Windows [begin, end), whose tap lies at tap[ow * stride].
template <class T, bool WithIndices, bool First>
inline void fold_windows(const MaxPoolRowArgs<T>& a, const T* tap, std::int32_t index, std::int64_t begin,
                         std::int64_t end) {
  const std::int64_t stride = a.columns.stride, count = end - begin;
  const T* x = tap + begin * stride;
  const std::int32_t first = WithIndices ? index + static_cast<std::int32_t>(begin * stride) : 0;
  T* output = a.output + begin;
  std::int32_t* indices = WithIndices ? a.indices + begin : nullptr;
  if (stride == 1)
    fold_tap<T, WithIndices, First, 1>(x, count, stride, first, output, indices);
  else if (stride == 2)
    fold_tap<T, WithIndices, First, 2>(x, count, stride, first, output, indices);
  else
    fold_tap<T, WithIndices, First, 0>(x, count, stride, first, output, indices);
}

template <class T, bool WithIndices>
void max_taps_nchw(const MaxPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const std::int64_t row = (a.rows.first + th * a.dilation_h) * w.iw;
    for (std::int64_t kw = 0; kw < w.kernel; ++kw) {
      // The windows whose tap kw is a column of the image: 0 <= ow * stride + offset < iw.
      const std::int64_t offset = kw * w.dilation - w.pad;
      const std::int64_t begin = offset < 0 ? (w.stride - 1 - offset) / w.stride : 0;
      std::int64_t end = offset < w.iw ? (w.iw - 1 - offset) / w.stride + 1 : 0;
      if (end > w.ow) end = w.ow;
      const T* x = a.input + row + offset;
      const std::int32_t index = static_cast<std::int32_t>(row + offset);
      std::int64_t next = begin;
      if (th == 0) {
        // Windows without a tap before this one begin with it: all at kw = 0, later those that begin left of the image.
        const std::int64_t before = offset - w.dilation;
        next = kw == 0 ? end : before < 0 ? (w.stride - 1 - before) / w.stride : 0;
        if (next > end) next = end;
        if (begin < next) fold_windows<T, WithIndices, true>(a, x, index, begin, next);
      }
      if (next < end) fold_windows<T, WithIndices, false>(a, x, index, next, end);
    }
  }
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
  for (int i = 1; i < kSize; ++i) lane[0] = beats(lane[i], lane[0]) ? lane[i] : lane[0];
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
      while (!(*best == value || (value != value && *best != *best))) ++best;
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
    max_taps_nchw<T, true>(a);
  else
    max_taps_nchw<T, false>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
