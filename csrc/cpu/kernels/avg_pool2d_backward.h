// Average pooling, backward: every pixel gathers its share of the windows over it and is written once. One division per
// window, then products: a unit in the last place, but several times the speed.
#pragma once

#include <cstdint>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/pool_lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Almost all windows divide by the same: the last share is kept.
template <class T>
struct Share {
  T divisor = T(0), share = T(0);

  T of(T counted) {
    if (counted != divisor) divisor = counted, share = T(1) / counted;
    return share;
  }
};

// One pixel, all channels, under any number of windows. Every column of windows is summed on its own, here and below.
template <class T>
inline void avg_gather_pixel(const AvgPoolBackwardArgs<T>& a, Span rows, const CoveringWindows& over, Share<T>& share,
                             T* grad_input) {
  const PoolWindows& w = a.windows;
  if (rows.count == 1 && over.count() == 1) {
    const T* grad_output = a.grad_output + (rows.first * w.ow + over.begin) * a.pixel;
    const Vec<T> factor = Vec<T>::broadcast(share.of(a.counted_rows[rows.first] * a.counted_columns[over.begin]));
    for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) {
      put_lanes(Vec<T>::zero() + load_lanes(grad_output + c, lanes) * factor, grad_input + c, lanes, a.stream);
    });
    return;
  }
  for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) {
    Vec<T> sum = Vec<T>::zero();
    for (std::int64_t ow = over.begin; ow < over.end && rows.count; ++ow) {
      Vec<T> column = Vec<T>::zero();
      for (std::int64_t oh = rows.first; oh < rows.first + rows.count; ++oh) {
        const Vec<T> factor = Vec<T>::broadcast(share.of(a.counted_rows[oh] * a.counted_columns[ow]));
        const Vec<T> part = load_lanes(a.grad_output + (oh * w.ow + ow) * a.pixel + c, lanes) * factor;
        column = oh == rows.first ? part : column + part;
      }
      sum = sum + column;
    }
    put_lanes(sum, grad_input + c, lanes, a.stream);
  });
}

// Groups of Stride pixels in the middle of a row, under Rows x Columns windows: columns of windows are summed once for
// all of them.
template <class T, int Stride, int Columns, int Rows>
void avg_gather_groups(const AvgPoolBackwardArgs<T>& a, std::int64_t top, const ColumnGroups& groups) {
  const PoolWindows& w = a.windows;
  bool covers[Stride][Columns];
  for (int q = 0; q < Stride; ++q) {
    const ColumnPhase phase(q, w);
    for (int k = 0; k < Columns; ++k) {
      const std::int64_t t = phase.shift - groups.first - k;
      covers[q][k] = t >= 0 && t < phase.count;
    }
  }
  Share<T> share;
  for (std::int64_t j = groups.begin; j < groups.end; ++j) {
    const T* grad_output = a.grad_output + (top * w.ow + j + groups.first) * a.pixel;
    T* grad_input = a.grad_input + (j * Stride - a.run.column) * a.pixel;
    T shares[Rows][Columns];
    for (int r = 0; r < Rows; ++r)
      for (int k = 0; k < Columns; ++k)
        shares[r][k] = share.of(a.counted_rows[top + r] * a.counted_columns[j + groups.first + k]);
    for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) __attribute__((always_inline)) {
      Vec<T> column[Columns];
#pragma GCC unroll 3
      for (int k = 0; k < Columns; ++k) {
        column[k] = load_lanes(grad_output + k * a.pixel + c, lanes) * Vec<T>::broadcast(shares[0][k]);
#pragma GCC unroll 3
        for (int r = 1; r < Rows; ++r)
          column[k] = column[k] +
                      load_lanes(grad_output + (r * w.ow + k) * a.pixel + c, lanes) * Vec<T>::broadcast(shares[r][k]);
      }
#pragma GCC unroll 3
      for (int q = 0; q < Stride; ++q) {
        Vec<T> sum = Vec<T>::zero();
#pragma GCC unroll 3
        for (int k = 0; k < Columns; ++k)
          if (Columns == 1 || covers[q][k]) sum = sum + column[k];
        put_lanes(sum, grad_input + q * a.pixel + c, lanes, a.stream);
      }
    });
  }
}

