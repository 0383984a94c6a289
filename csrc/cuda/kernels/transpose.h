// Many transpositions of equal size: (batch, rows, columns) to (batch, columns, rows). NCHW to NHWC is one with
// rows = C, columns = H * W; the way back swaps the two, and weights (O, C, KH, KW) to (O, KH, KW, C) are the same.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

constexpr int kTransposeTile = 32, kTransposeThreads = 256;

template <class T>
struct TransposeParams {
  const T* input;
  T* output;
  std::int64_t rows, columns;
  std::int64_t row_tiles, column_tiles;
};

// Reads and writes are both along rows of 32; a tile row is one element longer, so that its columns lie in 32 banks.
template <class T>
FASTCONV_KERNEL transpose_kernel(TransposeParams<T> p) {
  constexpr int kPitch = kTransposeTile + 1, kStep = kTransposeThreads / kTransposeTile;
  T* const tile = shared<T>();
  std::int64_t number = block_x();
  const std::int64_t first_column = number % p.column_tiles * kTransposeTile;
  number /= p.column_tiles;
  const std::int64_t first_row = number % p.row_tiles * kTransposeTile;
  const std::int64_t matrix = number / p.row_tiles * p.rows * p.columns;

  for (int i = warp(); i < kTransposeTile; i += kStep) {
    const std::int64_t row = first_row + i, column = first_column + lane();
    if (row < p.rows && column < p.columns) tile[i * kPitch + lane()] = p.input[matrix + row * p.columns + column];
  }
  sync();
  for (int i = warp(); i < kTransposeTile; i += kStep) {
    const std::int64_t row = first_row + lane(), column = first_column + i;
    if (row < p.rows && column < p.columns) p.output[matrix + column * p.rows + row] = tile[lane() * kPitch + i];
  }
}

}  // namespace cuda
}  // namespace fastconv
