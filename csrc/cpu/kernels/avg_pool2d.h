// Average pooling, forward and backward. The forms are those of max_pool2d.h: channels in the lanes (NHWC); columns in
// the lanes, one tap after the other, or for wide windows their pixels in the lanes (NCHW). Sums have a fixed order.
#pragma once

#include <cstdint>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline __attribute__((always_inline)) void avg_window(const AvgPoolRowArgs<T>& a, const T* corner, std::int64_t taps_w,
                                                      Vec<T> divisor, int lanes, T* output) {
  Vec<T> sum = Vec<T>::zero();
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const T* row = corner + th * a.columns.iw * a.pixel;
    Vec<T> row_sum = load_lanes(row, lanes);
    for (std::int64_t tw = 1; tw < taps_w; ++tw) row_sum = row_sum + load_lanes(row + tw * a.pixel, lanes);
    sum = sum + row_sum;
  }
  store_lanes(sum / divisor, output, lanes);
}

template <class T>
void avg_row_nhwc(const AvgPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) {
    const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
    const T* corner = a.input + (a.rows.first * w.iw + taps.first) * a.pixel;
    const Vec<T> divisor = Vec<T>::broadcast(a.counted_rows * a.counted_columns[ow]);
    T* output = a.output + ow * a.pixel;
    for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) {
      avg_window(a, corner + c, taps.count, divisor, lanes, output + c);
    });
  }
}

// Neighbouring windows of a plane, from ow on, that lie inside the image.
template <class T, int Stride>
inline void avg_full_windows(const AvgPoolRowArgs<T>& a, std::int64_t ow, int lanes) {
  const PoolColumns& w = a.columns;
  const T* corner = a.input + a.rows.first * w.iw + ow * w.stride - w.pad;
  Vec<T> sum = Vec<T>::zero();
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const T* row = corner + th * w.iw;
    Vec<T> row_sum = load_strided<T, Stride>(row, w.stride, lanes);
    for (std::int64_t kw = 1; kw < w.kernel; ++kw)
      row_sum = row_sum + load_strided<T, Stride>(row + kw, w.stride, lanes);
    sum = sum + row_sum;
  }
  const Vec<T> divisor = Vec<T>::broadcast(a.counted_rows) * load_lanes(a.counted_columns + ow, lanes);
  store_lanes(sum / divisor, a.output + ow, lanes);
}

// One window of a plane, as far as it lies inside the image.
template <class T>
inline void avg_border_window(const AvgPoolRowArgs<T>& a, std::int64_t ow) {
  const PoolColumns& w = a.columns;
  const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
  T sum = T(0);
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const T* row = a.input + (a.rows.first + th) * w.iw + taps.first;
    T row_sum = row[0];
    for (std::int64_t tw = 1; tw < taps.count; ++tw) row_sum += row[tw];
    sum += row_sum;
  }
  a.output[ow] = sum / (a.counted_rows * a.counted_columns[ow]);
}

template <class T>
inline void avg_windows_nchw(const AvgPoolRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  const Span full = a.columns.full;
  const std::int64_t end = full.first + full.count;
  for (std::int64_t ow = full.first; ow < end; ow += kSize) {
    const int lanes = lanes_from(ow, end, kSize);
    if (a.columns.stride == 1)
      avg_full_windows<T, 1>(a, ow, lanes);
    else if (a.columns.stride == 2)
      avg_full_windows<T, 2>(a, ow, lanes);
    else
      avg_full_windows<T, 0>(a, ow, lanes);
  }
  for (std::int64_t ow = 0; ow < full.first; ++ow) avg_border_window(a, ow);
  for (std::int64_t ow = end; ow < a.columns.ow; ++ow) avg_border_window(a, ow);
}

