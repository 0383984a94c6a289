// A tile of a matrix product on ordinary float32 arithmetic: what the three passes of convolution have in common.
//
// 256 threads, 4 x 2 warps of 4 x 8, compute rows x columns sums. They walk along the depth in slabs of 8: while one
// slab is multiplied, the copies of the next, or of the next three, are on their way to shared memory. Whatever the
// tile, a sum is added up in the same order: all tiles give the same bits. An operand keeps the order that it has
// in global memory, so that 16 bytes are copied as they are:
//   Inner::depth   8 floats of depth side by side, lines 12 floats apart: eight neighbours touch all 32 banks once;
//   Inner::lines   lines side by side, 8 times; a thread owns up to four neighbours and reads them at once.
#pragma once

#include <cstdint>

#include "cuda/kernels/tile.h"

namespace fastconv {
namespace cuda {

constexpr int kSimtThreads = 256, kSimtDepth = 8;

// The rows or the columns of a tile.
template <int lines, Inner inner>
struct SimtOperand {
  static constexpr int kLines = lines, kPerThread = lines / 16;
  static constexpr Inner kInner = inner;
  static constexpr int kWide = inner == Inner::depth ? 1 : kPerThread < 4 ? kPerThread : 4;
  static constexpr int kPitch = inner == Inner::depth ? 12 : lines;
  static constexpr int kFloats = kPitch * (inner == Inner::depth ? lines : kSimtDepth);

  // From a thread's first line to its i-th, where so many threads of a warp stand side by side.
  FASTCONV_DEVICE static constexpr int line(int i, int threads) { return i / kWide * kWide * threads + i % kWide; }
  FASTCONV_DEVICE static constexpr int offset(int line, int depth) {
    return inner == Inner::depth ? line * kPitch + depth : depth * kPitch + line;
  }
};

// Which line a thread copies half a slab of, where depth is inside, and which half: neighbours have lines of their own,
// since eight of them write 16 bytes each at once, to banks of their own.
FASTCONV_DEVICE int copied_line(int thread) { return thread / 16 * 8 + thread % 8; }
FASTCONV_DEVICE int copied_part(int thread) { return thread / 8 % 2 * 4; }

template <class RowOperand, class ColumnOperand, int stages = 2>
struct SimtTile {
  using Rows = RowOperand;
  using Columns = ColumnOperand;
  static constexpr int kRows = Rows::kLines, kColumns = Columns::kLines;
  static constexpr int kStageFloats = Rows::kFloats + Columns::kFloats;
  static constexpr int kStages = stages;
  static constexpr int kSharedBytes = stages * kStageFloats * static_cast<int>(sizeof(float));
  using Sums = float[Rows::kPerThread][Columns::kPerThread];

  // Stages go round; of two, the one before is the one behind.
  FASTCONV_DEVICE static int before(int stage) {
    return stages == 2 ? kStageFloats - stage : stage > 0 ? stage - kStageFloats : (stages - 1) * kStageFloats;
  }
  FASTCONV_DEVICE static int after(int stage) {
    return stages == 2 ? kStageFloats - stage : stage < (stages - 1) * kStageFloats ? stage + kStageFloats : 0;
  }

