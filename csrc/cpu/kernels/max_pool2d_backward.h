// Max pooling, backward. Where few windows overlap, every pixel gathers the gradients of the windows whose maximum it
// was and is written once: channels in the lanes (NHWC), or neighbouring windows (NCHW). Otherwise each window adds its
// gradient to its maximum. All add in the order of the windows.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/pool_lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Gradient of the lanes whose window's maximum was here.
template <class T, class I>
inline __attribute__((always_inline)) Vec<T> gathered(const MaxPoolGatherArgs<T>& a, const I* places, bool masked,
                                                      std::int64_t at, VecIndex<T> here, int lanes) {
  const Vec<T> zero = Vec<T>::zero();
  Vec<T> grad = load_lanes(a.grad_output + at, lanes);
  if (masked) grad = select(not_less_equal(load_lanes(a.output + at, lanes), zero), grad, zero);
  return select(equal(load_index_lanes<T>(places + at, lanes), here), grad, zero);
}

// One pixel, all channels, under rows x columns windows; 0 takes any number. A tap's number falls from window to
// window.
template <class T, class I, bool Masked, int Rows, int Columns>
inline __attribute__((always_inline)) void gather_pixel(const MaxPoolGatherArgs<T>& a, const I* places, std::int64_t at,
                                                        std::int64_t rows, std::int64_t columns, std::int64_t place,
                                                        T* grad_input) {
  if (Rows) rows = Rows;
  if (Columns) columns = Columns;
  const PoolWindows& w = a.windows;
  constexpr bool kFlat = std::is_same_v<I, std::int32_t>;
  const std::int64_t row_step = w.ow * a.pixel, place_row = kFlat ? 0 : w.stride_h * w.kw,
                     place_column = kFlat ? 0 : w.stride_w;
  for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) __attribute__((always_inline)) {
    Vec<T> sum = Vec<T>::zero();
#pragma GCC unroll 2
    for (std::int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (std::int64_t k = 0; k < columns; ++k) {
        const auto here = static_cast<std::int32_t>(place - r * place_row - k * place_column);
        sum =
            sum + gathered(a, places, Masked, at + r * row_step + k * a.pixel + c, VecIndex<T>::broadcast(here), lanes);
      }
    put_lanes(sum, grad_input + c, lanes, a.stream);
  });
}

// Groups of Stride pixels in the middle of a row, under Rows x Columns windows: these are read once for all of them.
template <class T, class I, bool Masked, int Stride, int Columns, int Rows>
void gather_groups(const MaxPoolGatherArgs<T>& a, const I* places, std::int64_t top, const ColumnGroups& groups) {
  const PoolWindows& w = a.windows;
  constexpr bool kFlat = std::is_same_v<I, std::int32_t>;
  constexpr std::int32_t kNever = 256;  // of a window that does not cover the pixel
  std::int32_t tap[Stride][Rows][Columns];
  for (int q = 0; q < Stride; ++q) {
    const ColumnPhase phase(q, w);
    for (int r = 0; r < Rows; ++r)
      for (int k = 0; k < Columns; ++k) {
        const std::int64_t t = phase.shift - groups.first - k, row = a.run.row + w.pad_h - (top + r) * w.stride_h;
        tap[q][r][k] =
            t < 0 || t >= phase.count ? kNever : static_cast<std::int32_t>(row * w.kw + phase.tap + t * Stride);
      }
  }
  const Vec<T> zero = Vec<T>::zero();
  for (std::int64_t j = groups.begin; j < groups.end; ++j) {
    const std::int64_t at = (top * w.ow + j + groups.first) * a.pixel;
    const auto flat = static_cast<std::int32_t>(a.run.row * w.iw + j * Stride);
    T* grad_input = a.grad_input + (j * Stride - a.run.column) * a.pixel;
    for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) __attribute__((always_inline)) {
      Vec<T> sum[Stride];
#pragma GCC unroll 3
      for (int q = 0; q < Stride; ++q) sum[q] = zero;
#pragma GCC unroll 3
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
        for (int k = 0; k < Columns; ++k) {
          const std::int64_t from = at + (r * w.ow + k) * a.pixel + c;
          Vec<T> grad = load_lanes(a.grad_output + from, lanes);
          if (Masked) grad = select(not_less_equal(load_lanes(a.output + from, lanes), zero), grad, zero);
          const VecIndex<T> place = load_index_lanes<T>(places + from, lanes);
#pragma GCC unroll 3
          for (int q = 0; q < Stride; ++q)
            sum[q] = sum[q] + select(equal(place, VecIndex<T>::broadcast(kFlat ? flat + q : tap[q][r][k])), grad, zero);
        }
#pragma GCC unroll 3
      for (int q = 0; q < Stride; ++q) put_lanes(sum[q], grad_input + q * a.pixel + c, lanes, a.stream);
    });
  }
}

