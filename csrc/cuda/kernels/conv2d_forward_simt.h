// Convolution as an implicit matrix product on ordinary float32 arithmetic.
//
//   rows = output pixels, columns = output channels of a group, depth = (kh, kw, c), all taps of a filter
//
// A block of 256 threads computes a tile of rows x columns. It walks along the depth in slabs of 8: while it
// multiplies one slab, the copies of the next are on their way to shared memory. Both operands keep the order of
// global memory, depth innermost, so 16 bytes are copied as they are, with zeros for taps outside the image. Rows in
// shared memory are 12 floats apart: eight neighbours then touch all 32 banks once.
#pragma once

#include "cuda/device.h"
#include "cuda/kernels/conv2d_geometry.h"

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

template <int rows, int columns>
struct SimtTile {
  static_assert(rows == 128 && columns <= 128, "two threads copy a line of each operand");
  static constexpr int kRows = rows, kColumns = columns, kDepth = 8, kPitch = 12, kStages = 2;
  static constexpr int kThreads = 256;                 // 4 x 2 warps of 4 x 8 threads
  static constexpr int kThreadRows = rows / 16;        // a thread's rows are 4 apart,
  static constexpr int kThreadColumns = columns / 16;  // its columns 8
  static constexpr int kStageFloats = (rows + columns) * kPitch;
  static constexpr int kSharedBytes = kStages * kStageFloats * static_cast<int>(sizeof(float));
};

// One output from its definition, taps outside the image left out.
FASTCONV_DEVICE_NOINLINE float conv2d_sum_inside(const Conv2dForwardParams& p, std::int32_t output_pixel,
                                                 std::int32_t channel) {
  const Conv2dGeometry& g = p.geometry;
  const InputPixel at = input_pixel(g, output_pixel);
  const float* weight = p.weight + static_cast<std::int64_t>(channel) * g.kh * g.kw * g.icg;
  float sum = 0;
  for (std::int32_t kh = 0; kh < g.kh; ++kh) {
    for (std::int32_t kw = 0; kw < g.kw; ++kw, weight += g.icg) {
      const std::int32_t h = at.h + kh * g.dilation_h, w = at.w + kw * g.dilation_w;
      if (!inside(g, h, w)) continue;
      const float* pixel =
          p.input + ((static_cast<std::int64_t>(at.n) * g.ih + h) * g.iw + w) * g.ic + channel / g.ocg * g.icg;
      for (std::int32_t c = 0; c < g.icg; ++c) sum = multiply_add(pixel[c], weight[c], sum);
    }
  }
  return sum;
}

// What a thread copies of every slab: four neighbours of depth, of one row of the input tile and of one of the weight
// tile. kVector: how many of them one copy takes; 4 needs channels in fours.
template <class Tile, int kVector>
struct SimtLoader {
  const float* image;   // of this row's pixel, at this group's channels
  const float* filter;  // of this column
  std::int32_t h, w;    // the pixel under tap (0, 0)
  bool has_filter;
  Tap tap;
  std::int32_t depth;  // the same position, as a number
  int to;              // where the copies of the input go in a stage; those of the weight go kRows lines further

  FASTCONV_DEVICE SimtLoader(const Conv2dForwardParams& p, std::int32_t first_row, std::int32_t group,
                             std::int32_t first_column) {
    const Conv2dGeometry& g = p.geometry;
    const int line = thread_x() / 2, part = thread_x() % 2 * 4;
    to = line * Tile::kPitch + part;
    const std::int32_t row = first_row + line, column = first_column + line;
    image = p.input + group * g.icg, h = -(1 << 30), w = 0;  // outside: zeros
    if (row < g.output_pixels) {
      const InputPixel at = input_pixel(g, row);
      image += static_cast<std::int64_t>(at.n) * g.ih * g.iw * g.ic;
      h = at.h, w = at.w;
    }
    has_filter = column < g.ocg;
    filter = p.weight + (has_filter ? (static_cast<std::int64_t>(group) * g.ocg + column) * g.kh * g.kw * g.icg : 0);
    tap = {0, 0, 0}, depth = part;
    tap.advance(g, part);
  }

