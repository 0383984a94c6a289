// A thread has one or four channels of a pixel of the result. Backward gathers: no atomics, one order of the sums.
#pragma once

#include <cstdint>

#include "cuda/kernels/image_items.h"
#include "cuda/pad2d.h"

namespace fastconv {
namespace cuda {

struct Pad2dParams {
  Pad2d p;
  ImageItems items;
};

// The pixel that a place of the padded axis repeats.
FASTCONV_DEVICE std::int32_t repeated_pixel(const PaddedAxis& axis, Border border, std::int32_t at) {
  const std::int32_t pixel = at - axis.before, last = axis.size - 1;
  if (border == Border::reflect) return pixel < 0 ? -pixel : pixel > last ? 2 * last - pixel : pixel;
  return pixel < 0 ? 0 : pixel > last ? last : pixel;
}

// The copies of a pixel, by number: up to three mirrored ones (-1: there is none), or a stretch at an end.
FASTCONV_DEVICE std::int32_t copies_of(const PaddedAxis& axis, Border border, std::int32_t pixel) {
  if (border == Border::reflect) return 3;
  return 1 + (pixel == 0 ? axis.before : 0) + (pixel == axis.size - 1 ? axis.padded - axis.before - axis.size : 0);
}
FASTCONV_DEVICE std::int32_t copy_of(const PaddedAxis& axis, Border border, std::int32_t pixel, std::int32_t number) {
  if (border == Border::replicate) return (pixel == 0 ? 0 : axis.before + pixel) + number;
  if (number == 0) return pixel > 0 && pixel <= axis.before ? axis.before - pixel : -1;
  if (number == 1) return axis.before + pixel;
  const std::int32_t behind = axis.before + 2 * (axis.size - 1) - pixel;
  return pixel < axis.size - 1 && behind < axis.padded ? behind : -1;
}

template <int kVector>
FASTCONV_KERNEL pad2d_kernel(FASTCONV_GRID_CONSTANT const Pad2dParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const Pad2d& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int64_t row = repeated_pixel(p.rows, p.border, at.row);
  const std::int64_t column = repeated_pixel(p.columns, p.border, at.column);
  const std::int64_t channel = at.access * kVector;
  using Vector = Pack<float, kVector>;
  const Vector x = load<Vector>(p.input + ((at.n * p.rows.size + row) * p.columns.size + column) * p.c + channel);
  store(p.output + ((at.n * p.rows.padded + at.row) * p.columns.padded + at.column) * p.c + channel, x);
}

template <int kVector>
FASTCONV_KERNEL pad2d_backward_kernel(FASTCONV_GRID_CONSTANT const Pad2dParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const Pad2d& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int64_t channel = at.access * kVector;
  using Vector = Pack<float, kVector>;
  Vector sum = {};
  const std::int32_t rows = copies_of(p.rows, p.border, at.row), columns = copies_of(p.columns, p.border, at.column);
  for (std::int32_t i = 0; i < rows; ++i) {
    const std::int64_t row = copy_of(p.rows, p.border, at.row, i);
    if (row < 0) continue;
    for (std::int32_t j = 0; j < columns; ++j) {
      const std::int64_t column = copy_of(p.columns, p.border, at.column, j);
      if (column < 0) continue;
      const Vector x =
          load<Vector>(p.input + ((at.n * p.rows.padded + row) * p.columns.padded + column) * p.c + channel);
      FASTCONV_UNROLL
      for (int k = 0; k < kVector; ++k) sum.at[k] += x.at[k];
    }
  }
  store(p.output + ((at.n * p.rows.size + at.row) * p.columns.size + at.column) * p.c + channel, sum);
}

struct PixelShuffleParams {
  PixelShuffle p;
  ImageItems items;  // of the many pixels
};

static FASTCONV_KERNEL pixel_shuffle_kernel(FASTCONV_GRID_CONSTANT const PixelShuffleParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const PixelShuffle& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int32_t row = at.row / p.r, column = at.column / p.r;
  const std::int64_t channel = (static_cast<std::int64_t>(at.access) * p.r + at.row % p.r) * p.r + at.column % p.r;
  const std::int64_t few = ((at.n * p.h + row) * p.w + column) * p.c * p.r * p.r + channel;
  const std::int64_t many = ((at.n * p.h * p.r + at.row) * p.w * p.r + at.column) * p.c + at.access;
  if (p.back)
    p.few[few] = p.many[many];
  else
    p.many[many] = p.few[few];
}

}  // namespace cuda
}  // namespace fastconv
