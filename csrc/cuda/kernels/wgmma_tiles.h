// Matrix products on the tensor cores of sm_90a, tile by tile: what all passes of a convolution share.
//
// A block of three warpgroups computes one tile after the other. The first warpgroup is one thread in fact: it asks TMA
// for slabs, 128 bytes of the depth of all rows and columns. The other two multiply: 64 rows each, or where a tile has
// but 64, half the columns each. Slabs go round in a ring; each has two barriers: `full` when its bytes have landed,
// `empty` when both have multiplied it. So the copies of the next tile are on their way while this one is stored.
//
// What differs between the passes is a class Pass, made for every tile by both sides:
//
//   Tile, Params          a WgmmaTile; what the kernel is given, with `tiles`, how many there are
//   Pass(p, tile)
//   each_slab(f)          f(slab, rest) for all slabs in their order; rest: what is left of the depth that a slab cuts
//   source()              copy(slab, stage, barrier): says what the barrier has to expect, and asks for it
//   store(sums, row, column)    those of the warpgroup, which begin there in the tile
#pragma once

#include "cuda/kernels/wgmma_operands.h"

namespace fastconv {
namespace cuda {

template <class T, int rows, int columns, bool turns_rows = false, bool turns_columns = false>
struct WgmmaTile {
  static_assert(rows == 128 || rows == 64, "64 rows, or half the columns, for each of two warpgroups");
  using Element = T;
  static constexpr bool kTurnsRows = turns_rows, kTurnsColumns = turns_columns;
  static constexpr int kRows = rows, kColumns = columns, kThreads = 3 * kWarpgroup, kStages = 4;
  static constexpr int kRowBytes = rows * kWgmmaLineBytes, kStageBytes = kRowBytes + columns * kWgmmaLineBytes;
  static constexpr int kDepth = kWgmmaLineBytes / static_cast<int>(sizeof(T));  // of a slab
  static constexpr int kOwnColumns = rows == 128 ? columns : columns / 2;       // of a warpgroup
  static constexpr int kSums = kOwnColumns / 2;
  static constexpr int kConsumerWarps = 8;
  // What is there in registers is shared out anew: 65536 among 384 threads are 168 each.
  static constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
  static_assert(kProducerRegisters + 2 * kConsumerRegisters <= 3 * 168, "else the second warpgroup waits for ever");
  static constexpr int kSharedBytes =
      kWgmmaAlignment + kStages * kStageBytes + 2 * kStages * static_cast<int>(sizeof(Barrier));
};

// A place in the ring, and how often round, modulo 2.
template <int stages>
struct RingPlace {
  int stage = 0;
  unsigned parity = 0;

  FASTCONV_DEVICE void next() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

// Starts the products of a slab of which so many steps have depth.
template <class Tile, int steps>
FASTCONV_DEVICE void wgmma_slab(float (&sums)[Tile::kSums], std::uint64_t a, std::uint64_t b) {
  constexpr bool kA = Tile::kTurnsRows, kB = Tile::kTurnsColumns;
  wgmma_fence();
  FASTCONV_UNROLL_ON_GPU
  for (int step = 0; step < steps; ++step)
    wgmma<typename Tile::Element, kA, kB>(sums, wgmma_advance<kA>(a, step), wgmma_advance<kB>(b, step));
  wgmma_commit();
}

template <class Pass>
FASTCONV_DEVICE void wgmma_tiles(const typename Pass::Params& p) {
  using Tile = typename Pass::Tile;
  unsigned char* const slabs = wgmma_shared();
  auto* const full = reinterpret_cast<Barrier*>(slabs + Tile::kStages * Tile::kStageBytes);
  Barrier* const empty = full + Tile::kStages;
  if (thread_x() == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage)
      barrier_init(full[stage], 1), barrier_init(empty[stage], Tile::kConsumerWarps);
    barrier_init_done();
  }
  sync();

  RingPlace<Tile::kStages> place;
  if (warpgroup() == 0) {
    registers_decrease<Tile::kProducerRegisters>();
    if (thread_x() == 0) {
      for (std::int64_t tile = block_x(); tile < p.tiles; tile += blocks()) {
        const Pass pass(p, tile);
        const auto copy = pass.source();
        pass.each_slab([&](const auto& slab, std::int32_t) {
          barrier_wait(empty[place.stage], place.parity ^ 1);
          copy(slab, slabs + place.stage * Tile::kStageBytes, full[place.stage]);
          place.next();
        });
      }
    }
  } else {
    registers_increase<Tile::kConsumerRegisters>();
    const std::int32_t other = warpgroup() - 1;
    const std::int32_t own_row = Tile::kRows == 128 ? other * 64 : 0;
    const std::int32_t own_column = Tile::kRows == 128 ? 0 : other * Tile::kOwnColumns;
    constexpr int kStep = kWgmmaStepBytes / static_cast<int>(sizeof(typename Tile::Element));
    for (std::int64_t tile = block_x(); tile < p.tiles; tile += blocks()) {
      const Pass pass(p, tile);
      float sums[Tile::kSums] = {};
      Barrier* multiplied = nullptr;  // of the slab before
      pass.each_slab([&](const auto&, std::int32_t rest) {
        barrier_wait(full[place.stage], place.parity);
        const unsigned char* const stage = slabs + place.stage * Tile::kStageBytes;
        const std::uint64_t a = wgmma_descriptor<Tile::kTurnsRows>(stage + own_row * kWgmmaLineBytes);
        const std::uint64_t b =
            wgmma_descriptor<Tile::kTurnsColumns>(stage + Tile::kRowBytes + own_column * kWgmmaLineBytes);
        if (rest > 3 * kStep)  // in a slab that is not full, what follows is zeros
          wgmma_slab<Tile, 4>(sums, a, b);
        else if (rest > 2 * kStep)
          wgmma_slab<Tile, 3>(sums, a, b);
        else if (rest > kStep)
          wgmma_slab<Tile, 2>(sums, a, b);
        else
          wgmma_slab<Tile, 1>(sums, a, b);
        wgmma_wait<1>(sums);
        if (multiplied && lane() == 0) barrier_arrive(*multiplied);
        multiplied = &empty[place.stage];
        place.next();
      });
      wgmma_wait<0>(sums);
      if (multiplied && lane() == 0) barrier_arrive(*multiplied);
      pass.store(sums, own_row, own_column);
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