template <class T>
bool avg_gather_all_groups(const AvgPoolBackwardArgs<T>& a, Span rows, const ColumnGroups& groups) {
  const std::int64_t stride = a.windows.stride_w, columns = groups.count;
  const bool side_by_side = a.windows.kw == stride && columns == 1 && rows.count == 1;
  if (stride == 2 && side_by_side)
    avg_gather_groups<T, 2, 1, 1>(a, rows.first, groups);
  else if (stride == 3 && side_by_side)
    avg_gather_groups<T, 3, 1, 1>(a, rows.first, groups);
  else if (stride == 2 && columns == 2 && rows.count == 1)
    avg_gather_groups<T, 2, 2, 1>(a, rows.first, groups);
  else if (stride == 2 && columns == 2 && rows.count == 2)
    avg_gather_groups<T, 2, 2, 2>(a, rows.first, groups);
  else if (stride == 1 && columns == 3 && rows.count == 3)
    avg_gather_groups<T, 1, 3, 3>(a, rows.first, groups);
  else
    return false;
  return true;
}

template <class T>
void avg_backward_nhwc(const AvgPoolBackwardArgs<T>& a) {
  const PoolWindows& w = a.windows;
  const Span rows = CoveringWindows::rows(w, a.run.row).span();
  const ColumnGroups groups(w, a.run);
  const bool grouped = groups.end > groups.begin && avg_gather_all_groups(a, rows, groups);
  CoveringWindows over = CoveringWindows::columns(w, a.run.column);
  Share<T> share;
  for (std::int64_t i = 0; i < a.run.columns; ++i) {
    if (grouped && a.run.column + i == groups.begin * w.stride_w) i += (groups.end - groups.begin) * w.stride_w;
    if (i >= a.run.columns) break;
    over.move_to(a.run.column + i);
    avg_gather_pixel(a, rows, over, share, a.grad_input + i * a.pixel);
  }
}

// What every column of windows gives to the pixels of a row: sums over the rows of windows above it. Rows of pixels
// under the same windows share one row of sums.
template <class T>
class ColumnSums {
 public:
  explicit ColumnSums(const AvgPoolBackwardArgs<T>& a)
      : a_(a), pitch_(gather_pitch(a.windows)), end_(gather_end(a.windows)), next_(a.room + pitch_ + kGatherMargin) {}

  const T* over(Span rows) {
    if (rows.first == rows_.first && rows.count == rows_.count) return last_;
    rows_ = rows;
    T* sums = next_;
    next_ += pitch_;
    const std::int64_t windows = a_.windows.ow;
    const Vec<T> zero = Vec<T>::zero();
    for (std::int64_t i = 1; i < windows_covering(a_.windows.kw, a_.windows.stride_w) && i <= kGatherMargin; ++i)
      sums[-i] = T(0);
    for (std::int64_t i = rows.count ? round_up_lanes<T>(windows) : 0; i < end_; i += Vec<T>::kSize)
      zero.store(sums + i);
    for (std::int64_t r = 0; r < rows.count; ++r) {
      const T* grad_output = a_.grad_output + (rows.first + r) * windows;
      const T* shares = shares_of(a_.counted_rows[rows.first + r]);
      for_each_vector<T>(windows, [&](std::int64_t i, int lanes) {
        const Vec<T> part = load_lanes(grad_output + i, lanes) * load_lanes(shares + i, lanes);
        (r == 0 ? part : Vec<T>::load(sums + i) + part).store(sums + i);
      });
    }
    return last_ = sums;
  }

 private:
  const T* shares_of(T counted_rows) {
    T* shares = a_.room;
    if (counted_rows == counted_rows_) return shares;
    counted_rows_ = counted_rows;
    const Vec<T> one = Vec<T>::broadcast(T(1)), counted = Vec<T>::broadcast(counted_rows);
    for_each_vector<T>(a_.windows.ow, [&](std::int64_t i, int lanes) {
      store_lanes(one / (counted * load_lanes(a_.counted_columns + i, lanes)), shares + i, lanes);
    });
    return shares;
  }

