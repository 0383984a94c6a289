// A block of output pixels and the source pixels under it: read in place, or copied to scratch with the zero padding.
// Shared by the direct loop nest and by backward-weight.
#pragma once

#include <cstdint>

namespace fastconv {

// A sliding window over a zero-padded channels-last source:
//   window (oh, ow), tap (th, tw) is source[n][origin_h + oh*step_h + th*tap_step_h][origin_w + ow*step_w +
//   tw*tap_step_w]
template <class T>
struct ConvGrid {
  const T* source;
  std::int64_t n, source_h, source_w, groups, icg;
  std::int64_t origin_h, origin_w, step_h, step_w;
  std::int64_t taps_h, taps_w, tap_step_h, tap_step_w;
  std::int64_t out_h, out_w;
  // When set, the grid is one row (n = out_h = 1, out_w pixels) that runs through all images of flat_h x flat_w
  // outputs.
  std::int64_t flat_h, flat_w;
};

// How a block gets its source pixels.
enum class SourceMode {
  in_place,  // read where they are: no padding is touched
  rows,      // rows of a block are copied to scratch with their zero borders
  gather,  // each pixel's window is copied: outputs so narrow that tiles would stay small, or strides and dilations so
           // wide that rows would be mostly unused
};

struct SourcePlan {
  SourceMode mode;
  std::int64_t pixel_pitch;  // elements from one pixel (in gather mode: one window) to the next
};

// For a tile that reads `tile` pixels at once, all channels of a group.
template <class T>
SourcePlan plan_source(const ConvGrid<T>& grid, std::int64_t tile);

// For a loop over many pixels that reads few channels of each: slices of the channels are copied one after the other.
template <class T>
SourcePlan plan_source_slices(const ConvGrid<T>& grid, std::int64_t slice);

// Scratch elements of a block of rows by columns of one image.
template <class T>
std::int64_t block_elements(const ConvGrid<T>& grid, const SourcePlan& plan, std::int64_t rows, std::int64_t columns);

struct Block {
  std::int64_t image, images;  // several whole images where they are small
  std::int64_t group;
  std::int64_t row0, rows, column0, columns;
  std::int64_t channel0, channels;  // of the group's input channels
};

// Where a block's first window starts, and the elements between neighbouring images, rows, pixels and taps from there.
template <class T>
struct SourceView {
  const T* data;
  std::int64_t image, row, pixel, tap_h, tap_w;
};

// Copies what the plan says to scratch.
template <class T>
SourceView<T> view_source(const ConvGrid<T>& grid, const SourcePlan& plan, const Block& block, T* scratch);

template <class T>
bool touches_padding(const ConvGrid<T>& grid);

// 1x1, stride 1, no padding: the image has no rows then, all its pixels are one.
template <class T>
bool pointwise(const ConvGrid<T>& grid) {
  return grid.taps_h == 1 && grid.taps_w == 1 && grid.step_h == 1 && grid.step_w == 1 && grid.origin_h == 0 &&
         grid.origin_w == 0 && grid.out_h == grid.source_h && grid.out_w == grid.source_w;
}

template <class T>
void flatten_grid(ConvGrid<T>& grid) {
  grid.out_w = grid.source_w = grid.n * grid.out_h * grid.out_w;
  grid.n = grid.out_h = grid.source_h = 1;
}

// Rows narrower than half a tile waste it, and so do rows that leave tiles of three pixels, too few sums to keep the
// multiply-add units busy (7 = 4 + 3): their windows are gathered instead, and tiles run across rows and images.
template <class T>
bool narrow(const ConvGrid<T>& grid, std::int64_t tile) {
  const std::int64_t tiles = (grid.out_w + tile - 1) / tile;
  return (2 * grid.out_w < tile || grid.out_w / tiles < 4) && grid.n * grid.out_h > 1 && grid.icg >= 8;
}

template <class T>
void flatten_narrow(ConvGrid<T>& grid) {
  grid.flat_h = grid.out_h;
  grid.flat_w = grid.out_w;
  grid.out_w = grid.n * grid.out_h * grid.out_w;
  grid.n = grid.out_h = 1;
}

}  // namespace fastconv
