// The tiles of a Winograd convolution: how they cover the outputs, and the way of their pixels to the points.
#pragma once

#include <cstdint>

#include "cpu/kernels/winograd_kernels.h"
#include "cpu/source_block.h"

namespace fastconv {

// Tiles are numbered image by image; a dilated problem is one stride-1 problem for each phase of the dilation.
struct WinogradGrid {
  std::int64_t phases_h, phases_w;
  std::int64_t tiles_h, tiles_w;  // of one phase
  std::int64_t tiles;             // of all images and phases
};

WinogradGrid winograd_grid(WinogradTile tile, const ConvGrid<float>& problem);

// The outputs row, row + phases_h, ... (`rows` of them) by columns likewise.
struct TilePlace {
  std::int64_t image, row, column;
  int rows, columns;  // 0 where a phase has fewer tiles than the first
};

// Goes from tile to tile; only the first costs divisions.
class TileWalk {
 public:
  TileWalk(WinogradTile tile, const WinogradGrid& grid, const ConvGrid<float>& problem, std::int64_t index);
  const TilePlace& operator*() const { return place_; }
  const TilePlace* operator->() const { return &place_; }
  TileWalk& operator++();

 private:
  void set_row();
  void set_column();

  const WinogradGrid& grid_;
  const ConvGrid<float>& problem_;
  int outputs_;
  std::int64_t phase_h_, phase_w_, tile_h_, tile_w_;
  TilePlace place_;
};

// The points of `tiles` tiles, all input channels of a group: points[point][tile], `pitch` elements from tile to tile.
void tiles_to_points(WinogradTile tile, const WinogradGrid& grid, const ConvGrid<float>& problem, std::int64_t group,
                     std::int64_t tile0, std::int64_t tiles, std::int64_t pitch, float* points);

// Elements from one point to the next, of `tiles` tiles: an odd number of cache lines, so that the points of a tile,
// which are written together, do not fight for one set of the L1 cache.
std::int64_t point_stride(std::int64_t tiles, std::int64_t pitch);

// Elements from one tile's points to the next's: tiles a multiple of 4 KiB apart would share a cache set.
std::int64_t point_pitch(std::int64_t channels);

}  // namespace fastconv