  const AvgPoolBackwardArgs<T>& a_;
  const std::int64_t pitch_, end_;
  T* next_;
  const T* last_ = nullptr;
  Span rows_{-1, -1};
  T counted_rows_ = T(0);
};

// Neighbouring windows in the lanes. All sums before any is read: vectors read at another place than they were stored
// wait for memory.
template <class T, int Stride>
void avg_spread_rows(const AvgPoolBackwardArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  const PoolWindows& w = a.windows;
  const ColumnPhase phase[2] = {ColumnPhase(0, w), ColumnPhase(Stride - 1, w)};
  CoveringWindows over = CoveringWindows::rows(w, a.run.row);
  ColumnSums<T> columns(a);
  const T* sums[kMostGatherRows];
  for (std::int64_t i = 0; i < a.run.rows; ++i) {
    over.move_to(a.run.row + i);
    sums[i] = columns.over(over.span());
  }
  for (std::int64_t i = 0; i < a.run.rows; ++i) {
    T* grad_input = a.grad_input + i * w.iw;
    for (std::int64_t j = 0; j * Stride < w.iw; j += kSize) {
      Vec<T> sum[Stride];
#pragma GCC unroll 2
      for (int q = 0; q < Stride; ++q) {
        sum[q] = Vec<T>::zero();
        for (std::int64_t t = phase[q].count - 1; t >= 0; --t)
          sum[q] = sum[q] + Vec<T>::load(sums[i] + j + phase[q].shift - t);
      }
      store_phases<T, Stride>(sum, grad_input + j * Stride, w.iw - j * Stride);
    }
  }
}

// One window after the other adds its share to the pixels under it.
template <class T>
void avg_spread_windows(const AvgPoolBackwardArgs<T>& a) {
  const PoolWindows& w = a.windows;
  CoveringWindows over = CoveringWindows::rows(w, a.run.row);
  ColumnSums<T> columns(a);
  const T* before = nullptr;
  for (std::int64_t i = 0; i < a.run.rows; ++i) {
    over.move_to(a.run.row + i);
    const T* sums = columns.over(over.span());
    T* __restrict grad_input = a.grad_input + i * w.iw;
    if (sums == before) {  // the same windows as over the row before
      for_each_vector<T>(w.iw, [&](std::int64_t iw, int lanes) {
        store_lanes(load_lanes(grad_input - w.iw + iw, lanes), grad_input + iw, lanes);
      });
      continue;
    }
    before = sums;
    for (std::int64_t iw = 0; iw < w.iw; ++iw) grad_input[iw] = T(0);
    for (std::int64_t ow = 0; ow < w.ow; ++ow) {
      const Span taps = taps_inside(ow * w.stride_w - w.pad_w, w.kw, 1, w.iw);
      T* __restrict pixels = grad_input + taps.first;
      const T sum = sums[ow];
      for (std::int64_t t = 0; t < taps.count; ++t) pixels[t] += sum;
    }
  }
}

template <class T>
void avg_backward_nchw(const AvgPoolBackwardArgs<T>& a) {
  const PoolWindows& w = a.windows;
  const bool few = windows_covering(w.kw, w.stride_w) <= kMostGathered;
  if (w.oh == 1 && w.ow == 1 && w.kh - w.pad_h >= w.ih && w.kw - w.pad_w >= w.iw) {
    const Vec<T> part = Vec<T>::broadcast(a.grad_output[0] * (T(1) / (a.counted_rows[0] * a.counted_columns[0])));
    for_each_vector<T>(a.run.rows * w.iw,
                       [&](std::int64_t i, int lanes) { store_lanes(part, a.grad_input + i, lanes); });
  } else if (w.stride_w == 1 && few) {
    avg_spread_rows<T, 1>(a);
  } else if (w.stride_w == 2 && few) {
    avg_spread_rows<T, 2>(a);
  } else {
    avg_spread_windows(a);
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