  FASTCONV_DEVICE static int row(int i) {
    return warp() / 2 * (kRows / 4) + lane() / 8 * Rows::kWide + Rows::line(i, 4);
  }
  FASTCONV_DEVICE static int column(int j) {
    return warp() % 2 * (kColumns / 2) + lane() % 8 * Columns::kWide + Columns::line(j, 8);
  }
};

// A thread's lines of an operand at one depth.
template <class Operand, int threads>
struct LineFragment {
  float at[Operand::kPerThread];
  FASTCONV_DEVICE explicit LineFragment(const float* from) {
    constexpr int wide = Operand::kWide;
    FASTCONV_UNROLL
    for (int i = 0; i < Operand::kPerThread; i += wide) {
      const auto pack = load<Pack<float, wide>>(from + Operand::line(i, threads));
      FASTCONV_UNROLL
      for (int k = 0; k < wide; ++k) at[i + k] = pack.at[k];
    }
  }
};

// Four of depth at a time where rows have it inside, one at a time where they have not.
template <class Tile>
FASTCONV_DEVICE void multiply_slab(const float* rows, const float* columns, typename Tile::Sums& sums) {
  using Rows = typename Tile::Rows;
  using Columns = typename Tile::Columns;
  if constexpr (Rows::kInner == Inner::lines) {
    static_assert(Columns::kInner == Inner::lines, "not needed so far");
    FASTCONV_UNROLL
    for (int d = 0; d < kSimtDepth; ++d) {
      const LineFragment<Rows, 4> a(rows + d * Rows::kPitch);
      const LineFragment<Columns, 8> b(columns + d * Columns::kPitch);
      FASTCONV_UNROLL
      for (int i = 0; i < Rows::kPerThread; ++i) {
        FASTCONV_UNROLL
        for (int j = 0; j < Columns::kPerThread; ++j) sums[i][j] = multiply_add(a.at[i], b.at[j], sums[i][j]);
      }
    }
  } else {
    FASTCONV_UNROLL_BY(1)
    for (int part = 0; part < kSimtDepth; part += 4) {
      Float4 a[Rows::kPerThread];
      FASTCONV_UNROLL
      for (int i = 0; i < Rows::kPerThread; ++i) a[i] = load<Float4>(rows + Rows::line(i, 4) * Rows::kPitch + part);
      if constexpr (Columns::kInner == Inner::depth) {
        FASTCONV_UNROLL
        for (int j = 0; j < Columns::kPerThread; ++j) {
          const Float4 b = load<Float4>(columns + Columns::line(j, 8) * Columns::kPitch + part);
          FASTCONV_UNROLL
          for (int i = 0; i < Rows::kPerThread; ++i) {
            FASTCONV_UNROLL
            for (int d = 0; d < 4; ++d) sums[i][j] = multiply_add(a[i].at[d], b.at[d], sums[i][j]);
          }
        }
      } else {
        FASTCONV_UNROLL
        for (int d = 0; d < 4; ++d) {
          const LineFragment<Columns, 8> b(columns + (part + d) * Columns::kPitch);
          FASTCONV_UNROLL
          for (int j = 0; j < Columns::kPerThread; ++j) {
            FASTCONV_UNROLL
            for (int i = 0; i < Rows::kPerThread; ++i) sums[i][j] = multiply_add(a[i].at[d], b.at[j], sums[i][j]);
          }
        }
      }
    }
  }
}

template <class Tile>
FASTCONV_DEVICE void set_sums(typename Tile::Sums& sums, float value) {
  FASTCONV_UNROLL
  for (int i = 0; i < Tile::Rows::kPerThread; ++i) {
    FASTCONV_UNROLL
    for (int j = 0; j < Tile::Columns::kPerThread; ++j) sums[i][j] = value;
  }
}

// All slabs of a tile, from one depth to another. loader.copy_slab(stage, depth) starts the copies of the one that
// begins at this depth.
template <class Tile, class Loader>
FASTCONV_DEVICE void multiply_all(const Loader& loader, std::int32_t depth, std::int32_t end,
                                  typename Tile::Sums& sums) {
  constexpr int ahead = Tile::kStages - 1;  // slabs on their way
  float* const stages = shared<float>();
  FASTCONV_UNROLL
  for (int i = 0; i < ahead; ++i) {
    if (i == 0 || depth + i * kSimtDepth < end)
      loader.copy_slab(stages + i * Tile::kStageFloats, depth + i * kSimtDepth);
    cp_async_commit();
  }
  const int own_rows = Tile::Rows::offset(Tile::row(0), 0);
  const int own_columns = Tile::Rows::kFloats + Tile::Columns::offset(Tile::column(0), 0);
  for (int stage = 0; depth < end;) {
    cp_async_wait<ahead - 1>();
    sync();  // everybody's copies of this slab are there, and nobody reads the last one's stage any more
    const int last = Tile::before(stage);
    depth += kSimtDepth;
    const std::int32_t next = depth + (ahead - 1) * kSimtDepth;
    if (next < end) loader.copy_slab(stages + last, next);
    cp_async_commit();
    multiply_slab<Tile>(stages + stage + own_rows, stages + stage + own_columns, sums);
    stage = Tile::after(stage);
  }
}

// finish(row, column, pack) for the sums of a thread, so many side by side as its columns are. Then again(row, column)
// for every sum that is NaN: padding was multiplied as zeros, which is wrong where the other factor is Inf or NaN. At
// that point no sums are alive any more, so that the calls cost no registers. Both must look whether the place exists.
// If `adds`, before(row, column, pack) fills a pack of zeros with what is added first. Two rows of these are read
// before anything is stored: nobody waits for one number after the other then, and there are registers for no more.
template <class Tile, class Before, class Finish, class Again>
FASTCONV_DEVICE void finish_sums(typename Tile::Sums& sums, bool adds, const Before& before, const Finish& finish,
                                 const Again& again) {
  constexpr int wide = Tile::Columns::kWide, columns = Tile::Columns::kPerThread, rows = Tile::Rows::kPerThread;
  constexpr int at_once = rows % 2 == 0 ? 2 : 1;
  static_assert(rows * columns <= 64, "a bit for each");
  std::uint64_t broken = 0;
  FASTCONV_UNROLL
  for (int first = 0; first < rows; first += at_once) {
    if (adds) {
      Pack<float, wide> packs[at_once][columns / wide] = {};
      FASTCONV_UNROLL
      for (int i = 0; i < at_once; ++i) {
        FASTCONV_UNROLL
        for (int j = 0; j < columns; j += wide) before(Tile::row(first + i), Tile::column(j), packs[i][j / wide]);
      }
      FASTCONV_UNROLL
      for (int i = 0; i < at_once; ++i) {
        FASTCONV_UNROLL
        for (int j = 0; j < columns; ++j) sums[first + i][j] += packs[i][j / wide].at[j % wide];
      }
    }
    FASTCONV_UNROLL
    for (int i = first; i < first + at_once; ++i) {
      FASTCONV_UNROLL
      for (int j = 0; j < columns; j += wide) {
        Pack<float, wide> pack;
        FASTCONV_UNROLL
        for (int k = 0; k < wide; ++k) {
          pack.at[k] = sums[i][j + k];
          broken |= static_cast<std::uint64_t>(pack.at[k] != pack.at[k]) << (i * columns + j + k);
        }
        finish(Tile::row(i), Tile::column(j), pack);
      }
    }
  }
  for (int k = 0; broken; ++k, broken >>= 1)
    if (broken & 1) again(Tile::row(k / columns), Tile::column(k % columns));
}

template <class Tile, class Finish, class Again>
FASTCONV_DEVICE void finish_sums(typename Tile::Sums& sums, const Finish& finish, const Again& again) {
  finish_sums<Tile>(sums, false, [](int, int, Pack<float, Tile::Columns::kWide>&) {}, finish, again);
}

}  // namespace cuda
}  // namespace fastconv
