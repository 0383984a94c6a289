// The gradient of a convolution's input as an implicit matrix product, phase by phase (conv2d_phase.h).
//
//   rows = input pixels of one phase, columns = input channels of a group, depth = (tap, tap, output channel)
//
// grad_output has depth inside in global memory, the weight has columns inside. All phases are one launch.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/conv2d_phase.h"
#include "cuda/kernels/simt_tile.h"

namespace fastconv {
namespace cuda {

struct Conv2dBackwardInputParams {
  const float* grad_output;
  const float* weight;
  const std::uint32_t* mask;  // or null: a bit for each element of grad_input; zero where it is not set
  float* grad_input;
  std::int64_t mask_first;  // the bit of grad_input[0]
  Conv2dGeometry geometry;
  PhaseAxis h, w;
  std::int32_t images;
  FastDivide by_plane[2][2], by_row[2];  // pixels of phases with most rows and columns, and with one less
  FastDivide by_ocg, by_taps[2];
  std::int32_t column_tiles, row_tiles;  // of the largest phase and one group
};

template <int columns>
using BackwardInputTile = SimtTile<SimtOperand<128, Inner::depth>, SimtOperand<columns, Inner::lines>>;

// What a block works on: a tile of one phase of one group.
template <class Tile>
struct PhaseTile : TileOfGroup<Tile> {
  Phase h, w;
  std::int32_t pixels;
  FastDivide by_plane, by_row;
  bool fewer_taps;  // along w

  FASTCONV_DEVICE PhaseTile(const Conv2dBackwardInputParams& p, std::int32_t block)
      : TileOfGroup<Tile>(block % (p.column_tiles * p.row_tiles), p.column_tiles, p.row_tiles) {
    const Conv2dGeometry& g = p.geometry;
    std::int32_t rest = block / (p.column_tiles * p.row_tiles);
    const std::int32_t groups = g.ic / g.icg;
    this->group = rest % groups, rest /= groups;
    h = phase(p.h, rest / p.w.stride), w = phase(p.w, rest % p.w.stride);
    pixels = p.images * h.pixels * w.pixels;
    const int fewer_h = h.pixels != p.h.most_pixels, fewer_w = w.pixels != p.w.most_pixels;
    by_plane = p.by_plane[fewer_h][fewer_w], by_row = p.by_row[fewer_w];
    fewer_taps = w.taps != p.w.most_taps;
  }

  // The n-th image and the phase's pixel (h, w) of a row of the product.
  FASTCONV_DEVICE InputPixel pixel(std::int32_t row) const {
    const std::int32_t n = by_plane.quotient(row), in_plane = by_plane.remainder(row, n);
    const std::int32_t i = by_row.quotient(in_plane);
    return {n, i, by_row.remainder(in_plane, i)};
  }
};

// One element from its definition, output pixels that do not exist left out.
FASTCONV_DEVICE_NOINLINE float backward_input_sum_inside(const Conv2dBackwardInputParams& p, const InputPixel& at,
                                                         std::int32_t channel) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t group = channel / g.icg;
  float sum = 0;
  for (std::int32_t kh = 0; kh < g.kh; ++kh) {
    for (std::int32_t kw = 0; kw < g.kw; ++kw) {
      const std::int32_t h = at.h + p.h.pad - kh * g.dilation_h, w = at.w + p.w.pad - kw * g.dilation_w;
      if (h < 0 || w < 0 || h % p.h.stride || w % p.w.stride) continue;
      const std::int32_t oh = h / p.h.stride, ow = w / p.w.stride;
      if (oh >= g.oh || ow >= g.ow) continue;
      const float* from = p.grad_output + ((static_cast<std::int64_t>(at.n) * g.oh + oh) * g.ow + ow) * g.oc;
      for (std::int32_t k = group * g.ocg; k < (group + 1) * g.ocg && sum == sum; ++k) {
        const std::int64_t tap = (static_cast<std::int64_t>(k) * g.kh + kh) * g.kw + kw;
        sum = multiply_add(from[k], p.weight[tap * g.icg + channel - group * g.icg], sum);
      }
    }
  }
  return sum;
}

// What a thread copies of every slab: of grad_output four neighbours of depth of one row; of the weight some lines,
// 256 copies apart. kVector: how many elements one copy takes; 4 needs channels in fours on both sides.
template <class Tile, int kVector>
struct BackwardInputLoader {
  const Conv2dBackwardInputParams& p;
  const float* from;    // grad_output at this group's channels
  std::int32_t pixel;   // the output pixel under the phase's first taps: its number,
  const float* filter;  // the phase's first tap of the group's first filter
  std::int32_t h, w;    // and where it lies in its image
  std::int32_t column, depth_end;
  bool fewer_taps;