  FASTCONV_DEVICE void copy_slab(const Conv2dGeometry& g, float* stage) {
    Tap at = tap;
    FASTCONV_UNROLL
    for (int i = 0; i < 4; i += kVector) {
      const std::int32_t ih = h + at.kh * g.dilation_h, iw = w + at.kw * g.dilation_w;
      const bool exists = at.kh < g.kh;  // the last slab may reach beyond the last tap
      const bool reads = exists && inside(g, ih, iw);
      const float* pixel = image + (reads ? (static_cast<std::int64_t>(ih) * g.iw + iw) * g.ic + at.c : 0);
      cp_async<kVector * 4>(stage + to + i, pixel, reads);
      const bool weighs = exists && has_filter;
      if (Tile::kColumns == Tile::kRows || to < Tile::kColumns * Tile::kPitch)
        cp_async<kVector * 4>(stage + Tile::kRows * Tile::kPitch + to + i, filter + (weighs ? depth + i : 0), weighs);
      if constexpr (kVector < 4) at.advance(g, kVector);
    }
    tap.advance(g, Tile::kDepth);
    depth += Tile::kDepth;
  }
};

template <class Tile, int kVector>
FASTCONV_BOUNDED_KERNEL(Tile::kThreads, 2)
conv2d_forward_simt(FASTCONV_GRID_CONSTANT const Conv2dForwardParams p) {
  const Conv2dGeometry& g = p.geometry;
  // Blocks that run side by side share their rows of the input: columns are counted first.
  std::int32_t tile = block_x();
  const std::int32_t first_column = tile % p.column_tiles * Tile::kColumns;
  tile /= p.column_tiles;
  const std::int32_t first_row = tile % p.row_tiles * Tile::kRows, group = tile / p.row_tiles;

  float* const stages = shared<float>();
  SimtLoader<Tile, kVector> loader(p, first_row, group, first_column);
  const int own_row = warp() / 2 * (Tile::kRows / 4) + lane() / 8;
  const int own_column = warp() % 2 * (Tile::kColumns / 2) + lane() % 8;
  float sums[Tile::kThreadRows][Tile::kThreadColumns] = {};

  const std::int32_t slabs = (g.kh * g.kw * g.icg + Tile::kDepth - 1) / Tile::kDepth;
  loader.copy_slab(g, stages);
  cp_async_commit();
  for (std::int32_t slab = 0; slab < slabs; ++slab) {
    cp_async_wait<0>();
    sync();  // everybody's copies of this slab are there, and nobody reads the other stage any more
    if (slab + 1 < slabs) loader.copy_slab(g, stages + (slab + 1) % 2 * Tile::kStageFloats);
    cp_async_commit();

    const float* rows = stages + slab % 2 * Tile::kStageFloats + own_row * Tile::kPitch;
    const float* columns = stages + slab % 2 * Tile::kStageFloats + (Tile::kRows + own_column) * Tile::kPitch;
    FASTCONV_UNROLL
    for (int part = 0; part < Tile::kDepth; part += 4) {
      Float4 a[Tile::kThreadRows];
      FASTCONV_UNROLL
      for (int i = 0; i < Tile::kThreadRows; ++i) a[i] = load<Float4>(rows + i * 4 * Tile::kPitch + part);
      FASTCONV_UNROLL
      for (int j = 0; j < Tile::kThreadColumns; ++j) {
        const Float4 b = load<Float4>(columns + j * 8 * Tile::kPitch + part);
        FASTCONV_UNROLL
        for (int i = 0; i < Tile::kThreadRows; ++i) {
          FASTCONV_UNROLL
          for (int d = 0; d < 4; ++d) sums[i][j] = multiply_add(a[i].at[d], b.at[d], sums[i][j]);
        }
      }
    }
  }

  FASTCONV_UNROLL
  for (int i = 0; i < Tile::kThreadRows; ++i) {
    const std::int32_t row = first_row + own_row + i * 4;
    if (row >= g.output_pixels) continue;
    FASTCONV_UNROLL
    for (int j = 0; j < Tile::kThreadColumns; ++j) {
      const std::int32_t column = first_column + own_column + j * 8;
      if (column >= g.ocg) continue;
      const std::int32_t channel = group * g.ocg + column;
      float y = sums[i][j];
      // Padding was multiplied as zeros. That is wrong for weights that are Inf or NaN, and then the sum is NaN.
      if (y != y) y = conv2d_sum_inside(p, row, channel);
      if (p.bias) y += p.bias[channel];
      if (p.relu) y = y > 0 || y != y ? y : 0;  // NaN stays NaN
      p.output[static_cast<std::int64_t>(row) * g.oc + channel] = y;
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
