// Convolution as an implicit matrix product on tensor cores (sm_75 and newer; mma_math.h has the arithmetic).
//
//   rows = output pixels, columns = output channels of a group, depth = (kh, kw, c), all taps of a filter
//
// mma_tile.h tells how a tile of it is computed.
#pragma once

#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/mma_copy.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dMmaParams {
  const T* input;
  const T* weight;
  const T* bias;  // or null
  T* output;
  Conv2dGeometry geometry;
  std::int32_t column_tiles, row_tiles;
  std::int32_t stages;     // 2 or 3 slabs in shared memory
  bool relu, whole_packs;  // whole_packs: neighbours may be stored at once
};

template <class T, int columns>
using ForwardMmaTile = MmaTile<MmaOperand<T, 128, Inner::depth>, MmaOperand<T, columns, Inner::depth>>;

// The columns: filters, whose taps and channels lie in one piece.
template <class Operand, int kBytes>
struct FilterColumns {
  using T = typename Operand::Element;
  using Copies = DepthCopies<Operand, kBytes>;

  const T* filter;       // of the first line
  std::int32_t filters;  // how many of the lines exist

  FASTCONV_DEVICE FilterColumns(const Conv2dMmaParams<T>& p, std::int32_t group, std::int32_t first_column) {
    const Conv2dGeometry& g = p.geometry;
    const std::int32_t column = first_column + Copies::line(0);
    filter = p.weight + (static_cast<std::int64_t>(group) * g.ocg + column) * (g.kh * g.kw * g.icg);
    filters = column < g.ocg ? (g.ocg - column + Operand::kAtOnce - 1) / Operand::kAtOnce : 0;
  }

  FASTCONV_DEVICE void copy(std::int32_t elements, unsigned char* slab, std::int32_t depth) const {
    const std::int32_t position = depth + Copies::piece() * kPieceElements<T>;
    unsigned char* const to = slab + Operand::place(Copies::line(0), Copies::piece());
    if constexpr (Copies::kWhole) {
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < Copies::kLines; ++i) {
        const bool reads = i < filters && position < elements;
        const std::int64_t at = static_cast<std::int64_t>(i) * Operand::kAtOnce * elements + position;
        cp_async<kPieceBytes>(to + i * Operand::kApart, filter + (reads ? at : 0), reads);
      }
    } else {
      FASTCONV_UNROLL_BY(1)
      for (int n = 0; n < Operand::kCopies; ++n) {
        const std::int32_t first = position + n * kPieceElements<T>;
        copy_elements(slab + Operand::place(Copies::line(0), Copies::piece() + n), filter,
                      [&](int e) -> std::int64_t { return filters > 0 && first + e < elements ? first + e : -1; });
      }
    }
  }
};

template <class T, class Tile, int kBytes>
struct ForwardMmaLoader {
  TapWindow window;
  PixelRows<typename Tile::Rows, kBytes> rows;
  FilterColumns<typename Tile::Columns, kBytes> columns;
  std::int32_t depth = 0;

  FASTCONV_DEVICE ForwardMmaLoader(const Conv2dMmaParams<T>& p, const TileOfGroup<Tile>& tile)
      : window(window_of(p.geometry)),
        rows(p.input + tile.group * p.geometry.icg, window,
             [&](int row) {
               const std::int32_t pixel = tile.first_row + row;
               return pixel < p.geometry.output_pixels ? input_pixel(p.geometry, pixel) : kNowhere;
             }),
        columns(p, tile.group, tile.first_column) {}

  static FASTCONV_DEVICE TapWindow window_of(const Conv2dGeometry& g) {
    return {g.ih, g.iw, g.ic, g.dilation_h, g.dilation_w, g.kw, g.icg, g.kh * g.kw * g.icg, g.by_icg, g.by_kw};
  }

  FASTCONV_DEVICE void copy_slab(unsigned char* stage) {
    rows.copy(window, stage, depth);
    columns.copy(window.depth, stage + Tile::Rows::kBytes, depth);
    depth += kSlabDepth<T>;
  }
};

template <class T>
FASTCONV_DEVICE float conv2d_finish(const Conv2dMmaParams<T>& p, float sum, std::int32_t row, std::int32_t channel) {
  if (sum != sum) sum = conv2d_sum_inside(p.geometry, p.input, p.weight, row, channel);
  if (p.bias) sum += to_float(p.bias[channel]);
  return p.relu && sum <= 0 ? 0 : sum;  // NaN stays NaN
}

template <class Math, class Tile, int kBytes>
FASTCONV_BOUNDED_KERNEL(kMmaThreads, Tile::kBlocks)
conv2d_forward_mma(FASTCONV_GRID_CONSTANT const Conv2dMmaParams<typename Math::Element> p) {
  if constexpr (kCompiledFor < Math::kNeeds) return no_such_instruction();  // nothing launches it there
  using T = typename Math::Element;
  const Conv2dGeometry& g = p.geometry;
  typename Tile::Sums sums = {};
  {
    const TileOfGroup<Tile> tile(block_x(), p.column_tiles, p.row_tiles);
    ForwardMmaLoader<T, Tile, kBytes> loader(p, tile);
    multiply_slabs<Math, Tile>(loader, slabs_of<T>(loader.window.depth), p.stages, sums);
  }

  const TileOfGroup<Tile> tile(block_x_anew(), p.column_tiles, p.row_tiles);
  constexpr int wide = Tile::kStored;
  finish_stores<Tile>(sums, [&](int row_in_tile, int column_in_tile, const Pack<float, wide>& y) {
    const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
    if (row >= g.output_pixels || column >= g.ocg) return;
    const std::int32_t channel = tile.group * g.ocg + column;
    T* const to = p.output + static_cast<std::int64_t>(row) * g.oc + channel;
    Pack<T, wide> pack;
    FASTCONV_UNROLL_ON_GPU
    for (int k = 0; k < wide; ++k) {
      if (column + k >= g.ocg) break;
      pack.at[k] = from_float<T>(conv2d_finish(p, y.at[k], row, channel + k));
      if (!p.whole_packs) to[k] = pack.at[k];
    }
    if (p.whole_packs) store(to, pack);
  });
}

}  // namespace cuda
}  // namespace fastconv
