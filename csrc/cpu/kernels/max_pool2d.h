// Max pooling, forward. Channels last: channels in the lanes, one window after the other. Planes: neighbouring windows
// in the lanes, those that meet the padding one by one; where the windows are wide and few (global pooling), the pixels
// under one window are the lanes instead. In all of them the first maximum wins, and the first NaN wins over every
// number. Windows of 2x2 and 3x3 have loops of their own, without counters.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/pool_lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline bool beats(T x, T best) {
  return !(x <= best) & (best == best);
}

// How a place is counted: nothing, flat indices or numbers of taps.
struct NoPlaces {};

template <class I>
inline I* advance(I* places, std::int64_t count) {
  return std::is_same_v<I, NoPlaces> ? places : places + count;
}

// The taps of one window that lie inside the image, and the places that they stand for.
template <class T>
struct Taps {
  const T* first;
  std::int64_t rows, columns, row_step, column_step;  // steps in elements
  std::int64_t place, place_row, place_column;

  template <class I>
  static Taps steps(const MaxPoolArgs<T>& a, std::int64_t pixel) {
    const PoolWindows& w = a.windows;
    constexpr bool kFlat = std::is_same_v<I, std::int32_t>;
    Taps t{};
    t.row_step = w.dilation_h * w.iw * pixel, t.column_step = w.dilation_w * pixel;
    t.place_row = kFlat ? w.dilation_h * w.iw : w.kw, t.place_column = kFlat ? w.dilation_w : 1;
    return t;
  }

  // Goes to the window that begins at (row, column), of which these taps lie inside.
  template <class I>
  void move_to(const MaxPoolArgs<T>& a, std::int64_t pixel, std::int64_t row, Span inside_h, std::int64_t column,
               Span inside_w) {
    const PoolWindows& w = a.windows;
    const std::int64_t at = inside_h.first * w.iw + inside_w.first;
    first = a.input + at * pixel;
    rows = inside_h.count, columns = inside_w.count;
    place = std::is_same_v<I, std::int32_t>
                ? at
                : (inside_h.first - row) / w.dilation_h * w.kw + (inside_w.first - column) / w.dilation_w;
  }

  VecIndex<T> places_of(std::int64_t th, std::int64_t tw) const {
    return VecIndex<T>::broadcast(static_cast<std::int32_t>(th * place_row + tw * place_column));
  }
};

template <class T, class I>
inline __attribute__((always_inline)) void take_tap(Vec<T> x, VecIndex<T> place, Vec<T>& best, VecIndex<T>& where) {
  if constexpr (std::is_same_v<I, NoPlaces>) {
    best = max_or_nan(x, best);
  } else {
    const typename Vec<T>::Mask better = beats(x, best);
    best = select(better, x, best);
    where = select(better, place, where);
  }
}

template <class T, class I>
inline __attribute__((always_inline)) void store_maximum(const MaxPoolArgs<T>& a, Vec<T> best, VecIndex<T> where,
                                                         T* output, I* places, int lanes) {
  put_lanes(best, output, lanes, a.stream);
  if constexpr (std::is_same_v<I, std::uint8_t>)
    if (a.positive_only) where = select(not_less_equal(best, Vec<T>::zero()), where, VecIndex<T>::broadcast(kNoTap));
  if constexpr (!std::is_same_v<I, NoPlaces>) store_index_lanes<T>(where, places, lanes);
}

