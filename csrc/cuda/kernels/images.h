// Copies of parts of images, and resampling: a thread has one or four channels of a pixel of the result.
#pragma once

#include <cstdint>

#include "cuda/images.h"
#include "cuda/kernels/image_items.h"

namespace fastconv {
namespace cuda {

struct StridedCopyParams {
  StridedCopy p;
  ImageItems items;
};

FASTCONV_DEVICE std::int64_t place(const Part& part, const ImageItem& at) {
  return at.n * part.n_step + at.row * part.h_step + at.column * part.w_step;
}

template <int kVector>
FASTCONV_KERNEL strided_copy_kernel(FASTCONV_GRID_CONSTANT const StridedCopyParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const ImageItem at = image_item(q.items, number);
  const std::int64_t channel = at.access * kVector;
  using Vector = Pack<float, kVector>;
  store(q.p.output + place(q.p.to, at) + channel, load<Vector>(q.p.input + place(q.p.from, at) + channel));
}

struct Resample2dParams {
  Resample2d p;
  ImageItems items;
};

template <int kVector>
FASTCONV_KERNEL resample2d_kernel(FASTCONV_GRID_CONSTANT const Resample2dParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  using Vector = Pack<float, kVector>;
  const Resample2d& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int32_t row = p.rows.first[at.row], rows = p.rows.start[at.row];
  const std::int32_t column = p.columns.first[at.column], columns = p.columns.start[at.column];
  const std::int32_t row_count = p.rows.start[at.row + 1] - rows;
  const std::int32_t column_count = p.columns.start[at.column + 1] - columns;
  const float* corner = p.input + ((at.n * p.ih + row) * p.iw + column) * p.c + at.access * kVector;
  Vector sum = {};
  for (std::int32_t i = 0; i < row_count; ++i) {
    Vector line = {};
    for (std::int32_t j = 0; j < column_count; ++j) {
      const Vector x = load<Vector>(corner + (i * p.iw + j) * p.c);
      const float weight = p.columns.weight[columns + j];
      FASTCONV_UNROLL
      for (int k = 0; k < kVector; ++k) line.at[k] = multiply_add(weight, x.at[k], line.at[k]);
    }
    const float weight = p.rows.weight[rows + i];
    FASTCONV_UNROLL
    for (int k = 0; k < kVector; ++k) sum.at[k] = multiply_add(weight, line.at[k], sum.at[k]);
  }
  store(p.output + ((at.n * p.oh + at.row) * p.ow + at.column) * p.c + at.access * kVector, sum);
}

}  // namespace cuda
}  // namespace fastconv
