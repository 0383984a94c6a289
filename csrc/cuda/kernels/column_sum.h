// The bias gradient: grad_output, seen as a matrix of pixels x channels, summed over the pixels. First pass: each block
// sums some columns of a slice of the rows; the second adds the slices. With a mask, the first pass also applies it and
// stores the masked gradient, which the gradients of input and weight read: one pass over memory for both.
#pragma once

#include <cstdint>

#include "cuda/kernels/sum_slices.h"

namespace fastconv {
namespace cuda {

constexpr int kColumnSumThreads = 256;

template <class T>
struct ColumnSumParams {
  const T* input;
  const std::uint32_t* mask;  // or null: one bit per element
  T* masked;       // with a mask: the input where its bit is set and 0 elsewhere; may be the input, may be null
  float* partial;  // [slices][columns]
  std::int64_t rows, columns, slice_rows;
  std::int32_t column_blocks, lanes;  // threads side by side in a row, a power of two
};

template <class T, int kVector>
FASTCONV_KERNEL column_sum(FASTCONV_GRID_CONSTANT const ColumnSumParams<T> p) {
  using Vector = Pack<T, kVector>;
  using Sums = Pack<float, kVector>;
  const int side = thread_x() / p.lanes, sides = kColumnSumThreads / p.lanes;
  const std::int32_t slice = block_x() / p.column_blocks;
  const std::int64_t first = block_x() % p.column_blocks * static_cast<std::int64_t>(p.lanes);
  const std::int64_t column = (first + thread_x() % p.lanes) * kVector;
  const std::int64_t begin = slice * p.slice_rows;
  const std::int64_t end = begin + p.slice_rows < p.rows ? begin + p.slice_rows : p.rows;
  Sums sum = {};
  if (column < p.columns) {
    for (std::int64_t row = begin + side; row < end; row += sides) {
      const std::int64_t at = row * p.columns + column;
      Vector v = load<Vector>(p.input + at);
      if (p.mask) {
        const std::uint32_t bits = p.mask[at / 32] >> (at % 32);
        FASTCONV_UNROLL
        for (int k = 0; k < kVector; ++k) v.at[k] = bits >> k & 1 ? v.at[k] : T{};
        if (p.masked) store(p.masked + at, v);
      }
      FASTCONV_UNROLL
      for (int k = 0; k < kVector; ++k) sum.at[k] += to_float(v.at[k]);
    }
  }
  float* const sums = shared<float>();
  store(sums + thread_x() * kVector, sum);
  sync();
  if (side > 0 || column >= p.columns) return;
  for (int other = 1; other < sides; ++other) {
    const Sums more = load<Sums>(sums + (other * p.lanes + thread_x()) * kVector);
    FASTCONV_UNROLL
    for (int k = 0; k < kVector; ++k) sum.at[k] += more.at[k];
  }
  FASTCONV_UNROLL
  for (int k = 0; k < kVector; ++k) p.partial[slice * p.columns + column + k] = sum.at[k];
}

template <class T>
struct ColumnSumSlicesParams {
  SumSlicesParams slices;
  void* output;  // of T, or of float where `wide`
  bool wide;
};

template <class T>
FASTCONV_KERNEL column_sum_slices(FASTCONV_GRID_CONSTANT const ColumnSumSlicesParams<T> p) {
  const float sum = sum_slices(p.slices);
  const std::int64_t element = summed_element();
  if (thread_x() >= kSumElements || element >= p.slices.count) return;
  put_sum<T>(p.output, p.wide, p.slices.accumulate, element, sum);
}

}  // namespace cuda
}  // namespace fastconv