  static constexpr int kCopiesOfDepth = Tile::kColumns / kVector;
  static_assert(kSimtThreads % kCopiesOfDepth == 0, "a thread copies one column only");

  FASTCONV_DEVICE BackwardInputLoader(const Conv2dBackwardInputParams& params, const PhaseTile<Tile>& tile)
      : p(params), fewer_taps(tile.fewer_taps) {
    const Conv2dGeometry& g = p.geometry;
    const std::int32_t row = tile.first_row + thread_x() / 2;
    from = p.grad_output + tile.group * g.ocg, pixel = 0, h = -(1 << 30), w = 0;  // outside: zeros
    if (row < tile.pixels) {
      const InputPixel at = tile.pixel(row);
      h = tile.h.first_output + at.h, w = tile.w.first_output + at.w;
      pixel = (at.n * g.oh + h) * g.ow + w;
    }
    column = tile.first_column + thread_x() % kCopiesOfDepth * kVector;
    const std::int64_t first_tap =
        (static_cast<std::int64_t>(tile.group) * g.ocg * g.kh + tile.h.first_tap) * g.kw + tile.w.first_tap;
    filter = p.weight + first_tap * g.icg;
    depth_end = tile.h.taps * tile.w.taps * g.ocg;
  }

  FASTCONV_DEVICE void copy_slab(float* stage, std::int32_t depth) const {
    copy_grad_output(stage, depth);
    copy_weight(stage + Tile::Rows::kFloats, depth);
  }

  FASTCONV_DEVICE void copy_grad_output(float* stage, std::int32_t depth) const {
    const Conv2dGeometry& g = p.geometry;
    const int part = thread_x() % 2 * 4, to = Tile::Rows::offset(thread_x() / 2, part);
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
    const Conv2dGeometry& g = p.geometry;
    FASTCONV_UNROLL
    for (int i = 0; i < kCopiesOfDepth * kSimtDepth; i += kSimtThreads) {
      const int copy = thread_x() + i, at_depth = copy / kCopiesOfDepth;
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
conv2d_backward_input_simt(FASTCONV_GRID_CONSTANT const Conv2dBackwardInputParams p) {
  const Conv2dGeometry& g = p.geometry;
  typename Tile::Sums sums = {};
  {
    const PhaseTile<Tile> tile(p, block_x());
    if (tile.first_row >= tile.pixels) return;  // this phase is smaller than the largest
    const BackwardInputLoader<Tile, kVector> loader(p, tile);
    multiply_all<Tile>(loader, 0, loader.depth_end, sums);
  }

  const PhaseTile<Tile> tile(p, block_x_anew());
  const auto pixel = [&](std::int32_t row) {
    const InputPixel at = tile.pixel(row);
    return InputPixel{at.n, tile.h.first_pixel + at.h * p.h.stride, tile.w.first_pixel + at.w * p.w.stride};
  };
  const auto index = [&](const InputPixel& at, std::int32_t column) {
    return ((static_cast<std::int64_t>(at.n) * g.ih + at.h) * g.iw + at.w) * g.ic + tile.group * g.icg + column;
  };
  const auto bits = [&](std::int64_t element) {
    const std::int64_t bit = p.mask_first + element;
    return p.mask ? p.mask[bit / 32] >> (bit % 32) : ~0u;
  };
  constexpr int wide = Tile::Columns::kWide;
  finish_sums<Tile>(
      sums,
      [&](int row_in_tile, int column_in_tile, Pack<float, wide> dx) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= tile.pixels || column >= g.icg) return;
        const std::int64_t first = index(pixel(row), column);
        if constexpr (kVector == wide) {  // and so all of them exist, and have their bits in one word
          const std::uint32_t passes = bits(first);
          FASTCONV_UNROLL
          for (int k = 0; k < wide; ++k) dx.at[k] = passes >> k & 1 ? dx.at[k] : 0;
          store(p.grad_input + first, dx);
        } else {
          FASTCONV_UNROLL
          for (int k = 0; k < wide; ++k)
            if (column + k < g.icg) p.grad_input[first + k] = bits(first + k) & 1 ? dx.at[k] : 0;
        }
      },
      [&](int row_in_tile, int column_in_tile) {
        const std::int32_t row = tile.first_row + row_in_tile, column = tile.first_column + column_in_tile;
        if (row >= tile.pixels || column >= g.icg) return;
        const InputPixel at = pixel(row);
        const std::int64_t element = index(at, column);
        if (bits(element) & 1) p.grad_input[element] = backward_input_sum_inside(p, at, tile.group * g.icg + column);
      });
}

}  // namespace cuda
}  // namespace fastconv
