// Average pooling, forward. The forms are those of max_pool2d.h: channels in the lanes (NHWC); windows in the lanes,
// one tap after the other, or for wide windows their pixels in the lanes (NCHW). A row of a window is summed on its own
// and sums have a fixed order.
#pragma once

#include <cstdint>

#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/pool_lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// NV vectors of channels of one window; Side != 0 fixes both counts of taps.
template <class T, int Side, int NV>
inline __attribute__((always_inline)) void avg_window(const T* corner, std::int64_t rows, std::int64_t columns,
                                                      std::int64_t row_step, std::int64_t pixel, Vec<T> divisor,
                                                      int lanes, bool stream, T* output) {
  constexpr int kSize = Vec<T>::kSize;
  if (Side) rows = columns = Side;
  Vec<T> sum[NV], row_sum[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) sum[v] = Vec<T>::zero();
#pragma GCC unroll 3
  for (std::int64_t th = 0; th < rows; ++th) {
    const T* row = corner + th * row_step;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) row_sum[v] = load_lanes(row + v * kSize, lanes);
#pragma GCC unroll 3
    for (std::int64_t tw = 1; tw < columns; ++tw)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) row_sum[v] = row_sum[v] + load_lanes(row + tw * pixel + v * kSize, lanes);
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[v] = sum[v] + row_sum[v];
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) put_lanes(sum[v] / divisor, output + v * kSize, lanes, stream);
}

// Large windows walk through their pixels with several vectors of channels at a time.
template <class T, int Side>
inline void avg_pixel(const AvgPoolArgs<T>& a, const T* corner, std::int64_t rows, std::int64_t columns, Vec<T> divisor,
                      Prefetch& ahead, T* output) {
  const std::int64_t row_step = a.windows.iw * a.pixel, pixel = a.pixel, channels = a.channels;
  constexpr std::int64_t kWide = Side ? 1 : 4;
  const std::int64_t wide = Side ? 0 : channels / (kWide * Vec<T>::kSize) * (kWide * Vec<T>::kSize);
  for (std::int64_t c = 0; c < wide; c += kWide * Vec<T>::kSize)
    avg_window<T, Side, kWide>(corner + c, rows, columns, row_step, pixel, divisor, Vec<T>::kSize, a.stream,
                               output + c);
  for_each_vector<T>(channels - wide, [&](std::int64_t c, int lanes) {
    ahead.next();
    avg_window<T, Side, 1>(corner + wide + c, rows, columns, row_step, pixel, divisor, lanes, a.stream,
                           output + wide + c);
  });
}

template <class T>
void avg_nhwc(const AvgPoolArgs<T>& a) {
  const PoolWindows& w = a.windows;
  const Span rows = taps_inside(a.run.row * w.stride_h - w.pad_h, w.kh, 1, w.ih);
  Prefetch ahead(a.ahead, a.ahead_lines);
  for (std::int64_t i = 0; i < a.run.columns; ++i) {
    const std::int64_t ow = a.run.column + i;
    const Span taps = taps_inside(ow * w.stride_w - w.pad_w, w.kw, 1, w.iw);
    const T* corner = a.input + (rows.first * w.iw + taps.first) * a.pixel;
    const Vec<T> divisor = Vec<T>::broadcast(a.counted_rows[a.run.row] * a.counted_columns[ow]);
    T* output = a.output + i * a.pixel;
    if (rows.count == 2 && taps.count == 2)
      avg_pixel<T, 2>(a, corner, 2, 2, divisor, ahead, output);
    else if (rows.count == 3 && taps.count == 3)
      avg_pixel<T, 3>(a, corner, 3, 3, divisor, ahead, output);
    else
      avg_pixel<T, 0>(a, corner, rows.count, taps.count, divisor, ahead, output);
  }
}

// Neighbouring windows of a plane that have all their columns, from `ow` on.
template <class T, int Stride, int Side>
inline void avg_full_windows(const AvgPoolArgs<T>& a, Span rows, T counted_rows, Prefetch& ahead, T* output) {
  constexpr int kSize = Vec<T>::kSize;
  const PoolWindows& w = a.windows;
  const std::int64_t taps_h = Side ? Side : rows.count, count = w.full.count;
  const T* first = a.input + rows.first * w.iw + w.full.first * w.stride_w - w.pad_w;
  const T* columns = a.counted_columns + w.full.first;
  const Vec<T> counted = Vec<T>::broadcast(counted_rows);
  output += w.full.first;
  const auto vector = [&](std::int64_t i, int lanes, int stored) __attribute__((always_inline)) {
    ahead.next();
    Vec<T> sum = Vec<T>::zero();
#pragma GCC unroll 3
    for (std::int64_t th = 0; th < taps_h; ++th) {
      const T* row = first + th * w.iw + i * w.stride_w;
      Vec<T> row_sum;
      if constexpr (Side != 0) {
        Vec<T> tap[Side ? Side : 1];
        load_taps<T, Stride, Side>(row, w.stride_w, lanes, tap);
        row_sum = tap[0];
#pragma GCC unroll 3
        for (int tw = 1; tw < Side; ++tw) row_sum = row_sum + tap[tw];
      } else {
        row_sum = load_strided<T, Stride>(row, w.stride_w, lanes);
        for (std::int64_t tw = 1; tw < w.kw; ++tw)
          row_sum = row_sum + load_strided<T, Stride>(row + tw, w.stride_w, lanes);
      }
      sum = sum + row_sum;
    }
    store_lanes(sum / (counted * load_lanes(columns + i, stored)), output + i, stored);
  };
  if (count == 0) return;
  if (count < kSize && Stride != 0 && can_read_on(first + (taps_h - 1) * w.iw, w.kw - 1, a.input_end))
    return vector(0, kSize, static_cast<int>(count));
  if (count < kSize) return vector(0, static_cast<int>(count), static_cast<int>(count));
  for (std::int64_t i = 0; i + kSize <= count; i += kSize) vector(i, kSize, kSize);
  if (count % kSize) vector(count - kSize, kSize, kSize);  // some of these a second time
}

