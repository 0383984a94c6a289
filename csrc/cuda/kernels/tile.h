// What the tiles of matrix products have in common, whatever multiplies them.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

// What lies side by side in the memory of an operand, which keeps the order that it has in global memory: neighbours
// of the sum, or of the rows (columns) of the product.
enum class Inner { depth, lines };

// Where the tile of a block lies. Blocks that run side by side share their rows: columns are counted first.
template <class Tile>
struct TileOfGroup {
  std::int32_t first_row, first_column, group;
  FASTCONV_DEVICE TileOfGroup(std::int32_t block, std::int32_t column_tiles, std::int32_t row_tiles) {
    first_column = block % column_tiles * Tile::kColumns;
    const std::int32_t rest = block / column_tiles;
    first_row = rest % row_tiles * Tile::kRows, group = rest / row_tiles;
  }
};

}  // namespace cuda
}  // namespace fastconv
