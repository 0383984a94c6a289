// A tile of a matrix product on tensor cores: what the three passes of convolution have in common (mma_math.h has the
// arithmetic).
//
// A block of 8 warps computes rows x columns sums, a warp 32 columns of some rows. It walks along the depth in slabs of
// 128 bytes (32 floats, 64 halves); the copies of the next slabs are on their way to shared memory while it multiplies.
// Everything goes in pieces of 16 bytes, which keep the order that they have in global memory:
//   Inner::depth   a line of the operand is 8 pieces of depth. Piece i of line r lies at place i ^ (r % 8), so that 8
//                  lines read side by side, which is what load_matrices does, touch every bank once, as do the copies;
//   Inner::lines   all lines side by side at one depth, and the next depth behind. Places are exchanged such that 8
//                  depths of 16-bit elements (load_matrices_turned), or 4 depths by 8 floats, touch every bank once.
#pragma once

#include <type_traits>

#include "cuda/kernels/mma_math.h"
#include "cuda/kernels/quad.h"
#include "cuda/kernels/tile.h"

namespace fastconv {
namespace cuda {

constexpr int kMmaThreads = 256, kPieceBytes = 16, kSlabBytes = 128;  // of depth
template <class T>
constexpr int kPieceElements = kPieceBytes / static_cast<int>(sizeof(T));
template <class T>
constexpr int kSlabDepth = kSlabBytes / static_cast<int>(sizeof(T));

// The rows or the columns of a tile.
template <class T, int lines, Inner inner>
struct MmaOperand {
  using Element = T;
  static constexpr int kLines = lines;
  static constexpr Inner kInner = inner;
  static constexpr int kBytes = lines * kSlabBytes;
  // Pieces that are neighbours in memory, of a line or of a depth. The threads copy so many of these at once, a thread
  // so many pieces.
  static constexpr int kPieces = (inner == Inner::depth ? kSlabDepth<T> : lines) / kPieceElements<T>;
  static constexpr int kAtOnce = kMmaThreads / kPieces, kCopies = kBytes / kPieceBytes / kMmaThreads;
  static constexpr int kApart = kMmaThreads * kPieceBytes;  // in the slab, from one piece of a thread to its next

  // Where a piece lies in a slab, in bytes; `line` is a depth if lines lie inside.
  FASTCONV_DEVICE static int place(int line, int piece) {
    int exchanged = line;
    if (inner == Inner::lines) exchanged = sizeof(T) == 4 ? line % 4 * 2 : kPieces == 4 ? line / 2 % 4 : line;
    return (line * kPieces + (piece ^ exchanged % 8)) * kPieceBytes;
  }
};

template <class RowOperand, class ColumnOperand>
struct MmaTile {
  using Rows = RowOperand;
  using Columns = ColumnOperand;
  using Element = typename Rows::Element;
  static constexpr int kRows = Rows::kLines, kColumns = Columns::kLines;
  static constexpr int kWarpsAcross = kColumns / 32, kWarpsDown = kMmaThreads / 32 / kWarpsAcross;
  static constexpr int kDown = kRows / kWarpsDown / 16, kAcross = 4;  // a warp's products of 16 x 8
  static constexpr int kStageBytes = Rows::kBytes + Columns::kBytes;
  static constexpr int kBlocks = kDown == 4 ? 1 : 2;  // side by side on an SM
  static_assert(kDown * 16 * kWarpsDown == kRows && kWarpsAcross * 32 == kColumns, "whole products");
  using Sums = float[kDown][kAcross][4];

  // Floats with lines inside are not loaded as matrices: a lane loads neighbours in one access, up to 4 rows or
  // columns, and gives them to as many products.
  static constexpr bool kWideRows = sizeof(Element) == 4 && Rows::kInner == Inner::lines;
  static constexpr bool kWideColumns = sizeof(Element) == 4 && Columns::kInner == Inner::lines;
  static constexpr int kNeighbours = kDown == 1 ? 2 : 4;          // rows
  static constexpr int kSideBySide = kWideColumns ? kAcross : 2;  // columns of a thread's sums that are neighbours
  static constexpr int kStored = sizeof(Element) == 2 ? 2 * kAcross : kSideBySide;  // after an exchange

