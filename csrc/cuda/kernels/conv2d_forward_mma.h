// Convolution as an implicit matrix product on tensor cores (sm_75 and newer; mma_math.h has the arithmetic).
//
//   rows = output pixels, columns = output channels of a group, depth = (kh, kw, c), all taps of a filter
//
// A block of 8 warps computes a tile of 128 x columns, a warp 32 columns of it. It walks along the depth in slabs of
// 128 bytes (32 floats, 64 halves); the copies of the next slabs are on their way to shared memory while it multiplies.
// A line of a slab is 8 pieces of 16 bytes. Piece i of line r lies at place i ^ (r % 8), so that 8 lines read side by
// side, which is what load_matrices does, touch every bank once, as do the copies.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/mma_math.h"

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
  std::int32_t stages;  // 2 or 3 slabs in shared memory
  bool relu, in_pairs;  // in_pairs: two neighbouring outputs may be stored at once
};

template <int columns>
struct MmaTile {
  static_assert(columns == 32 || columns == 64 || columns == 128, "whole warps side by side, 8 in all");
  static constexpr int kRows = 128, kColumns = columns, kThreads = 256;
  static constexpr int kLineBytes = 128, kPieces = kLineBytes / 16;
  static constexpr int kLinesAtOnce = kThreads / kPieces;  // that all threads copy together
  static constexpr int kWarpsAcross = columns / 32, kDown = columns / 32, kAcross = 4;  // a warp's 16 x 8 products
  static constexpr int kWarpRows = 16 * kDown, kWarpColumns = 8 * kAcross;
  static constexpr int kStageBytes = (kRows + columns) * kLineBytes;
};

// Where a piece of a line lies in a slab, in bytes.
FASTCONV_DEVICE int place_of(int line, int piece) { return line * 128 + (piece ^ line % 8) * 16; }

// What a thread copies of every slab: the same piece of every 32nd line. kBytes: of one copy; 16 needs channels, and
// addresses, in whole pieces, otherwise it is one element.
template <class T, class Tile, int kBytes>
struct MmaLoader {
  static constexpr int kElements = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRowLines = Tile::kRows / Tile::kLinesAtOnce, kColumnLines = Tile::kColumns / Tile::kLinesAtOnce;

  const T* input;  // at this group's channels
  const T* weight;
  std::int64_t pixel[kRowLines];  // of each row, under tap (0, 0)
  std::int32_t h[kRowLines], w[kRowLines];
  std::int64_t filter;                    // of the first of the columns
  std::int32_t filter_elements, filters;  // of one filter; how many of the columns exist
  Tap tap;
  std::int32_t depth;  // the same position, as a number
  int to;              // where the first piece goes in a stage; the others follow 32 lines apart

