// The gradient of a convolution's weight as an implicit matrix product.
//
//   rows = output channels of a group, columns = (kh, kw, c) of a filter, depth = output pixels
//
// Both operands have lines inside in global memory. There are few tiles and much depth, so the depth is cut into
// slices: each block writes the sums of one slice, and a second kernel adds the slices in their order.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/simt_tile.h"
#include "cuda/kernels/sum_slices.h"

namespace fastconv {
namespace cuda {

struct Conv2dBackwardWeightParams {
  const float* input;
  const float* grad_output;
  float* grad_weight;
  float* partial;  // [slices][weight], or null: one slice, and its sums are the result
  Conv2dGeometry geometry;
  std::int32_t column_tiles, row_tiles, slices, slice_pixels;
  bool accumulate;
};

template <int rows, int columns>
using BackwardWeightTile = SimtTile<SimtOperand<rows, Inner::lines>, SimtOperand<columns, Inner::lines>>;

// One element from its definition, pixels outside the image left out.
FASTCONV_DEVICE_NOINLINE float backward_weight_sum_inside(const Conv2dBackwardWeightParams& p, std::int32_t channel,
                                                          std::int32_t position) {
  const Conv2dGeometry& g = p.geometry;
  const Tap tap = Tap::at(position, g.by_icg, g.by_kw);
  const std::int32_t c = channel / g.ocg * g.icg + tap.c;
  float sum = 0;
  for (std::int32_t pixel = 0; pixel < g.output_pixels && sum == sum; ++pixel) {
    const InputPixel at = input_pixel(g, pixel);
    const std::int32_t h = at.h + tap.kh * g.dilation_h, w = at.w + tap.kw * g.dilation_w;
    if (!inside(g, h, w)) continue;
    sum = multiply_add(p.grad_output[static_cast<std::int64_t>(pixel) * g.oc + channel],
                       p.input[((static_cast<std::int64_t>(at.n) * g.ih + h) * g.iw + w) * g.ic + c], sum);
  }
  return sum;
}

// Copies of a slab: thread after thread along the lines, 256 at a time. kVector: how many elements one copy takes; 4
// needs channels in fours on both sides.
template <class Tile, int kVector>
struct BackwardWeightLoader {
  const Conv2dGeometry& g;
  const float* grad_output;  // of the group
  const float* input;        // of the group, at this thread's channel
  std::int32_t h, w;         // from the pixel under tap (0, 0) to the one under this thread's tap
  std::int32_t rows_left;    // rows of the group that are not above the tile
  bool has_column;
  std::int32_t end;  // of the slice

  static constexpr int kColumnCopies = Tile::kColumns / kVector, kRowCopies = Tile::kRows / kVector;
  static_assert(kSimtThreads % kColumnCopies == 0, "a thread copies one column only");

  FASTCONV_DEVICE BackwardWeightLoader(const Conv2dBackwardWeightParams& p, const TileOfGroup<Tile>& tile,
                                       std::int32_t slice_end)
      : g(p.geometry), end(slice_end) {
    rows_left = g.ocg - tile.first_row;
    grad_output = p.grad_output + static_cast<std::int64_t>(tile.group) * g.ocg + tile.first_row;
    const std::int32_t column = tile.first_column + thread_x() % kColumnCopies * kVector;
    const Tap tap = Tap::at(column, g.by_icg, g.by_kw);
    has_column = tap.kh < g.kh;
    h = tap.kh * g.dilation_h, w = tap.kw * g.dilation_w;
    input = p.input + tile.group * g.icg + tap.c;
  }

