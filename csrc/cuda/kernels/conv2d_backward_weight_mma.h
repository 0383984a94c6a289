// The gradient of a convolution's weight on tensor cores (sm_75 and newer; mma_math.h has the arithmetic, mma_tile.h
// tells how a tile is computed).
#pragma once

#include "cuda/kernels/conv2d_backward_weight.h"
#include "cuda/kernels/mma_copy.h"

namespace fastconv {
namespace cuda {

template <class T, int rows, int columns>
using BackwardWeightMmaTile = MmaTile<MmaOperand<T, rows, Inner::lines>, MmaOperand<T, columns, Inner::lines>>;

// kBytes: of one copy; 16 needs channels in whole pieces on both sides, otherwise it is one element.
template <class T, class Tile, int kBytes>
struct BackwardWeightMmaLoader {
  using Rows = typename Tile::Rows;
  using Columns = typename Tile::Columns;

  const Conv2dGeometry& g;
  const T* grad_output;    // of this thread's first output channel
  const T* input;          // of the group
  std::int32_t rows_left;  // output channels from there to the end of the group
  Tap tap;                 // of this thread's first column
  std::int32_t depth, end;

  FASTCONV_DEVICE BackwardWeightMmaLoader(const Conv2dBackwardWeightParams<T>& p, const WeightTile<Tile>& tile)
      : g(p.geometry), depth(tile.begin), end(tile.end) {
    const std::int32_t row = tile.first_row + thread_x() % Rows::kPieces * kPieceElements<T>;
    rows_left = g.ocg - row;
    grad_output = p.grad_output + static_cast<std::int64_t>(tile.group) * g.ocg + row;
    tap = Tap::at(tile.first_column + thread_x() % Columns::kPieces * kPieceElements<T>, g.by_icg, g.by_kw);
    input = p.input + tile.group * g.icg;
  }

  FASTCONV_DEVICE void copy_slab(unsigned char* stage) {
    copy_lines<Rows, kBytes>(stage, grad_output, [&](int at_depth, int e) -> std::int64_t {
      const std::int32_t pixel = depth + at_depth;
      return pixel < end && e < rows_left ? static_cast<std::int64_t>(pixel) * g.oc + e : -1;
    });
    Tap at_tap = tap;
    copy_lines<Columns, kBytes>(stage + Rows::kBytes, input, [&](int at_depth, int e) -> std::int64_t {
      const std::int32_t pixel = depth + at_depth;
      const InputPixel at = input_pixel(g, pixel);
      if (e == 0) at_tap = tap;
      const std::int32_t h = at.h + at_tap.kh * g.dilation_h, w = at.w + at_tap.kw * g.dilation_w, c = at_tap.c;
      const bool reads = pixel < end && at_tap.kh < g.kh && inside(g, h, w);  // the last tile may have no more taps
      at_tap.next(g.icg, g.kw);
      return reads ? ((static_cast<std::int64_t>(at.n) * g.ih + h) * g.iw + w) * g.ic + c : -1;
    });
    depth += kSlabDepth<T>;
  }
};

template <class Math, class Tile, int kBytes>
FASTCONV_BOUNDED_KERNEL(kMmaThreads, Tile::kBlocks)
conv2d_backward_weight_mma(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightParams<typename Math::Element> p) {
  if constexpr (kCompiledFor < Math::kNeeds) return no_such_instruction();  // nothing launches it there
  using T = typename Math::Element;
  const Conv2dGeometry& g = p.geometry;
  typename Tile::Sums sums = {};
  {
    const WeightTile<Tile> tile(p, block_x());
    BackwardWeightMmaLoader<T, Tile, kBytes> loader(p, tile);
    multiply_slabs<Math, Tile>(loader, slabs_of<T>(tile.end - tile.begin), p.stages, sums);
  }

  const std::int32_t positions = g.kh * g.kw * g.icg;
  const WeightTile<Tile> tile(p, block_x_anew());
  float* const partial = p.partial ? p.partial + static_cast<std::int64_t>(tile.slice) * g.oc * positions : nullptr;
  constexpr int wide = Tile::kSideBySide;
  finish_sums<Tile>(sums, [&](int row_in_tile, int column_in_tile, const Pack<float, wide>& dw) {
    const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
    if (row >= g.ocg || column >= positions) return;
    const std::int32_t channel = tile.group * g.ocg + row;
    const std::int64_t first = static_cast<std::int64_t>(channel) * positions + column;
    if (partial && p.whole_packs) {
      store(partial + first, dw);
      return;
    }
    FASTCONV_UNROLL_ON_GPU
    for (int k = 0; k < wide; ++k) {
      if (column + k >= positions) break;
      const float value = dw.at[k];
      if (partial)
        partial[first + k] = value;
      else
        p.put(first + k, value == value ? value : backward_weight_sum_inside(p, channel, column + k));
    }
  });
}

}  // namespace cuda
}  // namespace fastconv
