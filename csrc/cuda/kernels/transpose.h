// Many transpositions of equal size: (batch, rows, columns) to (batch, columns, rows). NCHW to NHWC is one with
// rows = C, columns = H * W; the way back swaps the two, and weights (O, C, KH, KW) to (O, KH, KW, C) are the same.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

constexpr int kTransposeTile = 32, kTransposeThreads = 256;
// Of the tile's rows: one word longer, so that a column lies in 32 banks.
template <class T>
constexpr int kTransposePitch = kTransposeTile + 4 / static_cast<int>(sizeof(T));

template <class T>
struct TransposeParams {
  const T* input;
  T* output;
  std::int64_t rows, columns;
  std::int64_t row_tiles, column_tiles;
};

// Reads and writes are both along rows of 32.
template <class T>
FASTCONV_KERNEL transpose_kernel(TransposeParams<T> p) {
  constexpr int kPitch = kTransposePitch<T>, kStep = kTransposeThreads / kTransposeTile;
  T* const tile = shared<T>();
  std::int64_t number = block_x();
  const std::int64_t first_column = number % p.column_tiles * kTransposeTile;
  number /= p.column_tiles;
  const std::int64_t first_row = number % p.row_tiles * kTransposeTile;
  const std::int64_t matrix = number / p.row_tiles * p.rows * p.columns;

  for (int i = warp(); i < kTransposeTile; i += kStep) {
    const std::int64_t row = first_row + i, column = first_column + lane();
    if (row < p.rows && column < p.columns)
      store(tile + i * kPitch + lane(), load<T>(p.input + matrix + row * p.columns + column));
  }
  sync();
  for (int i = warp(); i < kTransposeTile; i += kStep) {
    const std::int64_t row = first_row + lane(), column = first_column + i;
    if (row < p.rows && column < p.columns)
      store(p.output + matrix + column * p.rows + row, load<T>(tile + lane() * kPitch + i));
  }
}

}  // namespace cuda
}  // namespace fastconv
