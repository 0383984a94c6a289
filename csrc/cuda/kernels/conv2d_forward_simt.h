// Convolution as an implicit matrix product on ordinary float32 arithmetic.
//
//   rows = output pixels, columns = output channels of a group, depth = (kh, kw, c), all taps of a filter
//
// Both operands have depth inside in global memory; taps outside the image are copied as zeros. depth_chunks.h tells
// in which order a deep sum is added up.
#pragma once

#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/depth_chunks.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

struct Conv2dForwardParams {
  const float* input;
  const float* weight;
  const float* bias;  // or null
  float* output;
  Conv2dGeometry geometry;
  DepthChunks chunks;
  std::int32_t depth;  // of the product
  std::int32_t column_tiles, row_tiles;
  bool relu;

  FASTCONV_DEVICE float finished(float sum, std::int32_t channel) const {
    if (bias) sum += bias[channel];
    return !relu || sum > 0 || sum != sum ? sum : 0;  // NaN stays NaN
  }
};

template <int columns, int rows = 128>
using ForwardTile = SimtTile<SimtOperand<rows, Inner::depth>, SimtOperand<columns, Inner::depth>, rows == 128 ? 2 : 4>;

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
    const int thread = thread_x_anew(), line = copied_line(thread), part = copied_part(thread);
    const int to = Tile::Rows::offset(line, part);
    FASTCONV_UNROLL
    for (int i = 0; i < 4; i += kVector) {
      const std::int32_t position = depth + part + i;  // the last slab may reach beyond the last tap
      const Tap tap = Tap::at(position, g.by_icg, g.by_kw);
      const std::int32_t ih = h + tap.kh * g.dilation_h, iw = w + tap.kw * g.dilation_w;
      if (Tile::kRows == kSimtThreads / 2 || line < Tile::kRows)
        cp_async<kVector * 4>(stage + to + i, image + (static_cast<std::int64_t>(ih) * g.iw + iw) * g.ic + tap.c,
                              tap.kh < g.kh && inside(g, ih, iw));
      if (Tile::kColumns == kSimtThreads / 2 || line < Tile::kColumns)
        cp_async<kVector * 4>(stage + Tile::Rows::kFloats + to + i, filter + position, position < filter_depth);
    }
  }
};

template <class Tile, int kVector>
FASTCONV_BOUNDED_KERNEL(kSimtThreads, 2)
conv2d_forward_simt(FASTCONV_GRID_CONSTANT const Conv2dForwardParams p) {
  const Conv2dGeometry& g = p.geometry;
  for (std::int32_t begin = p.chunks.chunk(block_x()) * p.chunks.depth;;) {
    const std::int32_t end = p.chunks.end(begin, p.depth);
    typename Tile::Sums sums = {};
    {
      const TileOfGroup<Tile> tile(p.chunks.tile(block_x_anew()), p.column_tiles, p.row_tiles);
      multiply_all<Tile>(ForwardLoader<Tile, kVector>(p, tile), begin, end, sums);
    }

    const std::int32_t block = block_x_anew();
    const TileOfGroup<Tile> at(p.chunks.tile(block), p.column_tiles, p.row_tiles);
    const ChunkSums to(p.chunks, block, end, p.depth, p.output);
    const auto exists = [&](int row, int column) {
      return at.first_row + row < g.output_pixels && at.first_column + column < g.ocg;
    };
    const std::int32_t first_channel = at.group * g.ocg + at.first_column;
    const auto place_of = [&](int row, int column) {
      return to.sums + (static_cast<std::int64_t>(at.first_row + row) * g.oc + first_channel + column);
    };
    finish_sums<Tile>(
        sums, to.adds,
        [&](int row, int column, Pack<float, 1>& before) {
          if (exists(row, column)) before.at[0] = *place_of(row, column);
        },
        [&](int row, int column, const Pack<float, 1>& sum) {
          if (exists(row, column))
            *place_of(row, column) = to.last ? p.finished(sum.at[0], first_channel + column) : sum.at[0];
        },
        [&](int row, int column) {
          if (!exists(row, column) || !to.last) return;
          const std::int32_t channel = first_channel + column;
          const float sum = conv2d_sum_inside(g, p.input, p.weight, at.first_row + row, channel);
          *place_of(row, column) = p.finished(sum, channel);
        });
    if (p.chunks.partial || end == p.depth) return;
    sync();  // nobody reads the last slab any more
    begin = end;
  }
}

// Adds up chunks that several blocks have computed.
[[maybe_unused]] static FASTCONV_KERNEL conv2d_forward_sum(FASTCONV_GRID_CONSTANT const Conv2dForwardParams p) {
  const std::int64_t element = chunked_element();
  if (element >= p.chunks.elements) return;
  const Conv2dGeometry& g = p.geometry;
  const auto row = static_cast<std::int32_t>(element / g.oc), channel = static_cast<std::int32_t>(element % g.oc);
  float sum = p.chunks.sum(element);
  if (sum != sum) sum = conv2d_sum_inside(g, p.input, p.weight, row, channel);
  p.output[element] = p.finished(sum, channel);
}

}  // namespace cuda
}  // namespace fastconv
