// Average pooling, forward and backward. The forms are those of max_pool2d.h: channels in the lanes (NHWC); columns in
// the lanes, one tap after the other, or for wide windows their pixels in the lanes (NCHW). Sums have a fixed order.
#pragma once

#include <cstdint>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Rows are summed on their own and then added, which keeps the error of large windows small.
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
  constexpr int kSize = Vec<T>::kSize;
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) {
    const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
    const T* corner = a.input + (a.rows.first * w.iw + taps.first) * a.pixel;
    const Vec<T> divisor = Vec<T>::broadcast(static_cast<T>(divisor_of(a.divisor, a.oh, ow)));
    T* output = a.output + ow * a.pixel;
    std::int64_t c = 0;
    for (; c + kSize <= a.channels; c += kSize) avg_window(a, corner + c, taps.count, divisor, kSize, output + c);
    if (c < a.channels) avg_window(a, corner + c, taps.count, divisor, static_cast<int>(a.channels - c), output + c);
  }
}

// Adds one tap of neighbouring windows to their outputs; Stride != 0 fixes the stride, for the compiler's vectors.
template <class T, int Stride>
inline void add_tap(const T* x, std::int64_t count, std::int64_t stride, T* __restrict output) {
  const std::int64_t s = Stride ? Stride : stride;
  for (std::int64_t i = 0; i < count; ++i) output[i] += x[i * s];
}

template <class T>
inline void avg_taps_nchw(const AvgPoolRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t ow = 0; ow < w.ow; ++ow) a.output[ow] = T(0);
  for (std::int64_t th = 0; th < a.rows.count; ++th) {
    const T* row = a.input + (a.rows.first + th) * w.iw;
    for (std::int64_t kw = 0; kw < w.kernel; ++kw) {
      // The windows whose tap kw is a column of the image: 0 <= ow * stride + offset < iw.
      const std::int64_t offset = kw - w.pad;
      const std::int64_t begin = offset < 0 ? (w.stride - 1 - offset) / w.stride : 0;
      std::int64_t end = offset < w.iw ? (w.iw - 1 - offset) / w.stride + 1 : 0;
      if (end > w.ow) end = w.ow;
      if (begin >= end) continue;
      const T* x = row + begin * w.stride + offset;
      if (w.stride == 1)
        add_tap<T, 1>(x, end - begin, w.stride, a.output + begin);
      else if (w.stride == 2)
        add_tap<T, 2>(x, end - begin, w.stride, a.output + begin);
      else
        add_tap<T, 0>(x, end - begin, w.stride, a.output + begin);
    }
  }
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
    a.output[ow] = sum_of_lanes(sum);
  }
}

template <class T>
void avg_row_nchw(const AvgPoolRowArgs<T>& a) {
  if (a.columns.kernel > a.columns.ow)
    avg_wide_windows_nchw(a);
  else
    avg_taps_nchw(a);
  for (std::int64_t ow = 0; ow < a.columns.ow; ++ow)
    a.output[ow] = a.output[ow] / static_cast<T>(divisor_of(a.divisor, a.oh, ow));
}

// Every pixel gathers its share of the windows that cover it.
template <class T>
inline __attribute__((always_inline)) void avg_gather_pixel(const AvgPoolBackwardRowArgs<T>& a,
                                                            const CoveringWindows& over, std::int64_t c, int lanes,
                                                            T* grad_input) {
  Vec<T> acc = Vec<T>::zero();
  for (std::int64_t oh = a.windows.first; oh < a.windows.first + a.windows.count; ++oh) {
    for (std::int64_t ow = over.begin; ow < over.end; ++ow) {
      const Vec<T> divisor = Vec<T>::broadcast(static_cast<T>(divisor_of(a.divisor, oh, ow)));
      acc = acc + load_lanes(a.grad_output + (oh * a.columns.ow + ow) * a.pixel + c, lanes) / divisor;
    }
  }
  store_lanes(acc, grad_input, lanes);
}

template <class T>
void avg_backward_row_nhwc(const AvgPoolBackwardRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  CoveringWindows over;
  for (std::int64_t iw = 0; iw < a.columns.iw; ++iw) {
    over.move_to(iw, a.columns);
    T* grad_input = a.grad_input + iw * a.pixel;
    std::int64_t c = 0;
    for (; c + kSize <= a.channels; c += kSize) avg_gather_pixel(a, over, c, kSize, grad_input + c);
    if (c < a.channels) avg_gather_pixel(a, over, c, static_cast<int>(a.channels - c), grad_input + c);
  }
}

template <class T>
void avg_backward_row_nchw(const AvgPoolBackwardRowArgs<T>& a) {
  const PoolColumns& w = a.columns;
  for (std::int64_t iw = 0; iw < w.iw; ++iw) a.grad_input[iw] = T(0);
  for (std::int64_t oh = a.windows.first; oh < a.windows.first + a.windows.count; ++oh) {
    for (std::int64_t ow = 0; ow < w.ow; ++ow) {
      const Span taps = taps_inside(ow * w.stride - w.pad, w.kernel, 1, w.iw);
      const T share = a.grad_output[oh * w.ow + ow] / static_cast<T>(divisor_of(a.divisor, oh, ow));
      T* grad_input = a.grad_input + taps.first;
      for (std::int64_t i = 0; i < taps.count; ++i) grad_input[i] += share;
    }
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
