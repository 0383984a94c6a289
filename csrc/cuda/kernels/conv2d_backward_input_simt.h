// The gradient of a convolution's input on ordinary float32 arithmetic.
#pragma once

#include "cuda/kernels/conv2d_backward_input.h"
#include "cuda/kernels/depth_chunks.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

template <int columns, int rows = 128>
using BackwardInputTile =
    SimtTile<SimtOperand<rows, Inner::depth>, SimtOperand<columns, Inner::lines>, rows == 128 ? 2 : 4>;

// depth_chunks.h tells in which order a deep sum is added up.
struct Conv2dBackwardInputSimtParams : Conv2dBackwardInputParams<float> {
  DepthChunks chunks;
};

// What a thread copies of every slab: of grad_output four neighbours of depth of one row; of the weight some lines,
// 256 copies apart. kVector: how many elements one copy takes; 4 needs channels in fours on both sides.
template <class Tile, int kVector>
struct BackwardInputLoader {
  const Conv2dBackwardInputParams<float>& p;
  std::int32_t first;   // of this group's channels in grad_output
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
    first = tile.group * g.ocg, pixel = 0, h = -(1 << 30), w = 0;  // outside: zeros
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
    if (Tile::kRows == kSimtThreads / 2 || thread_x_anew() / 2 < Tile::kRows) copy_grad_output(stage, depth);
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
      const std::int64_t at = static_cast<std::int64_t>(pixel - up * g.ow - left) * g.oc + (first + tap.c);
      cp_async<kVector * 4>(stage + to + i, p.grad_output + at, reads);
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
conv2d_backward_input_simt(FASTCONV_GRID_CONSTANT const Conv2dBackwardInputSimtParams p) {
  const Conv2dGeometry& g = p.geometry;
  for (std::int32_t begin = p.chunks.chunk(block_x()) * p.chunks.depth;;) {
    typename Tile::Sums sums = {};
    std::int32_t end;
    {
      const PhaseTile<Tile> tile(p, p.chunks.tile(block_x_anew()));
      if (tile.first_row >= tile.pixels) return;  // this phase is smaller than the largest
      BackwardInputLoader<Tile, kVector> loader(p, tile);
      end = loader.depth_end = p.chunks.end(begin, loader.depth_end);
      if (begin < end)
        multiply_all<Tile>(loader, begin, loader.depth_end, sums);
      else if (begin > 0)  // other phases are deeper
        set_sums<Tile>(sums, kNothingToAdd);
    }

    const std::int32_t block = block_x_anew();
    const PhaseTile<Tile> tile(p, p.chunks.tile(block));
    const std::int32_t depth = tile.h.taps * tile.w.taps * g.ocg;
    const ChunkSums to(p.chunks, block, end, depth, p.grad_input);
    constexpr int wide = Tile::Columns::kWide;
    const auto exists = [&](int row_in_tile, int column_in_tile) {
      return tile.first_row + row_in_tile < tile.pixels && tile.first_column + column_in_tile < g.icg;
    };
    const auto element_of = [&](int row_in_tile, int column_in_tile) {
      return tile.element(g, tile.input_pixel(p, tile.first_row + row_in_tile), tile.first_column + column_in_tile);
    };
    finish_sums<Tile>(
        sums, to.adds,
        [&](int row, int column, Pack<float, wide>& before) {
          if (!exists(row, column)) return;
          const float* const from = to.sums + element_of(row, column);
          if constexpr (kVector == wide) {
            before = load<Pack<float, wide>>(from);
          } else {
            FASTCONV_UNROLL
            for (int k = 0; k < wide; ++k)
              if (exists(row, column + k)) before.at[k] = from[k];
          }
        },
        [&](int row, int column, Pack<float, wide> dx) {
          if (!exists(row, column)) return;
          const std::int64_t first = element_of(row, column);
          if constexpr (kVector == wide) {  // and so all of them exist, and have their bits in one word
            const std::uint32_t passes = to.last ? p.mask_bits(first) : ~0u;
            FASTCONV_UNROLL
            for (int k = 0; k < wide; ++k) dx.at[k] = passes >> k & 1 ? dx.at[k] : 0;
            store(to.sums + first, dx);
          } else {
            FASTCONV_UNROLL
            for (int k = 0; k < wide; ++k)
              if (exists(row, column + k)) to.sums[first + k] = !to.last || p.mask_bits(first + k) & 1 ? dx.at[k] : 0;
          }
        },
        [&](int row, int column) {
          if (!exists(row, column) || !to.last) return;
          const InputPixel at = tile.input_pixel(p, tile.first_row + row);
          const std::int64_t element = element_of(row, column);
          if (p.mask_bits(element) & 1)
            p.grad_input[element] = backward_input_sum_inside(p, at, tile.group * g.icg + tile.first_column + column);
        });
    if (p.chunks.partial || end == depth) return;
    sync();  // nobody reads the last slab any more
    begin = end;
  }
}

// Adds up chunks that several blocks have computed.
[[maybe_unused]] static FASTCONV_KERNEL conv2d_backward_input_sum(
    FASTCONV_GRID_CONSTANT const Conv2dBackwardInputSimtParams p) {
  const std::int64_t element = chunked_element();
  if (element >= p.chunks.elements) return;
  const Conv2dGeometry& g = p.geometry;
  float sum = p.mask_bits(element) & 1 ? p.chunks.sum(element) : 0;
  if (sum != sum) {
    const auto pixel = static_cast<std::int32_t>(element / g.ic), row = pixel / g.iw;
    const InputPixel at = {row / g.ih, row % g.ih, pixel % g.iw};
    sum = backward_input_sum_inside(p, at, static_cast<std::int32_t>(element % g.ic));
  }
  p.grad_input[element] = sum;
}

}  // namespace cuda
}  // namespace fastconv