  FASTCONV_DEVICE static int warp_row() { return warp() / kWarpsAcross * (16 * kDown); }
  FASTCONV_DEVICE static int warp_column() { return warp() % kWarpsAcross * 32; }

  // Where in the tile this lane's sums[i][][half * 2 + ...] are.
  FASTCONV_DEVICE static int row(int i, int half) {
    const int r = lane() / 4, n = 2 * i + half;
    if (kWideRows) return warp_row() + (n / kNeighbours * 8 + r) * kNeighbours + n % kNeighbours;
    return warp_row() + n * 8 + r;
  }

  FASTCONV_DEVICE static void load_rows(std::uint32_t (&a)[kDown][4], const unsigned char* slab, int step) {
    if constexpr (Rows::kInner == Inner::depth) {
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < kDown; ++i)
        load_matrices(a[i], slab + Rows::place(warp_row() + i * 16 + lane() % 16, step * 2 + lane() / 16));
    } else if constexpr (!kWideRows) {
      const int depth = step * 16 + lane() / 16 * 8 + lane() % 8;
      FASTCONV_UNROLL_ON_GPU
      for (int i = 0; i < kDown; ++i)
        load_matrices_turned(a[i], slab + Rows::place(depth, warp_row() / 8 + i * 2 + lane() / 8 % 2));
    } else {
      FASTCONV_UNROLL_ON_GPU
      for (int second = 0; second < 2; ++second) {
        FASTCONV_UNROLL_ON_GPU
        for (int n = 0; n < 2 * kDown; n += kNeighbours) {
          const auto found = load_lines<Rows, kNeighbours>(slab, step * 8 + second * 4, warp_row() + n * 8);
          FASTCONV_UNROLL_ON_GPU
          for (int k = 0; k < kNeighbours; ++k) a[(n + k) / 2][(n + k) % 2 + second * 2] = found.at[k];
        }
      }
    }
  }

  FASTCONV_DEVICE static void load_columns(std::uint32_t (&b)[kAcross][2], const unsigned char* slab, int step) {
    if constexpr (kWideColumns) {
      FASTCONV_UNROLL_ON_GPU
      for (int second = 0; second < 2; ++second) {
        const auto found = load_lines<Columns, kAcross>(slab, step * 8 + second * 4, warp_column());
        FASTCONV_UNROLL_ON_GPU
        for (int j = 0; j < kAcross; ++j) b[j][second] = found.at[j];
      }
    } else {
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < kAcross; j += 2) {  // 16 columns by the depth of a step
        std::uint32_t m[4];
        if constexpr (Columns::kInner == Inner::depth)
          load_matrices(m, slab + Columns::place(warp_column() + j * 8 + lane() / 16 * 8 + lane() % 8,
                                                 step * 2 + lane() / 8 % 2));
        else
          load_matrices_turned(m, slab + Columns::place(step * 16 + lane() / 8 % 2 * 8 + lane() % 8,
                                                        warp_column() / 8 + j + lane() / 16));
        b[j][0] = m[0], b[j][1] = m[1], b[j + 1][0] = m[2], b[j + 1][1] = m[3];
      }
    }
  }

 private:
  // The n lines from `first` on that are this lane's, at its depth.
  template <class Operand, int n>
  static FASTCONV_DEVICE Pack<std::uint32_t, n> load_lines(const unsigned char* slab, int depth, int first) {
    const int line = first + lane() / 4 * n;
    const unsigned char* const from = slab + Operand::place(depth + lane() % 4, line / 4) + line % 4 * 4;
    return load<Pack<std::uint32_t, n>>(reinterpret_cast<const std::uint32_t*>(from));
  }
};

template <class T>
FASTCONV_DEVICE std::int32_t slabs_of(std::int32_t depth) {
  return (depth + kSlabDepth<T> - 1) / kSlabDepth<T>;
}