  FASTCONV_DEVICE void copy_slab(float* stage, std::int32_t depth) const {
    FASTCONV_UNROLL
    for (int i = 0; i < kRowCopies * kSimtDepth; i += kSimtThreads) {
      const int copy = thread_x() + i, line = copy % kRowCopies * kVector, at_depth = copy / kRowCopies;
      if (at_depth >= kSimtDepth) break;
      const std::int32_t pixel = depth + at_depth;
      cp_async<kVector * 4>(stage + Tile::Rows::offset(line, at_depth),
                            grad_output + static_cast<std::int64_t>(pixel) * g.oc + line,
                            pixel < end && line < rows_left);
    }
    float* const columns = stage + Tile::Rows::kFloats;
    FASTCONV_UNROLL
    for (int i = 0; i < kColumnCopies * kSimtDepth; i += kSimtThreads) {
      const int copy = thread_x() + i, at_depth = copy / kColumnCopies;
      if (at_depth >= kSimtDepth) break;
      const std::int32_t pixel = depth + at_depth;
      const InputPixel at = input_pixel(g, pixel);
      const std::int32_t ih = at.h + h, iw = at.w + w;
      cp_async<kVector * 4>(columns + Tile::Columns::offset(copy % kColumnCopies * kVector, at_depth),
                            input + ((static_cast<std::int64_t>(at.n) * g.ih + ih) * g.iw + iw) * g.ic,
                            pixel < end && has_column && inside(g, ih, iw));
    }
  }
};

template <class Tile, int kVector>
FASTCONV_BOUNDED_KERNEL(kSimtThreads, 2)
conv2d_backward_weight_simt(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightParams p) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t positions = g.kh * g.kw * g.icg;
  const std::int32_t tiles = p.column_tiles * p.row_tiles * (g.ic / g.icg);
  typename Tile::Sums sums = {};
  {
    // The last slice may be shorter, and slices past the last pixel are empty.
    const std::int64_t begin = static_cast<std::int64_t>(block_x() / tiles) * p.slice_pixels;
    const std::int64_t end = begin + p.slice_pixels < g.output_pixels ? begin + p.slice_pixels : g.output_pixels;
    const BackwardWeightLoader<Tile, kVector> loader(
        p, TileOfGroup<Tile>(block_x() % tiles, p.column_tiles, p.row_tiles), static_cast<std::int32_t>(end));
    multiply_all<Tile>(loader, begin < end ? static_cast<std::int32_t>(begin) : loader.end, loader.end, sums);
  }

  const std::int32_t block = block_x_anew();
  const TileOfGroup<Tile> tile(block % tiles, p.column_tiles, p.row_tiles);
  float* to = p.grad_weight;
  if (p.partial) to = p.partial + static_cast<std::int64_t>(block / tiles) * g.oc * positions;
  constexpr int wide = Tile::Columns::kWide;
  finish_sums<Tile>(
      sums,
      [&](int row_in_tile, int column_in_tile, const Pack<float, wide>& dw) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= g.ocg || column >= positions) return;
        float* const at = to + (static_cast<std::int64_t>(tile.group) * g.ocg + row) * positions + column;
        if (p.partial && kVector == wide) {  // and so all of them exist
          store(at, dw);
          return;
        }
        FASTCONV_UNROLL
        for (int k = 0; k < wide; ++k) {
          if (column + k >= positions) break;
          if (p.partial)
            at[k] = dw.at[k];
          else if (dw.at[k] == dw.at[k])  // the others come next
            at[k] = p.accumulate ? at[k] + dw.at[k] : dw.at[k];
        }
      },
      [&](int row_in_tile, int column_in_tile) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (p.partial || row >= g.ocg || column >= positions) return;
        const std::int32_t channel = tile.group * g.ocg + row;
        float* const at = to + static_cast<std::int64_t>(channel) * positions + column;
        const float dw = backward_weight_sum_inside(p, channel, column);
        *at = p.accumulate ? *at + dw : dw;
      });
}

FASTCONV_KERNEL conv2d_backward_weight_sum(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightParams p) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t positions = g.kh * g.kw * g.icg;
  const std::int64_t element = summed_element(), count = static_cast<std::int64_t>(g.oc) * positions;
  float dw = sum_slices({p.partial, p.grad_weight, count, p.slices, p.accumulate});
  if (thread_x() >= kSumElements || element >= count) return;
  if (dw != dw)
    dw = backward_weight_sum_inside(p, static_cast<std::int32_t>(element / positions),
                                    static_cast<std::int32_t>(element % positions));
  p.grad_weight[element] = p.accumulate ? p.grad_weight[element] + dw : dw;
}

}  // namespace cuda
}  // namespace fastconv
