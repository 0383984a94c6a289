// Average pooling, forward and backward. Sums have the order of the CPU's kernels for channels last: a row of a window
// on its own, then the rows; only wide windows are summed in slices. Sums are float32 whatever the type T is.
#pragma once

#include <cstdint>

#include "cuda/kernels/floats.h"
#include "cuda/kernels/pool2d_geometry.h"

namespace fastconv {
namespace cuda {

// What the sum of a window is divided by: `given`, or where that is 0 the pixels of the image and of as much padding
// around it as counts.
struct AvgPoolDivisor {
  float given;
  std::int32_t top, bottom, left, right;  // of the counted area: rows [top, bottom), columns [left, right)

  FASTCONV_DEVICE float of(const Pool2dGeometry& g, std::int32_t oh, std::int32_t ow) const {
    if (given != 0) return given;
    return counted(oh * g.stride_h - g.pad_top, g.kh, top, bottom) *
           counted(ow * g.stride_w - g.pad_left, g.kw, left, right);
  }
  static FASTCONV_DEVICE float counted(std::int32_t start, std::int32_t kernel, std::int32_t begin, std::int32_t end) {
    const std::int32_t stop = start + kernel;
    return static_cast<float>((stop < end ? stop : end) - (start > begin ? start : begin));
  }
};

template <class T>
struct AvgPoolForwardParams {
  const T* input;
  T* output;
  Pool2dGeometry geometry;
  AvgPoolDivisor divisor;
  PixelItems items;
  std::int32_t lanes, chunks;  // of the wide kernel: threads side by side in a pixel, blocks of them
};

template <class T>
struct AvgPoolBackwardParams {
  const T* grad_output;
  T* grad_input;
  Pool2dGeometry geometry;
  AvgPoolDivisor divisor;
  PixelItems items;
};

template <int kVector>
FASTCONV_DEVICE void add_to(Pack<float, kVector>& sum, const Pack<float, kVector>& x) {
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) sum.at[i] += x.at[i];
}

template <int kVector>
FASTCONV_DEVICE Pack<float, kVector> divided(Pack<float, kVector> sum, float divisor) {
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) sum.at[i] /= divisor;
  return sum;
}

// kSide: as for max pooling.
template <class T, int kVector, int kSide>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
avg_pool2d_forward_kernel(FASTCONV_GRID_CONSTANT const AvgPoolForwardParams<T> p) {
  using Channels = Pack<float, kVector>;
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t number = block_x() * kPoolThreads + thread_x();
  if (number >= p.items.items) return;
  const PixelItem at = pixel_item(p.items, number);
  const std::int32_t channel = at.access * kVector;
  const PoolWindow window(g, at.row, at.column);
  const T* corner =
      p.input + element(g, at.n, g.ih, g.iw, window.h + window.rows.begin, window.w + window.columns.begin, channel);
  const std::int64_t row_step = static_cast<std::int64_t>(g.iw) * g.channels;
  const std::int32_t rows = window.rows.count(), columns = window.columns.count();

  Channels sum = {};
  if (kSide > 0 && rows == kSide && columns == kSide) {
    constexpr int kTaps = kSide > 0 ? kSide * kSide : 1, kColumns = kSide > 0 ? kSide : 1;
    Channels x[kTaps];
    FASTCONV_UNROLL
    for (int tap = 0; tap < kTaps; ++tap)
      x[tap] = load_floats<kVector>(corner + tap / kColumns * row_step + tap % kColumns * g.channels);
    FASTCONV_UNROLL
    for (int row = 0; row < kTaps; row += kColumns) {
      FASTCONV_UNROLL
      for (int column = 1; column < kColumns; ++column) add_to(x[row], x[row + column]);
      add_to(sum, x[row]);
    }
  } else {
    for (std::int32_t row = 0; row < rows; ++row) {
      Channels row_sum = load_floats<kVector>(corner + row * row_step);
      for (std::int32_t column = 1; column < columns; ++column)
        add_to(row_sum, load_floats<kVector>(corner + row * row_step + static_cast<std::int64_t>(column) * g.channels));
      add_to(sum, row_sum);
    }
  }
  store_floats(p.output + element(g, at.n, g.oh, g.ow, at.row, at.column, channel),
               divided(sum, p.divisor.of(g, at.row, at.column)));
}

// Wide windows, of which there are few (global pooling): a block has one window and `lanes` accesses of its channels.
// Its threads take every slices-th pixel each; then the slices are added in pairs, in an order of their number alone.
template <class T, int kVector>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
avg_pool2d_forward_wide(FASTCONV_GRID_CONSTANT const AvgPoolForwardParams<T> p) {
  using Channels = Pack<float, kVector>;
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t slices = kPoolThreads / p.lanes, slice = thread_x() / p.lanes;
  const PixelItem at = pixel_item(p.items, block_x());  // its access is a chunk
  const std::int32_t channel = (at.access * p.lanes + thread_x() % p.lanes) * kVector;
  const PoolWindow window(g, at.row, at.column);
  const std::int32_t rows = window.rows.count(), columns = window.columns.count();
  const std::int64_t row_step = static_cast<std::int64_t>(g.iw) * g.channels;

  Channels sum = {};
  if (channel < g.channels) {
    const T* corner =
        p.input + element(g, at.n, g.ih, g.iw, window.h + window.rows.begin, window.w + window.columns.begin, channel);
    std::int32_t row = slice / columns, column = slice % columns;
    while (row < rows) {
      add_to(sum, load_floats<kVector>(corner + row * row_step + static_cast<std::int64_t>(column) * g.channels));
      for (column += slices; column >= columns; column -= columns) ++row;
    }
  }
  Channels* const sums = shared<Channels>();
  sums[thread_x()] = sum;
  for (std::int32_t half = slices / 2; half > 0; half /= 2) {
    sync();
    if (slice < half) {
      add_to(sum, sums[thread_x() + half * p.lanes]);
      sums[thread_x()] = sum;
    }
  }
  if (slice == 0 && channel < g.channels)
    store_floats(p.output + element(g, at.n, g.oh, g.ow, at.row, at.column, channel),
                 divided(sum, p.divisor.of(g, at.row, at.column)));
}

// One input pixel: adds up its share of the windows over it.
template <class T, int kVector>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
avg_pool2d_backward_kernel(FASTCONV_GRID_CONSTANT const AvgPoolBackwardParams<T> p) {
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t number = block_x() * kPoolThreads + thread_x();
  if (number >= p.items.items) return;
  const PixelItem at = pixel_item(p.items, number);
  const std::int32_t channel = at.access * kVector;
  const Range rows = windows_over(at.row + g.pad_top, g.kh, g.by_stride_h, g.stride_h, g.oh);
  const Range columns = windows_over(at.column + g.pad_left, g.kw, g.by_stride_w, g.stride_w, g.ow);
  Pack<float, kVector> sum = {};
  for (std::int32_t oh = rows.begin; oh < rows.end; ++oh) {
    for (std::int32_t ow = columns.begin; ow < columns.end; ++ow) {
      const auto gradient = load_floats<kVector>(p.grad_output + element(g, at.n, g.oh, g.ow, oh, ow, channel));
      const float share = 1 / p.divisor.of(g, oh, ow);
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i) sum.at[i] = multiply_add(gradient.at[i], share, sum.at[i]);
    }
  }
  store_floats(p.grad_input + element(g, at.n, g.ih, g.iw, at.row, at.column, channel), sum);
}

}  // namespace cuda
}  // namespace fastconv