template <class T, class I, bool Masked>
bool gather_all_groups(const MaxPoolGatherArgs<T>& a, const I* places, Span rows, const ColumnGroups& groups) {
  const std::int64_t stride = a.windows.stride_w, columns = groups.count;
  if (stride == 2 && columns == 1 && rows.count == 1)
    gather_groups<T, I, Masked, 2, 1, 1>(a, places, rows.first, groups);
  else if (stride == 2 && columns == 2 && rows.count == 1)
    gather_groups<T, I, Masked, 2, 2, 1>(a, places, rows.first, groups);
  else if (stride == 2 && columns == 2 && rows.count == 2)
    gather_groups<T, I, Masked, 2, 2, 2>(a, places, rows.first, groups);
  else if (stride == 1 && columns == 3 && rows.count == 3)
    gather_groups<T, I, Masked, 1, 3, 3>(a, places, rows.first, groups);
  else
    return false;
  return true;
}

template <class T, class I, bool Masked>
void gather_run_nhwc(const MaxPoolGatherArgs<T>& a, const I* places) {
  const PoolWindows& w = a.windows;
  const std::int64_t ih = a.run.row;
  const Span rows = CoveringWindows::rows(w, ih).span();
  const ColumnGroups groups(w, a.run);
  const bool grouped = groups.end > groups.begin && gather_all_groups<T, I, Masked>(a, places, rows, groups);
  CoveringWindows over = CoveringWindows::columns(w, a.run.column);
  for (std::int64_t i = 0; i < a.run.columns; ++i) {
    if (grouped && a.run.column + i == groups.begin * w.stride_w) i += (groups.end - groups.begin) * w.stride_w;
    if (i >= a.run.columns) break;
    const std::int64_t iw = a.run.column + i;
    over.move_to(iw);
    const std::int64_t columns = over.count(), at = (rows.first * w.ow + over.begin) * a.pixel;
    const std::int64_t place = std::is_same_v<I, std::int32_t> ? ih * w.iw + iw
                                                               : (ih + w.pad_h - rows.first * w.stride_h) * w.kw +
                                                                     (iw + w.pad_w - over.begin * w.stride_w);
    T* grad_input = a.grad_input + i * a.pixel;
    if (rows.count == 1 && columns == 1)
      gather_pixel<T, I, Masked, 1, 1>(a, places, at, 1, 1, place, grad_input);
    else
      gather_pixel<T, I, Masked, 0, 0>(a, places, at, rows.count, columns, place, grad_input);
  }
}

template <class T>
void max_gather_nhwc(const MaxPoolGatherArgs<T>& a) {
  if (a.indices)
    a.output ? gather_run_nhwc<T, std::int32_t, true>(a, a.indices)
             : gather_run_nhwc<T, std::int32_t, false>(a, a.indices);
  else
    a.output ? gather_run_nhwc<T, std::uint8_t, true>(a, a.taps) : gather_run_nhwc<T, std::uint8_t, false>(a, a.taps);
}

