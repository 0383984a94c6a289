// The gradient of a convolution's input on ordinary float32 arithmetic.
#pragma once

#include "cuda/kernels/conv2d_backward_input.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

template <int columns>
using BackwardInputTile = SimtTile<SimtOperand<128, Inner::depth>, SimtOperand<columns, Inner::lines>>;

// What a thread copies of every slab: of grad_output four neighbours of depth of one row; of the weight some lines,
// 256 copies apart. kVector: how many elements one copy takes; 4 needs channels in fours on both sides.
template <class Tile, int kVector>
struct BackwardInputLoader {
  const Conv2dBackwardInputParams<float>& p;
  const float* from;    // grad_output at this group's channels
  std::int32_t pixel;   // the output pixel under the phase's first taps: its number,
  const float* filter;  // the phase's first tap of the group's first filter
  std::int32_t h, w;    // and where it lies in its image
  std::int32_t column, depth_end;
  bool fewer_taps;

  static constexpr int kCopiesOfDepth = Tile::kColumns / kVector;
  static_assert(kSimtThreads % kCopiesOfDepth == 0, "a thread copies one column only");

  FASTCONV_DEVICE BackwardInputLoader(const Conv2dBackwardInputParams<float>& params, const PhaseTile<Tile>& tile)
      : p(params), fewer_taps(tile.fewer_taps) {
    const Conv2dGeometry& g = p.geometry;
    const std::int32_t row = tile.first_row + copied_line(thread_x());
    from = p.grad_output + tile.group * g.ocg, pixel = 0, h = -(1 << 30), w = 0;  // outside: zeros
    if (row < tile.pixels) {
      const InputPixel at = tile.output_pixel(row);
      h = at.h, w = at.w;
      pixel = (at.n * g.oh + h) * g.ow + w;
    }
    column = tile.first_column + thread_x() % kCopiesOfDepth * kVector;
    const std::int64_t first_tap =
        (static_cast<std::int64_t>(tile.group) * g.ocg * g.kh + tile.h.first_tap) * g.kw + tile.w.first_tap;
    filter = p.weight + first_tap * g.icg;
    depth_end = tile.h.taps * tile.w.taps * g.ocg;
  }

  // The thread is asked for anew: what follows from it would not fit beside the sums on sm_75.
  FASTCONV_DEVICE void copy_slab(float* stage, std::int32_t depth) const {
    copy_grad_output(stage, depth);
    copy_weight(stage + Tile::Rows::kFloats, depth);
  }

  FASTCONV_DEVICE void copy_grad_output(float* stage, std::int32_t depth) const {
    const Conv2dGeometry& g = p.geometry;
    const int thread = thread_x_anew(), part = copied_part(thread), to = Tile::Rows::offset(copied_line(thread), part);
    FASTCONV_UNROLL
    for (int i = 0; i < 4; i += kVector) {
      const std::int32_t position = depth + part + i;
      const Tap tap = Tap::at(position, p.by_ocg, p.by_taps[fewer_taps]);
      const std::int32_t up = tap.kh * p.h.output_step, left = tap.kw * p.w.output_step;
      const bool reads = position < depth_end &&
                         static_cast<std::uint32_t>(h - up) < static_cast<std::uint32_t>(g.oh) &&
                         static_cast<std::uint32_t>(w - left) < static_cast<std::uint32_t>(g.ow);
      cp_async<kVector * 4>(stage + to + i, from + static_cast<std::int64_t>(pixel - up * g.ow - left) * g.oc + tap.c,
                            reads);
    }
  }

  FASTCONV_DEVICE void copy_weight(float* stage, std::int32_t depth) const {
    const int thread = thread_x_anew();
    const Conv2dGeometry& g = p.geometry;
    FASTCONV_UNROLL
    for (int i = 0; i < kCopiesOfDepth * kSimtDepth; i += kSimtThreads) {
      const int copy = thread + i, at_depth = copy / kCopiesOfDepth;
      if (at_depth >= kSimtDepth) break;
      const std::int32_t position = depth + at_depth;
      const Tap tap = Tap::at(position, p.by_ocg, p.by_taps[fewer_taps]);
      const std::int64_t taps = (static_cast<std::int64_t>(tap.c) * g.kh + tap.kh * p.h.tap_step) * g.kw +
                                static_cast<std::int64_t>(tap.kw) * p.w.tap_step;
      cp_async<kVector * 4>(stage + Tile::Columns::offset(copy % kCopiesOfDepth * kVector, at_depth),
                            filter + taps * g.icg + column, position < depth_end && column < g.icg);
    }
  }
};

template <class Tile, int kVector>
FASTCONV_BOUNDED_KERNEL(kSimtThreads, 2)
conv2d_backward_input_simt(FASTCONV_GRID_CONSTANT const Conv2dBackwardInputParams<float> p) {
  const Conv2dGeometry& g = p.geometry;
  typename Tile::Sums sums = {};
  {
    const PhaseTile<Tile> tile(p, block_x());
    if (tile.first_row >= tile.pixels) return;  // this phase is smaller than the largest
    const BackwardInputLoader<Tile, kVector> loader(p, tile);
    multiply_all<Tile>(loader, 0, loader.depth_end, sums);
  }

  const PhaseTile<Tile> tile(p, block_x_anew());
  constexpr int wide = Tile::Columns::kWide;
  finish_sums<Tile>(
      sums,
      [&](int row_in_tile, int column_in_tile, Pack<float, wide> dx) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= tile.pixels || column >= g.icg) return;
        const std::int64_t first = tile.element(g, tile.input_pixel(p, row), column);
        if constexpr (kVector == wide) {  // and so all of them exist, and have their bits in one word
          const std::uint32_t passes = p.mask_bits(first);
          FASTCONV_UNROLL
          for (int k = 0; k < wide; ++k) dx.at[k] = passes >> k & 1 ? dx.at[k] : 0;
          store(p.grad_input + first, dx);
        } else {
          FASTCONV_UNROLL
          for (int k = 0; k < wide; ++k)
            if (column + k < g.icg) p.grad_input[first + k] = p.mask_bits(first + k) & 1 ? dx.at[k] : 0;
        }
      },
      [&](int row_in_tile, int column_in_tile) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= tile.pixels || column >= g.icg) return;
        const InputPixel at = tile.input_pixel(p, row);
        const std::int64_t element = tile.element(g, at, column);
        if (p.mask_bits(element) & 1)
          p.grad_input[element] = backward_input_sum_inside(p, at, tile.group * g.icg + column);
      });
}

}  // namespace cuda
}  // namespace fastconv