// All slabs of a tile. loader.copy_slab(stage) starts the copies of the next one, rows first and columns behind.
template <class Math, class Tile, class Loader>
FASTCONV_DEVICE void multiply_slabs(Loader& loader, std::int32_t slabs, std::int32_t stages,
                                    typename Tile::Sums& sums) {
  unsigned char* const first_stage = shared<unsigned char>();
  unsigned char* const last_stage = first_stage + (stages - 1) * Tile::kStageBytes;
  unsigned char *reading = first_stage, *writing = first_stage;
  for (std::int32_t ahead = 0; ahead < stages - 1; ++ahead, writing += Tile::kStageBytes) {
    if (ahead < slabs) loader.copy_slab(writing);
    cp_async_commit();
  }
  for (std::int32_t slab = 0; slab < slabs; ++slab) {
    if (stages == 2)
      cp_async_wait<0>();
    else
      cp_async_wait<1>();
    sync();  // everybody's copies of this slab are there, and nobody reads the stage any more that is written next
    if (slab + stages - 1 < slabs) loader.copy_slab(writing);
    cp_async_commit();
    writing = writing == last_stage ? first_stage : writing + Tile::kStageBytes;

    FASTCONV_UNROLL_BY(Math::kStepsAtOnce)
    for (int step = 0; step < kSlabBytes / 32; ++step) {
      std::uint32_t a[Tile::kDown][4], b[Tile::kAcross][2];
      Tile::load_columns(b, reading + Tile::Rows::kBytes, step);
      Tile::load_rows(a, reading, step);
      Math::multiply(sums, a, b);
    }
    reading = reading == last_stage ? first_stage : reading + Tile::kStageBytes;
  }
}

// finish(row, column, pack) for the sums of a thread, so many side by side as are neighbours. It must look whether the
// place exists.
template <class Tile, class Finish>
FASTCONV_DEVICE void finish_sums(const typename Tile::Sums& sums, const Finish& finish) {
  constexpr int wide = Tile::kSideBySide;
  const int two = Tile::warp_column() + lane() % 4 * 2;  // columns of each product of 16 x 8
  FASTCONV_UNROLL_ON_GPU
  for (int i = 0; i < Tile::kDown; ++i) {
    FASTCONV_UNROLL_ON_GPU
    for (int half = 0; half < 2; ++half) {
      const int row = Tile::row(i, half);
      FASTCONV_UNROLL_ON_GPU
      for (int n = 0; n < 2 * Tile::kAcross / wide; ++n) {
        Pack<float, wide> pack;
        FASTCONV_UNROLL_ON_GPU
        for (int k = 0; k < wide; ++k)
          pack.at[k] = Tile::kWideColumns ? sums[i][k][half * 2 + n] : sums[i][n][half * 2 + k];
        finish(row, Tile::kWideColumns ? Tile::warp_column() + (lane() % 4 * 2 + n) * wide : two + n * 8, pack);
      }
    }
  }
}

// The same for results of the type of the operands: lanes first exchange what makes a store of a warp fill its sectors
// of 32 bytes, and so have Tile::kStored columns side by side. All lanes of a warp must come.
template <class Tile, class Finish>
FASTCONV_DEVICE void finish_stores(const typename Tile::Sums& sums, const Finish& finish) {
  constexpr int wide = Tile::kStored;
  if constexpr (wide == Tile::kSideBySide && !Tile::kWideColumns) {
    finish_sums<Tile>(sums, finish);
  } else {
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < Tile::kDown; ++i) {
      FASTCONV_UNROLL_ON_GPU
      for (int half = 0; half < 2; ++half) {
        const int row = Tile::row(i, half), four = lane() % 4;
        if constexpr (Tile::kWideColumns) {
          Pack<float, wide> packs[2];
          FASTCONV_UNROLL_ON_GPU
          for (int n = 0; n < 2; ++n) {
            FASTCONV_UNROLL_ON_GPU
            for (int k = 0; k < wide; ++k) packs[n].at[k] = sums[i][k][half * 2 + n];
          }
          transpose_pair(packs);
          FASTCONV_UNROLL_ON_GPU
          for (int n = 0; n < 2; ++n)
            finish(row, Tile::warp_column() + (four / 2 * 4 + n * 2 + four % 2) * wide, packs[n]);
        } else {
          Pack<float, wide> pack;
          FASTCONV_UNROLL_ON_GPU
          for (int k = 0; k < 2; ++k) {
            float words[4];
            FASTCONV_UNROLL_ON_GPU
            for (int j = 0; j < 4; ++j) words[j] = sums[i][j][half * 2 + k];
            transpose_quad(words);
            FASTCONV_UNROLL_ON_GPU
            for (int j = 0; j < 4; ++j) pack.at[j * 2 + k] = words[j];
          }
          finish(row, Tile::warp_column() + four * wide, pack);
        }
      }
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