// One window, all channels; Side != 0 fixes both counts of taps.
template <class T, class I, int Side>
inline __attribute__((always_inline)) void max_pixel(const MaxPoolArgs<T>& a, const Taps<T>& t, Prefetch& ahead,
                                                     T* output, I* places) {
  const std::int64_t rows = Side ? Side : t.rows, columns = Side ? Side : t.columns;
  const VecIndex<T> start = VecIndex<T>::broadcast(static_cast<std::int32_t>(t.place));
  for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) __attribute__((always_inline)) {
    const T* corner = t.first + c;
    ahead.next();
    Vec<T> best = load_lanes(corner, lanes);
    VecIndex<T> where = VecIndex<T>::broadcast(0);
#pragma GCC unroll 3
    for (std::int64_t th = 0; th < rows; ++th) {
#pragma GCC unroll 3
      for (std::int64_t tw = 0; tw < columns; ++tw) {
        if (th == 0 && tw == 0) continue;
        take_tap<T, I>(load_lanes(corner + th * t.row_step + tw * t.column_step, lanes), t.places_of(th, tw), best,
                       where);
      }
    }
    store_maximum<T, I>(a, best, where + start, output + c, advance(places, c), lanes);
  });
}

// Neighbouring windows of a row that have all their taps.
template <class T, class I, int Side>
void max_inside_nhwc(const MaxPoolArgs<T>& a, Taps<T> t, std::int64_t count, Prefetch& prefetch, T* output, I* places) {
  Prefetch ahead = prefetch;  // in registers
  const std::int64_t step = a.windows.stride_w * a.pixel;
  const std::int64_t place_step = std::is_same_v<I, std::int32_t> ? a.windows.stride_w : 0;
  for (; count > 0; --count) {
    max_pixel<T, I, Side>(a, t, ahead, output, places);
    t.first += step, t.place += place_step, output += a.pixel, places = advance(places, a.pixel);
  }
  prefetch = ahead;
}

template <class T, class I>
void max_run_nhwc(const MaxPoolArgs<T>& a, I* places) {
  const PoolWindows& w = a.windows;
  const std::int64_t top = a.run.row * w.stride_h - w.pad_h;
  const Span rows = taps_inside(top, w.kh, w.dilation_h, w.ih);
  Taps<T> t = Taps<T>::template steps<I>(a, a.pixel);
  const std::int64_t end = a.run.column + a.run.columns;
  Prefetch ahead(a.ahead, a.ahead_lines);
  for (std::int64_t ow = a.run.column; ow < end;) {
    const std::int64_t at = (ow - a.run.column) * a.pixel, left = ow * w.stride_w - w.pad_w;
    t.template move_to<I>(a, a.pixel, top, rows, left, taps_inside(left, w.kw, w.dilation_w, w.iw));
    const std::int64_t full_end = w.full.first + w.full.count;
    if (ow < w.full.first || ow >= full_end) {
      max_pixel<T, I, 0>(a, t, ahead, a.output + at, advance(places, at));
      ow += 1;
      continue;
    }
    const std::int64_t count = (end < full_end ? end : full_end) - ow;
    if (rows.count == 2 && w.kw == 2)
      max_inside_nhwc<T, I, 2>(a, t, count, ahead, a.output + at, advance(places, at));
    else if (rows.count == 3 && w.kw == 3)
      max_inside_nhwc<T, I, 3>(a, t, count, ahead, a.output + at, advance(places, at));
    else
      max_inside_nhwc<T, I, 0>(a, t, count, ahead, a.output + at, advance(places, at));
    ow += count;
  }
}

template <class T>
void max_nhwc(const MaxPoolArgs<T>& a) {
  static NoPlaces none;
  if (a.indices)
    max_run_nhwc(a, a.indices);
  else if (a.taps)
    max_run_nhwc(a, a.taps);
  else
    max_run_nhwc(a, &none);
}

