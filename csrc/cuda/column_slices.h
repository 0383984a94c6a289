// How a matrix of pixels by channels is cut for sums over the pixels: by its sizes alone, so that a sum has the same
// bits everywhere.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"

namespace fastconv {
namespace cuda {

constexpr int kColumnThreads = 256;

struct ColumnSlices {
  std::int64_t lanes;          // threads side by side in a row, a power of two
  std::int64_t column_blocks;  // of so many threads
  std::int64_t slices;         // of the rows
};

// Neighbours are taken 16 bytes at a time where the number of columns allows it.
inline int columns_at_once(std::int64_t columns, std::int64_t element_bytes = 4) {
  const std::int64_t pack = 16 / element_bytes;
  return static_cast<int>(columns % pack == 0 ? pack : 1);
}

inline ColumnSlices column_slices(std::int64_t rows, std::int64_t columns, std::int64_t element_bytes = 4) {
  constexpr std::int64_t kMostBlocks = 1056;  // eight for each of the 132 SMs of an H200
  constexpr std::int64_t kLeastRows = 16;     // for each thread
  ColumnSlices s{};
  const std::int64_t packs = ceil_div(columns, columns_at_once(columns, element_bytes));
  s.lanes = 1;
  while (s.lanes < packs && s.lanes < 32) s.lanes *= 2;
  s.column_blocks = ceil_div(packs, s.lanes);
  const std::int64_t slice = kColumnThreads / s.lanes * kLeastRows;
  s.slices = std::min(ceil_div(rows, slice), std::max<std::int64_t>(1, kMostBlocks / s.column_blocks));
  return s;
}

}  // namespace cuda
}  // namespace fastconv
