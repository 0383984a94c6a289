// The gradient of a convolution's input on tensor cores (sm_75 and newer; mma_math.h has the arithmetic, mma_tile.h
// tells how a tile is computed).
#pragma once

#include "cuda/kernels/conv2d_backward_input.h"
#include "cuda/kernels/mma_copy.h"

namespace fastconv {
namespace cuda {

template <class T, int columns>
using BackwardInputMmaTile = MmaTile<MmaOperand<T, 128, Inner::depth>, MmaOperand<T, columns, Inner::lines>>;

// kBytes: of one copy; 16 needs channels in whole pieces on both sides, otherwise it is one element.
template <class T, class Tile, int kBytes>
struct BackwardInputMmaLoader {
  const Conv2dBackwardInputParams<T>& p;
  std::int32_t taps_w, depth_end;
  bool fewer_taps;
  PixelRows<typename Tile::Rows, kBytes> rows;
  const T* filter;      // the phase's first tap of the group's first filter, at this thread's channels
  std::int32_t column;  // of the first of them
  std::int32_t depth = 0;

  FASTCONV_DEVICE BackwardInputMmaLoader(const Conv2dBackwardInputParams<T>& params, const PhaseTile<Tile>& tile)
      : p(params),
        taps_w(tile.w.taps),
        depth_end(tile.h.taps * tile.w.taps * params.geometry.ocg),
        fewer_taps(tile.fewer_taps),
        rows(params.grad_output + tile.group * params.geometry.ocg, window(), [&](int row) {
          const std::int32_t pixel = tile.first_row + row;
          return pixel < tile.pixels ? tile.output_pixel(pixel) : kNowhere;
        }) {
    const Conv2dGeometry& g = p.geometry;
    const std::int64_t first_tap =
        (static_cast<std::int64_t>(tile.group) * g.ocg * g.kh + tile.h.first_tap) * g.kw + tile.w.first_tap;
    column = tile.first_column + thread_x() % Tile::Columns::kPieces * kPieceElements<T>;
    filter = p.weight + first_tap * g.icg + column;
  }

  // Nearly all of it lies in the parameters: made anew for each slab, it costs no registers between them. A later tap
  // meets an earlier output pixel.
  FASTCONV_DEVICE TapWindow window() const {
    const Conv2dGeometry& g = p.geometry;
    TapWindow window{};
    window.height = g.oh, window.width = g.ow, window.channels = g.oc;
    window.step_h = -p.h.output_step, window.step_w = -p.w.output_step;
    window.taps_w = taps_w, window.group_channels = g.ocg, window.depth = depth_end;
    window.by_channels = p.by_ocg, window.by_taps_w = p.by_taps[fewer_taps];
    return window;
  }

  FASTCONV_DEVICE void copy_slab(unsigned char* stage) {
    rows.copy(window(), stage, depth);
    copy_lines<typename Tile::Columns, kBytes>(
        stage + Tile::Rows::kBytes, filter, [&](int at_depth, int e) -> std::int64_t {
          const Conv2dGeometry& g = p.geometry;
          const std::int32_t position = depth + at_depth;
          const Tap tap = Tap::at(position, p.by_ocg, p.by_taps[fewer_taps]);
          const std::int64_t taps = (static_cast<std::int64_t>(tap.c) * g.kh + tap.kh * p.h.tap_step) * g.kw +
                                    static_cast<std::int64_t>(tap.kw) * p.w.tap_step;
          return position < depth_end && column + e < g.icg ? taps * g.icg + e : -1;
        });
    depth += kSlabDepth<T>;
  }
};

template <class Math, class Tile, int kBytes>
FASTCONV_BOUNDED_KERNEL(kMmaThreads, Tile::kBlocks)
conv2d_backward_input_mma(FASTCONV_GRID_CONSTANT const Conv2dBackwardInputParams<typename Math::Element> p) {
  if constexpr (kCompiledFor < Math::kNeeds) return no_such_instruction();  // nothing launches it there
  using T = typename Math::Element;
  const Conv2dGeometry& g = p.geometry;
  typename Tile::Sums sums = {};
  {
    const PhaseTile<Tile> tile(p, block_x());
    if (tile.first_row >= tile.pixels) return;  // this phase is smaller than the largest
    BackwardInputMmaLoader<T, Tile, kBytes> loader(p, tile);
    multiply_slabs<Math, Tile>(loader, slabs_of<T>(loader.depth_end), p.stages, sums);
  }

  const PhaseTile<Tile> tile(p, block_x_anew());
  constexpr int wide = Tile::kStored;
  finish_stores<Tile>(sums, [&](int row_in_tile, int column_in_tile, const Pack<float, wide>& dx) {
    const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
    if (row >= tile.pixels || column >= g.icg) return;
    const InputPixel at = tile.input_pixel(p, row);
    const std::int64_t first = tile.element(g, at, column);
    std::uint32_t passes = p.mask_bits(first);  // of whole packs, which have their bits in one word
    Pack<T, wide> pack;
    FASTCONV_UNROLL_ON_GPU
    for (int k = 0; k < wide; ++k, passes >>= 1) {
      if (column + k >= g.icg) break;
      if (!p.whole_packs) passes = p.mask_bits(first + k);
      float value = passes & 1 ? dx.at[k] : 0;
      if (value != value) value = backward_input_sum_inside(p, at, tile.group * g.icg + column + k);
      pack.at[k] = from_float<T>(value);
      if (!p.whole_packs) p.grad_input[first + k] = pack.at[k];
    }
    if (p.whole_packs) store(p.grad_input + first, pack);
  });
}

}  // namespace cuda
}  // namespace fastconv
