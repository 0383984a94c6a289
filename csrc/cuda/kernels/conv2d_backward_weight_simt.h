// The gradient of a convolution's weight on ordinary float32 arithmetic.
#pragma once

#include "cuda/kernels/conv2d_backward_weight.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

template <int rows, int columns>
using BackwardWeightTile = SimtTile<SimtOperand<rows, Inner::lines>, SimtOperand<columns, Inner::lines>>;

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

  FASTCONV_DEVICE BackwardWeightLoader(const Conv2dBackwardWeightParams<float>& p, const WeightTile<Tile>& tile)
      : g(p.geometry), end(tile.end) {
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
conv2d_backward_weight_simt(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightParams<float> p) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t positions = g.kh * g.kw * g.icg;
  typename Tile::Sums sums = {};
  {
    const WeightTile<Tile> tile(p, block_x());
    const BackwardWeightLoader<Tile, kVector> loader(p, tile);
    multiply_all<Tile>(loader, tile.begin, tile.end, sums);
  }

  const WeightTile<Tile> tile(p, block_x_anew());
  float* const partial = p.partial ? p.partial + static_cast<std::int64_t>(tile.slice) * g.oc * positions : nullptr;
  constexpr int wide = Tile::Columns::kWide;
  finish_sums<Tile>(
      sums,
      [&](int row_in_tile, int column_in_tile, const Pack<float, wide>& dw) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= g.ocg || column >= positions) return;
        const std::int64_t first = (static_cast<std::int64_t>(tile.group) * g.ocg + row) * positions + column;
        if (partial && kVector == wide) {  // and so all of them exist
          store(partial + first, dw);
          return;
        }
        FASTCONV_UNROLL
        for (int k = 0; k < wide; ++k) {
          if (column + k >= positions) break;
          if (partial)
            partial[first + k] = dw.at[k];
          else if (dw.at[k] == dw.at[k])  // the others come next
            p.put(first + k, dw.at[k]);
        }
      },
      [&](int row_in_tile, int column_in_tile) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (partial || row >= g.ocg || column >= positions) return;
        const std::int32_t channel = tile.group * g.ocg + row;
        p.put(static_cast<std::int64_t>(channel) * positions + column, backward_weight_sum_inside(p, channel, column));
      });
}

}  // namespace cuda
}  // namespace fastconv