  FASTCONV_DEVICE MmaLoader(const Conv2dMmaParams<T>& p, std::int32_t first_row, std::int32_t group,
                            std::int32_t first_column) {
    const Conv2dGeometry& g = p.geometry;
    const int line = thread_x() / Tile::kPieces, piece = thread_x() % Tile::kPieces;
    to = place_of(line, piece);
    input = p.input + group * g.icg, weight = p.weight;
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < kRowLines; ++i) {
      const std::int32_t row = first_row + line + i * Tile::kLinesAtOnce;
      pixel[i] = 0, h[i] = -(1 << 30), w[i] = 0;  // outside: zeros
      if (row < g.output_pixels) {
        const InputPixel at = input_pixel(g, row);
        pixel[i] = ((static_cast<std::int64_t>(at.n) * g.ih + at.h) * g.iw + at.w) * g.ic;
        h[i] = at.h, w[i] = at.w;
      }
    }
    const std::int32_t column = first_column + line;
    filter_elements = g.kh * g.kw * g.icg;
    filter = (static_cast<std::int64_t>(group) * g.ocg + column) * filter_elements;
    filters = column < g.ocg ? (g.ocg - column + Tile::kLinesAtOnce - 1) / Tile::kLinesAtOnce : 0;
    depth = piece * kElements;
    tap = {0, 0, 0};
    tap.advance(g, depth);
  }

  // One piece, element by element. What is narrower than the narrowest asynchronous copy is stored at once.
  template <class Read>
  static FASTCONV_DEVICE void copy_elements(unsigned char* piece, const T* from, const Read& read) {
    if constexpr (sizeof(T) >= 4) {
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < kElements; ++e) {
        const std::int64_t at = read(e);
        cp_async<sizeof(T)>(piece + e * sizeof(T), from + (at < 0 ? 0 : at), at >= 0);
      }
    } else {
      Pack<T, kElements> elements;
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < kElements; ++e) {
        const std::int64_t at = read(e);
        elements.at[e] = at < 0 ? T{} : from[at];
      }
      store(piece, elements);
    }
  }

  FASTCONV_DEVICE void copy_slab(const Conv2dGeometry& g, unsigned char* stage) {
    unsigned char* const rows = stage + to;
    unsigned char* const columns = rows + Tile::kRows * Tile::kLineBytes;
    constexpr int kApart = Tile::kLinesAtOnce * Tile::kLineBytes;
    if constexpr (kBytes == 16) {
      const bool exists = tap.kh < g.kh;  // the last slab may reach beyond the last tap
      const std::int32_t down = tap.kh * g.dilation_h, right = tap.kw * g.dilation_w;
      const std::int64_t at_tap = (static_cast<std::int64_t>(down) * g.iw + right) * g.ic + tap.c;
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < kRowLines; ++i) {
        const bool reads = exists && inside(g, h[i] + down, w[i] + right);
        cp_async<16>(rows + i * kApart, input + (reads ? pixel[i] + at_tap : 0), reads);
      }
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < kColumnLines; ++i) {
        const bool reads = exists && i < filters;
        const std::int64_t at = filter + static_cast<std::int64_t>(i) * Tile::kLinesAtOnce * filter_elements + depth;
        cp_async<16>(columns + i * kApart, weight + (reads ? at : 0), reads);
      }
    } else {
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < kRowLines; ++i) {
        Tap at = tap;
        copy_elements(rows + i * kApart, input, [&](int) -> std::int64_t {
          const std::int32_t down = at.kh * g.dilation_h, right = at.kw * g.dilation_w;
          const bool reads = at.kh < g.kh && inside(g, h[i] + down, w[i] + right);
          const std::int64_t from = pixel[i] + (static_cast<std::int64_t>(down) * g.iw + right) * g.ic + at.c;
          at.advance(g, 1);
          return reads ? from : -1;
        });
      }
      for (int i = 0; i < kColumnLines; ++i) {
        const std::int64_t first = filter + static_cast<std::int64_t>(i) * Tile::kLinesAtOnce * filter_elements + depth;
        copy_elements(columns + i * kApart, weight, [&](int e) -> std::int64_t {
          return i < filters && depth + e < filter_elements ? first + e : -1;
        });
      }
    }
    constexpr int kDepth = Tile::kLineBytes / static_cast<int>(sizeof(T));
    tap.advance(g, kDepth);
    depth += kDepth;
  }
};

template <class T>
FASTCONV_DEVICE float conv2d_finish(const Conv2dMmaParams<T>& p, float sum, std::int32_t row, std::int32_t channel) {
  if (sum != sum) sum = conv2d_sum_inside(p.geometry, p.input, p.weight, row, channel);
  if (p.bias) sum += to_float(p.bias[channel]);
  return p.relu && sum <= 0 ? 0 : sum;  // NaN stays NaN
}