// Windows of two columns side by side, without padding: each vector of windows writes two of pixels, and nothing is
// copied. Lanes beyond the row are read, where there is memory, but never stored.
template <class T, class I>
inline __attribute__((always_inline)) void gather_pairs(const MaxPoolGatherArgs<T>& a, std::int64_t ih, Span over,
                                                        const I* places, T* grad_input) {
  constexpr int kSize = Vec<T>::kSize;
  constexpr bool kFlat = std::is_same_v<I, std::int32_t>;
  const PoolWindows& w = a.windows;
  const Vec<T> zero = Vec<T>::zero();
  const VecIndex<T> ramp = VecIndex<T>::ramp(2);
  for (std::int64_t j = 0; j < w.ow; j += kSize) {
    Vec<T> sum[2] = {zero, zero};
    for (std::int64_t oh = over.first; oh < over.first + over.count; ++oh) {
      const std::int64_t at = oh * w.ow + j,
                         left = a.available - at < w.ow - j || 2 * w.ow < w.iw ? w.ow - j : a.available - at;
      const int lanes = left < kSize ? static_cast<int>(left) : kSize;
      Vec<T> grad = load_lanes(a.grad_output + at, lanes);
      if (a.output) grad = select(not_less_equal(load_lanes(a.output + at, lanes), zero), grad, zero);
      const VecIndex<T> place = load_index_lanes<T>(places + at, lanes);
      const auto first = static_cast<std::int32_t>(kFlat ? ih * w.iw + 2 * j : (ih - oh * w.stride_h) * w.kw);
      const VecIndex<T> here = kFlat ? ramp + VecIndex<T>::broadcast(first) : VecIndex<T>::broadcast(first);
      sum[0] = sum[0] + select(equal(place, here), grad, zero);
      sum[1] = sum[1] + select(equal(place, here + VecIndex<T>::broadcast(1)), grad, zero);
    }
    store_phases<T, 2>(sum, grad_input + 2 * j, w.iw - 2 * j);
  }
  for (std::int64_t iw = 2 * w.ow; iw < w.iw; ++iw) grad_input[iw] = T(0);
}

template <class T, class I>
void gather_rows_nchw(const MaxPoolGatherArgs<T>& a, const I* places) {
  const PoolWindows& w = a.windows;
  CoveringWindows over = CoveringWindows::rows(w, a.run.row);
  for (std::int64_t i = 0; i < a.run.rows; ++i) {
    over.move_to(a.run.row + i);
    gather_pairs(a, a.run.row + i, over.span(), places, a.grad_input + i * w.iw);
  }
}

template <class T>
void max_gather_nchw(const MaxPoolGatherArgs<T>& a) {
  a.indices ? gather_rows_nchw(a, a.indices) : gather_rows_nchw(a, a.taps);
}

// False if an index lies outside the image.
template <class T, bool Planes>
inline bool max_scatter(const MaxPoolScatterArgs<T>& a) {
  const PoolWindows& w = a.windows;
  const std::int64_t pixel = Planes ? 1 : a.pixel, channels = Planes ? 1 : a.channels;
  const auto pixels = static_cast<std::uint64_t>(w.ih * w.iw);
  for (std::uint64_t i = 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < channels; ++c) a.grad_input[i * pixel + c] = T(0);
  bool inside = true;
  const auto add = [&](std::int64_t at, std::int64_t index, std::int64_t c) __attribute__((always_inline)) {
    if (static_cast<std::uint64_t>(index) >= pixels)
      inside = false;
    else if (!a.output || !(a.output[at] <= T(0)))
      a.grad_input[index * pixel + c] += a.grad_output[at];
  };
  const std::int64_t windows = w.oh * w.ow;
  if (a.indices) {
    for (std::int64_t o = 0; o < windows; ++o)
      for (std::int64_t c = 0; c < channels; ++c) add(o * pixel + c, a.indices[o * pixel + c], c);
    return inside;
  }
  for (std::int64_t o = 0; o < windows; ++o) {
    const std::int64_t corner = (o / w.ow * w.stride_h - w.pad_h) * w.iw + o % w.ow * w.stride_w - w.pad_w;
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t tap = a.taps[o * pixel + c];
      if (tap == kNoTap) continue;
      add(o * pixel + c, corner + tap / w.kw * w.dilation_h * w.iw + tap % w.kw * w.dilation_w, c);
    }
  }
  return inside;
}

template <class T>
bool max_scatter_nhwc(const MaxPoolScatterArgs<T>& a) {
  return max_scatter<T, false>(a);
}

template <class T>
bool max_scatter_nchw(const MaxPoolScatterArgs<T>& a) {
  return max_scatter<T, true>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