// One window of a plane, as far as it lies inside the image.
template <class T>
inline T avg_border_window(const AvgPoolArgs<T>& a, Span rows, T counted_rows, std::int64_t ow) {
  const PoolWindows& w = a.windows;
  const Span taps = taps_inside(ow * w.stride_w - w.pad_w, w.kw, 1, w.iw);
  T sum = T(0);
  for (std::int64_t th = 0; th < rows.count; ++th) {
    const T* row = a.input + (rows.first + th) * w.iw + taps.first;
    T row_sum = row[0];
    for (std::int64_t tw = 1; tw < taps.count; ++tw) row_sum += row[tw];
    sum += row_sum;
  }
  return sum / (counted_rows * a.counted_columns[ow]);
}

template <class T, int Stride, int Side>
void avg_rows_nchw(const AvgPoolArgs<T>& a) {
  const PoolWindows& w = a.windows;
  Prefetch ahead(a.ahead, a.ahead_lines);
  for (std::int64_t r = 0; r < a.run.rows; ++r) {
    const std::int64_t oh = a.run.row + r;
    const Span rows = taps_inside(oh * w.stride_h - w.pad_h, w.kh, 1, w.ih);
    T* output = a.output + r * w.ow;
    if (Side == 0 || rows.count == Side)
      avg_full_windows<T, Stride, Side>(a, rows, a.counted_rows[oh], ahead, output);
    else
      avg_full_windows<T, Stride, 0>(a, rows, a.counted_rows[oh], ahead, output);
    const std::int64_t full_end = w.full.first + w.full.count;
    for (std::int64_t ow = 0; ow < w.full.first; ++ow) output[ow] = avg_border_window(a, rows, a.counted_rows[oh], ow);
    for (std::int64_t ow = full_end; ow < w.ow; ++ow) output[ow] = avg_border_window(a, rows, a.counted_rows[oh], ow);
  }
}

// Neighbours first, in registers: halves that are stored and loaded again wait for the store.
template <class T>
inline T sum_of_lanes(Vec<T> x) {
  constexpr int kSize = Vec<T>::kSize;
  for (int half = kSize / 2; half > 0; half /= 2) {
    Vec<T> even, odd;
    deinterleave(x, x, even, odd);
    x = even + odd;
  }
  T lane[kSize];
  x.store(lane);
  return lane[0];
}

// The sum of neighbouring pixels, pixels in the lanes; in chunks, like the rows above, to keep the error small.
template <class T>
inline Vec<T> sum_of_run(const T* x, std::int64_t length) {
  constexpr int kSize = Vec<T>::kSize;
  constexpr std::int64_t kChunk = 1024;
  Vec<T> total = Vec<T>::zero();
  for (std::int64_t i = 0; i < length;) {
    const std::int64_t end = length - i < kChunk ? length : i + kChunk;
    Vec<T> sum[4] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
    for (; i + 4 * kSize <= end; i += 4 * kSize)
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sum[v] = sum[v] + Vec<T>::load(x + i + v * kSize);
    for (; i < end; i += kSize) sum[0] = sum[0] + load_lanes(x + i, lanes_from(i, end, kSize));
    i = end;
    total = total + ((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
  return total;
}

// Rows that follow each other in memory without a gap are one run.
template <class T>
inline void avg_wide_windows_nchw(const AvgPoolArgs<T>& a) {
  const PoolWindows& w = a.windows;
  T* output = a.output;
  for (std::int64_t oh = a.run.row; oh < a.run.row + a.run.rows; ++oh) {
    const Span rows = taps_inside(oh * w.stride_h - w.pad_h, w.kh, 1, w.ih);
    for (std::int64_t ow = 0; ow < w.ow; ++ow) {
      const Span taps = taps_inside(ow * w.stride_w - w.pad_w, w.kw, 1, w.iw);
      const T* corner = a.input + rows.first * w.iw + taps.first;
      const bool one_run = taps.count == w.iw;
      const std::int64_t runs = one_run ? 1 : rows.count, length = one_run ? rows.count * w.iw : taps.count;
      Vec<T> sum = Vec<T>::zero();
      for (std::int64_t r = 0; r < runs; ++r) sum = sum + sum_of_run(corner + r * w.iw, length);
      *output++ = sum_of_lanes(sum) / (a.counted_rows[oh] * a.counted_columns[ow]);
    }
  }
}

template <class T>
void avg_nchw(const AvgPoolArgs<T>& a) {
  const PoolWindows& w = a.windows;
  const std::int64_t side = w.kh == w.kw ? w.kw : 0;
  if (w.kw > w.ow)
    avg_wide_windows_nchw(a);
  else if (w.stride_w == 2 && side == 2)
    avg_rows_nchw<T, 2, 2>(a);
  else if (w.stride_w == 2 && side == 3)
    avg_rows_nchw<T, 2, 3>(a);
  else if (w.stride_w == 1 && side == 3)
    avg_rows_nchw<T, 1, 3>(a);
  else if (w.stride_w == 1)
    avg_rows_nchw<T, 1, 0>(a);
  else if (w.stride_w == 2)
    avg_rows_nchw<T, 2, 0>(a);
  else
    avg_rows_nchw<T, 0, 0>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