template <class Math, class Tile, int kBytes>
FASTCONV_BOUNDED_KERNEL(Tile::kThreads, Tile::kColumns == 128 ? 1 : 2)
conv2d_forward_mma(FASTCONV_GRID_CONSTANT const Conv2dMmaParams<typename Math::Element> p) {
  if constexpr (kCompiledFor < Math::kNeeds) return no_such_instruction();  // nothing launches it there
  using T = typename Math::Element;
  const Conv2dGeometry& g = p.geometry;
  // Blocks that run side by side share their rows of the input: columns are counted first.
  std::int32_t tile = block_x();
  const std::int32_t first_column = tile % p.column_tiles * Tile::kColumns;
  tile /= p.column_tiles;
  const std::int32_t first_row = tile % p.row_tiles * Tile::kRows, group = tile / p.row_tiles;

  unsigned char* const shared_bytes = shared<unsigned char>();
  unsigned char* const last_stage = shared_bytes + (p.stages - 1) * Tile::kStageBytes;
  MmaLoader<T, Tile, kBytes> loader(p, first_row, group, first_column);
  const int warp_row = warp() / Tile::kWarpsAcross * Tile::kWarpRows;
  const int warp_column = warp() % Tile::kWarpsAcross * Tile::kWarpColumns;
  // The lines whose addresses this lane gives to load_matrices: 16 rows by 2 pieces; 2 x 8 columns by 2 pieces.
  const int own_row = warp_row + lane() % 16, row_piece = lane() / 16;
  const int own_column = Tile::kRows + warp_column + lane() / 16 * 8 + lane() % 8, column_piece = lane() / 8 % 2;
  float sums[Tile::kDown][Tile::kAcross][4] = {};

  constexpr int kDepth = Tile::kLineBytes / static_cast<int>(sizeof(T));
  const std::int32_t slabs = (g.kh * g.kw * g.icg + kDepth - 1) / kDepth;
  unsigned char *reading = shared_bytes, *writing = shared_bytes;
  for (std::int32_t ahead = 0; ahead < p.stages - 1; ++ahead, writing += Tile::kStageBytes) {
    if (ahead < slabs) loader.copy_slab(g, writing);
    cp_async_commit();
  }
  for (std::int32_t slab = 0; slab < slabs; ++slab) {
    if (p.stages == 2)
      cp_async_wait<0>();
    else
      cp_async_wait<1>();
    sync();  // everybody's copies of this slab are there, and nobody reads the stage any more that is written next
    if (slab + p.stages - 1 < slabs) loader.copy_slab(g, writing);
    cp_async_commit();
    writing = writing == last_stage ? shared_bytes : writing + Tile::kStageBytes;

    FASTCONV_UNROLL_BY(Math::kStepsAtOnce)
    for (int piece = 0; piece < Tile::kPieces; piece += 2) {
      std::uint32_t a[Tile::kDown][4], b[Tile::kAcross][2];
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < Tile::kAcross; j += 2) {
        std::uint32_t m[4];
        load_matrices(m, reading + place_of(own_column + j * 8, piece + column_piece));
        b[j][0] = m[0], b[j][1] = m[1], b[j + 1][0] = m[2], b[j + 1][1] = m[3];
      }
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < Tile::kDown; ++i)
        load_matrices(a[i], reading + place_of(own_row + i * 16, piece + row_piece));
      Math::multiply(sums, a, b);
    }
    reading = reading == last_stage ? shared_bytes : reading + Tile::kStageBytes;
  }

  FASTCONV_UNROLL_ON_GPU
  for (int i = 0; i < Tile::kDown; ++i) {
    FASTCONV_UNROLL_ON_GPU
    for (int half = 0; half < 2; ++half) {
      const std::int32_t row = first_row + warp_row + i * 16 + half * 8 + lane() / 4;
      if (row >= g.output_pixels) continue;
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < Tile::kAcross; ++j) {
        const std::int32_t column = first_column + warp_column + j * 8 + lane() % 4 * 2;
        const std::int32_t channel = group * g.ocg + column;
        if (column >= g.ocg) continue;
        T* const to = p.output + static_cast<std::int64_t>(row) * g.oc + channel;
        const T first = from_float<T>(conv2d_finish(p, sums[i][j][half * 2], row, channel));
        if (column + 1 >= g.ocg) {
          *to = first;
          continue;
        }
        const T second = from_float<T>(conv2d_finish(p, sums[i][j][half * 2 + 1], row, channel + 1));
        if (p.in_pairs)
          store(to, Pack<T, 2>{{first, second}});
        else
          to[0] = first, to[1] = second;
      }
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