// Neighbouring windows of a plane that have all their columns; `places` and `output` are those of the first.
template <class T, class I, int Stride, int Side>
inline void max_full_windows(const MaxPoolArgs<T>& a, const Taps<T>& t, std::int64_t count, Prefetch& ahead, T* output,
                             I* places) {
  constexpr int kSize = Vec<T>::kSize;
  const std::int64_t rows = Side ? Side : t.rows, columns = Side ? Side : t.columns, stride = a.windows.stride_w;
  const VecIndex<T> ramp = std::is_same_v<I, std::int32_t> ? VecIndex<T>::ramp(static_cast<std::int32_t>(stride))
                                                           : VecIndex<T>::broadcast(0);
  const auto vector = [&](std::int64_t i, int lanes, int stored) __attribute__((always_inline)) {
    const T* corner = t.first + i * stride;
    ahead.next();
    Vec<T> best = load_strided<T, Stride>(corner, stride, lanes);
    VecIndex<T> where = VecIndex<T>::broadcast(0);
#pragma GCC unroll 3
    for (std::int64_t th = 0; th < rows; ++th) {
      const T* row = corner + th * t.row_step;
      if constexpr (Side != 0) {
        Vec<T> tap[Side ? Side : 1];
        load_taps<T, Stride, Side>(row, stride, lanes, tap);
        if (th == 0) best = tap[0];
#pragma GCC unroll 3
        for (int tw = 0; tw < Side; ++tw)
          if (th + tw > 0) take_tap<T, I>(tap[tw], t.places_of(th, tw), best, where);
      } else {
        for (std::int64_t tw = th == 0; tw < columns; ++tw)
          take_tap<T, I>(load_strided<T, Stride>(row + tw * t.column_step, stride, lanes), t.places_of(th, tw), best,
                         where);
      }
    }
    const std::int64_t place = t.place + (std::is_same_v<I, std::int32_t> ? i * stride : 0);
    where = where + ramp + VecIndex<T>::broadcast(static_cast<std::int32_t>(place));
    store_maximum<T, I>(a, best, where, output + i, advance(places, i), stored);
  };
  const T* last_row = t.first + (rows - 1) * t.row_step;
  if (count < kSize && Stride != 0 && can_read_on(last_row, (columns - 1) * t.column_step, a.input_end))
    return vector(0, kSize, static_cast<int>(count));
  if (count < kSize) return vector(0, static_cast<int>(count), static_cast<int>(count));
  for (std::int64_t i = 0; i + kSize <= count; i += kSize) vector(i, kSize, kSize);
  if (count % kSize) vector(count - kSize, kSize, kSize);  // some of these a second time
}

// One window of a plane, as far as it lies inside the image.
template <class T, class I>
inline void max_border_window(const MaxPoolArgs<T>& a, const Taps<T>& t, T* output, I* places) {
  T best = *t.first;
  std::int64_t where = 0;
  for (std::int64_t th = 0; th < t.rows; ++th) {
    for (std::int64_t tw = 0; tw < t.columns; ++tw) {
      const T x = t.first[th * t.row_step + tw * t.column_step];
      if (!beats(x, best)) continue;
      best = x;
      where = th * t.place_row + tw * t.place_column;
    }
  }
  *output = best;
  if constexpr (std::is_same_v<I, std::int32_t>) *places = static_cast<std::int32_t>(t.place + where);
  if constexpr (std::is_same_v<I, std::uint8_t>)
    *places = a.positive_only && best <= T(0) ? kNoTap : static_cast<std::uint8_t>(t.place + where);
}

