// Convolution as an implicit matrix product on ordinary float32 arithmetic.
//
//   rows = output pixels, columns = output channels of a group, depth = (kh, kw, c), all taps of a filter
//
// Both operands have depth inside in global memory; taps outside the image are copied as zeros.
#pragma once

#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

struct Conv2dForwardParams {
  const float* input;
  const float* weight;
  const float* bias;  // or null
  float* output;
  Conv2dGeometry geometry;
  std::int32_t column_tiles, row_tiles;
  bool relu;
};

template <int columns>
using ForwardTile = SimtTile<SimtOperand<128, Inner::depth>, SimtOperand<columns, Inner::depth>>;

// What a thread copies of every slab: four neighbours of depth, of one row of the input tile and of one of the weight
// tile. kVector: how many of them one copy takes; 4 needs channels in fours. Whatever is kept here costs registers
// during the whole product: the taps are found anew for each slab.
template <class Tile, int kVector>
struct ForwardLoader {
  const Conv2dGeometry& g;
  const float* image;   // of this row's pixel, at this group's channels
  const float* filter;  // of this column
  std::int32_t h, w;    // the pixel under tap (0, 0)
  std::int32_t filter_depth;

  FASTCONV_DEVICE ForwardLoader(const Conv2dForwardParams& p, const TileOfGroup<Tile>& tile) : g(p.geometry) {
    const std::int32_t row = tile.first_row + copied_line(thread_x());
    const std::int32_t column = tile.first_column + copied_line(thread_x());
    image = p.input + tile.group * g.icg, h = -(1 << 30), w = 0;  // outside: zeros
    if (row < g.output_pixels) {
      const InputPixel at = input_pixel(g, row);
      image += static_cast<std::int64_t>(at.n) * g.ih * g.iw * g.ic;
      h = at.h, w = at.w;
    }
    filter_depth = column < g.ocg ? g.kh * g.kw * g.icg : 0;
    filter = p.weight + (static_cast<std::int64_t>(tile.group) * g.ocg + column) * g.kh * g.kw * g.icg;
  }

  FASTCONV_DEVICE void copy_slab(float* stage, std::int32_t depth) const {
    const int line = copied_line(thread_x()), part = copied_part(thread_x()), to = Tile::Rows::offset(line, part);
    FASTCONV_UNROLL
    for (int i = 0; i < 4; i += kVector) {
      const std::int32_t position = depth + part + i;  // the last slab may reach beyond the last tap
      const Tap tap = Tap::at(position, g.by_icg, g.by_kw);
      const std::int32_t ih = h + tap.kh * g.dilation_h, iw = w + tap.kw * g.dilation_w;
      cp_async<kVector * 4>(stage + to + i, image + (static_cast<std::int64_t>(ih) * g.iw + iw) * g.ic + tap.c,
                            tap.kh < g.kh && inside(g, ih, iw));
      if (Tile::kColumns == Tile::kRows || line < Tile::kColumns)
        cp_async<kVector * 4>(stage + Tile::Rows::kFloats + to + i, filter + position, position < filter_depth);
    }
  }
};

template <class Tile, int kVector>
FASTCONV_BOUNDED_KERNEL(kSimtThreads, 2)
conv2d_forward_simt(FASTCONV_GRID_CONSTANT const Conv2dForwardParams p) {
  const Conv2dGeometry& g = p.geometry;
  const ForwardLoader<Tile, kVector> loader(p, TileOfGroup<Tile>(block_x(), p.column_tiles, p.row_tiles));
  typename Tile::Sums sums = {};
  multiply_all<Tile>(loader, 0, g.kh * g.kw * g.icg, sums);

  const TileOfGroup<Tile> at(block_x_anew(), p.column_tiles, p.row_tiles);
  const auto put = [&](int row_in_tile, int column_in_tile, bool again, float y) {
    const std::int32_t row = at.first_row + row_in_tile, column = at.first_column + column_in_tile;
    if (row >= g.output_pixels || column >= g.ocg) return;
    const std::int32_t channel = at.group * g.ocg + column;
    if (again) y = conv2d_sum_inside(g, p.input, p.weight, row, channel);
    if (p.bias) y += p.bias[channel];
    if (p.relu) y = y > 0 || y != y ? y : 0;  // NaN stays NaN
    p.output[static_cast<std::int64_t>(row) * g.oc + channel] = y;
  };
  finish_sums<Tile>(
      sums, [&](int row, int column, const Pack<float, 1>& sum) { put(row, column, false, sum.at[0]); },
      [&](int row, int column) { put(row, column, true, 0); });
}

}  // namespace cuda
}  // namespace fastconv