template <class T>
inline T sum_of_lanes(Vec<T> x) {
  constexpr int kSize = Vec<T>::kSize;
  T lane[kSize];
  x.store(lane);
  for (int half = kSize / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

// The sum of neighbouring pixels, pixels in the lanes; in chunks, like the rows above, to keep the error small.
template <class T>
inline Vec<T> sum_of_run(const T* x, std::int64_t length) {
  constexpr int kSize = Vec<T>::kSize;
  constexpr std::int64_t kChunk = 512;
  Vec<T> total = Vec<T>::zero();
  for (std::int64_t i = 0; i < length;) {
    const std::int64_t end = length - i < kChunk ? length : i + kChunk;
    Vec<T> sum[2] = {Vec<T>::zero(), Vec<T>::zero()};
    for (; i + 2 * kSize <= end; i += 2 * kSize) {
      sum[0] = sum[0] + Vec<T>::load(x + i);
      sum[1] = sum[1] + Vec<T>::load(x + i + kSize);
    }
    for (; i < end; i += kSize) sum[0] = sum[0] + load_lanes(x + i, lanes_from(i, end, kSize));
    i = end;
    total = total + (sum[0] + sum[1]);
  }
  return total;
}

// Rows that follow each other in memory without a gap are one run.
template <class T>
inline void avg_wide_windows_nchw(const AvgPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) {
    const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
    const T* corner = a.input + a.rows.first * w.iw + taps.first;
    const bool one_run = taps.count == w.iw;
    const std::int64_t runs = one_run ? 1 : a.rows.count, length = one_run ? a.rows.count * w.iw : taps.count;
    Vec<T> sum = Vec<T>::zero();
    for (std::int64_t r = 0; r < runs; ++r) sum = sum + sum_of_run(corner + r * w.iw, length);
    a.output[ow] = sum_of_lanes(sum) / (a.counted_rows * a.counted_columns[ow]);
  }
}

template <class T>
void avg_row_nchw(const AvgPoolRowArgs<T>& a) {
  if (a.columns.kernel > a.columns.ow)
    avg_wide_windows_nchw(a);
  else
    avg_windows_nchw(a);
}

// Backward. One division per window, then products: a unit in the last place, but several times the speed.
template <class T>
inline T share_of(const AvgPoolBackwardRowArgs<T>& a, std::int64_t oh, std::int64_t ow) {
  return T(1) / (a.counted_rows[oh] * a.counted_columns[ow]);
}

// Adds (or, the first time, writes) what one window gives to a pixel, all channels.
template <class T, bool First>
inline void avg_gather_window(std::int64_t channels, const T* grad_output, T share, T* grad_input) {
  const Vec<T> factor = Vec<T>::broadcast(share);
  for_each_vector<T>(channels, [&](std::int64_t c, int lanes) {
    const Vec<T> part = load_lanes(grad_output + c, lanes) * factor;
    store_lanes(First ? part : load_lanes(grad_input + c, lanes) + part, grad_input + c, lanes);
  });
}

template <class T>
void avg_backward_row_nhwc(const AvgPoolBackwardRowArgs<T>& a) {
  CoveringWindows over;
  for (std::int64_t iw = 0; iw < a.columns.iw; ++iw) {
    over.move_to(iw, a.columns);
    T* grad_input = a.grad_input + iw * a.pixel;
    if (a.windows.count == 0 || over.begin == over.end)
      for (std::int64_t c = 0; c < a.channels; ++c) grad_input[c] = T(0);
    bool first = true;
    for (std::int64_t oh = a.windows.first; oh < a.windows.first + a.windows.count; ++oh) {
      for (std::int64_t ow = over.begin; ow < over.end; ++ow) {
        const T* grad_output = a.grad_output + (oh * a.columns.ow + ow) * a.pixel;
        if (first)
          avg_gather_window<T, true>(a.channels, grad_output, share_of(a, oh, ow), grad_input);
        else
          avg_gather_window<T, false>(a.channels, grad_output, share_of(a, oh, ow), grad_input);
        first = false;
      }
    }
  }
}

// Adds a window's sum to the pixels of the row that it covers.
template <class T>
inline void spread_window(const AvgPoolBackwardRowArgs<T>& a, std::int64_t ow) {
  const PoolColumns& w = a.columns;
  const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
  for (std::int64_t i = 0; i < taps.count; ++i) a.grad_input[taps.first + i] += a.sums[ow];
}

// Rows of windows are summed first, windows in the lanes; then every window's sum goes to the pixels under it, tap by
// tap or, where the windows are wide, window by window.
template <class T>
void avg_backward_row_nchw(const AvgPoolBackwardRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for_each_vector<T>(w.ow, [&](std::int64_t ow, int lanes) {
    const Vec<T> columns = load_lanes(a.counted_columns + ow, lanes);
    Vec<T> sum = Vec<T>::zero();
    for (std::int64_t oh = a.windows.first; oh < a.windows.first + a.windows.count; ++oh)
      sum = sum + load_lanes(a.grad_output + oh * w.ow + ow, lanes) / (Vec<T>::broadcast(a.counted_rows[oh]) * columns);
    store_lanes(sum, a.sums + ow, lanes);
  });
  for (std::int64_t iw = 0; iw < w.iw; ++iw) a.grad_input[iw] = T(0);
  const Span full = w.kernel > w.ow ? Span{w.ow, 0} : w.full;
  for (std::int64_t kw = 0; kw < w.kernel && full.count; ++kw) {
    const T* __restrict sums = a.sums + full.first;
    T* __restrict grad_input = a.grad_input + full.first * w.stride - w.pad + kw;
    if (w.stride == 1)
      for (std::int64_t i = 0; i < full.count; ++i) grad_input[i] += sums[i];
    else
      for (std::int64_t i = 0; i < full.count; ++i) grad_input[i * w.stride] += sums[i];
  }
  for (std::int64_t ow = 0; ow < full.first; ++ow) spread_window(a, ow);
  for (std::int64_t ow = full.first + full.count; ow < w.ow; ++ow) spread_window(a, ow);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