template <class T, class I, int Stride, int Side>
void max_rows_nchw(const MaxPoolArgs<T>& a, I* places) {
  const PoolWindows& w = a.windows;
  Taps<T> t = Taps<T>::template steps<I>(a, 1);
  Prefetch ahead(a.ahead, a.ahead_lines);
  for (std::int64_t r = 0; r < a.run.rows; ++r) {
    const std::int64_t top = (a.run.row + r) * w.stride_h - w.pad_h;
    const Span rows = taps_inside(top, w.kh, w.dilation_h, w.ih);
    T* output = a.output + r * w.ow;
    I* row_places = advance(places, r * w.ow);
    const auto border = [&](std::int64_t ow) {
      const std::int64_t left = ow * w.stride_w - w.pad_w;
      t.template move_to<I>(a, 1, top, rows, left, taps_inside(left, w.kw, w.dilation_w, w.iw));
      max_border_window<T, I>(a, t, output + ow, advance(row_places, ow));
    };
    const std::int64_t full_end = w.full.first + w.full.count;
    for (std::int64_t ow = 0; ow < w.full.first; ++ow) border(ow);
    for (std::int64_t ow = full_end; ow < w.ow; ++ow) border(ow);
    if (w.full.count == 0) continue;
    const std::int64_t left = w.full.first * w.stride_w - w.pad_w;
    t.template move_to<I>(a, 1, top, rows, left, {left, w.kw});
    T* first = output + w.full.first;
    I* first_place = advance(row_places, w.full.first);
    if (Side == 0 || rows.count == Side)
      max_full_windows<T, I, Stride, Side>(a, t, w.full.count, ahead, first, first_place);
    else
      max_full_windows<T, I, Stride, 0>(a, t, w.full.count, ahead, first, first_place);
  }
}

template <class T, class I>
void max_windows_nchw(const MaxPoolArgs<T>& a, I* places) {
  const PoolWindows& w = a.windows;
  const int side = w.dilation_w == 1 && w.kh == w.kw ? static_cast<int>(w.kw < 4 ? w.kw : 0) : 0;
  if (w.stride_w == 2 && side == 2)
    max_rows_nchw<T, I, 2, 2>(a, places);
  else if (w.stride_w == 2 && side == 3)
    max_rows_nchw<T, I, 2, 3>(a, places);
  else if (w.stride_w == 1 && side == 3)
    max_rows_nchw<T, I, 1, 3>(a, places);
  else if (w.stride_w == 1)
    max_rows_nchw<T, I, 1, 0>(a, places);
  else if (w.stride_w == 2)
    max_rows_nchw<T, I, 2, 0>(a, places);
  else
    max_rows_nchw<T, I, 0, 0>(a, places);
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
void max_wide_windows_nchw(const MaxPoolArgs<T>& a) {
  const PoolWindows& w = a.windows;
  for (std::int64_t o = 0; o < a.run.rows * w.ow; ++o) {
    const std::int64_t top = (a.run.row + o / w.ow) * w.stride_h - w.pad_h, left = o % w.ow * w.stride_w - w.pad_w;
    const Span rows = taps_inside(top, w.kh, w.dilation_h, w.ih), taps = taps_inside(left, w.kw, 1, w.iw);
    const bool one_run = taps.count == w.iw && w.dilation_h == 1;
    const std::int64_t runs = one_run ? 1 : rows.count, length = one_run ? rows.count * w.iw : taps.count;
    const T* best = a.input + rows.first * w.iw + taps.first;
    for (std::int64_t r = 0; r < runs; ++r) {
      const T* run = a.input + (rows.first + r * w.dilation_h) * w.iw + taps.first;
      const T value = max_of_run(run, length);
      if (r > 0 && !beats(value, *best)) continue;
      best = run;
      // The bound only matters if somebody writes to the input meanwhile.
      while (best + 1 < run + length && !(*best == value || (value != value && *best != *best))) ++best;
    }
    const std::int64_t index = best - a.input;
    a.output[o] = *best;
    if (a.indices) a.indices[o] = static_cast<std::int32_t>(index);
    if (a.taps)
      a.taps[o] = a.positive_only && *best <= T(0)
                      ? kNoTap
                      : static_cast<std::uint8_t>((index / w.iw - top) / w.dilation_h * w.kw + (index % w.iw - left));
  }
}

template <class T>
void max_nchw(const MaxPoolArgs<T>& a) {
  static NoPlaces none;
  if (a.windows.kw > a.windows.ow && a.windows.dilation_w == 1)
    max_wide_windows_nchw(a);
  else if (a.indices)
    max_windows_nchw(a, a.indices);
  else if (a.taps)
    max_windows_nchw(a, a.taps);
  else
    max_windows_nchw(a, &none);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
