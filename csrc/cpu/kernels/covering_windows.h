// Which windows cover a pixel: what the backward passes of pooling gather from.
#pragma once

#include <cstdint>

#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// The windows [begin, end) that cover a row or column, kept up to date as it moves on.
struct CoveringWindows {
  std::int64_t begin, end, kernel, stride, pad, out;

  CoveringWindows(std::int64_t i, std::int64_t kernel_, std::int64_t stride_, std::int64_t pad_, std::int64_t out_)
      : kernel(kernel_), stride(stride_), pad(pad_), out(out_) {
    const Span over = windows_over(i, kernel, stride, pad, out);
    begin = over.first, end = over.first + over.count;
  }
  static CoveringWindows rows(const PoolWindows& w, std::int64_t ih) { return {ih, w.kh, w.stride_h, w.pad_h, w.oh}; }
  static CoveringWindows columns(const PoolWindows& w, std::int64_t iw) {
    return {iw, w.kw, w.stride_w, w.pad_w, w.ow};
  }
  std::int64_t count() const { return end - begin; }
  Span span() const { return {begin, end - begin}; }
  void move_to(std::int64_t i) {
    while (end < out && end * stride - pad <= i) ++end;
    while (begin < end && begin * stride - pad + kernel <= i) ++begin;
  }
};

// Pixel columns j * stride + q, j = 0, 1, ..., are covered by the windows j + shift - t, 0 <= t < count, with
// their taps tap + t * stride. So neighbouring windows meet neighbouring pixels of one q.
struct ColumnPhase {
  std::int64_t shift, tap, count;

  ColumnPhase(std::int64_t q, const PoolWindows& w)
      : shift((q + w.pad_w) / w.stride_w),
        tap((q + w.pad_w) % w.stride_w),
        count(tap < w.kw ? (w.kw - tap - 1) / w.stride_w + 1 : 0) {}
};

// Groups of Stride pixels j * Stride + q with the windows [j + first, j + first + count) over them: in the middle of a
// row all groups are alike.
struct ColumnGroups {
  std::int64_t first, count;
  std::int64_t begin, end;  // groups whose windows all exist and whose pixels belong to the run

  ColumnGroups(const PoolWindows& w, const PoolRun& run) : first(w.ow), count(0), begin(0), end(0) {
    if (w.stride_w > 3) return;
    std::int64_t last = -w.ow;
    for (std::int64_t q = 0; q < w.stride_w; ++q) {
      const ColumnPhase phase(q, w);
      if (phase.count == 0) continue;
      first = first < phase.shift - phase.count + 1 ? first : phase.shift - phase.count + 1;
      last = last > phase.shift ? last : phase.shift;
    }
    count = last - first + 1;
    begin = (run.column + w.stride_w - 1) / w.stride_w;
    end = (run.column + run.columns) / w.stride_w;
    if (begin + first < 0) begin = -first;
    if (end + last > w.ow) end = w.ow - last;
    if (end < begin) end = begin;
  }
};

// Stores the columns Stride * j + q of a row from sum[q][j], as many as the row has.
template <class T, int Stride>
inline __attribute__((always_inline)) void store_phases(const Vec<T>* sum, T* row, std::int64_t left) {
  constexpr int kSize = Vec<T>::kSize;
  if constexpr (Stride == 1) {
    store_lanes(sum[0], row, left < kSize ? static_cast<int>(left) : kSize);
  } else {
    static_assert(Stride == 2);
    Vec<T> low, high;
    interleave(sum[0], sum[1], low, high);
    if (left >= 2 * kSize) {
      low.store(row);
      high.store(row + kSize);
      return;
    }
    store_lanes(low, row, left < kSize ? static_cast<int>(left) : kSize);
    if (left > kSize) high.store_partial(row + kSize, static_cast<int>(left - kSize));
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
