// Convolution as an implicit matrix product on the tensor cores of sm_90a, for one group.
//
//   rows = output pixels, columns = output channels, depth = (kh, kw, c), all taps of a filter
//
// A block of three warpgroups computes tiles of 128 x columns, one after the other. The first warpgroup is one thread
// in fact: it asks TMA for slabs of 64 channels (32 floats) of one tap, those of the image gathered as the tap sees
// them, zeros where it sees padding. The other two multiply 64 rows each. Slabs go round in a ring; each has two
// barriers: `full` when its bytes have landed, `empty` when both have multiplied it. So the copies of the next tile are
// on their way while this one is stored.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/wgmma_operands.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dWgmmaParams {
  TensorMap input_map, weight_map;
  const T* input;
  const T* weight;
  const T* bias;  // or null
  T* output;
  Conv2dGeometry geometry;
  std::int64_t tiles;
  std::int32_t column_tiles;
  bool relu, in_pieces;  // in_pieces: 16 bytes of an output pixel may be stored at once
};

template <class T, int columns>
struct WgmmaTile {
  static constexpr int kRows = 128, kColumns = columns, kThreads = 3 * kWarpgroup, kStages = 4;
  static constexpr int kRowBytes = kRows * kWgmmaLineBytes, kStageBytes = kRowBytes + columns * kWgmmaLineBytes;
  static constexpr int kDepth = kWgmmaLineBytes / static_cast<int>(sizeof(T));  // channels of a slab
  static constexpr int kSums = columns / 2;
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

template <class T>
FASTCONV_DEVICE void join_words(std::uint32_t& word, float first, float second) {
  word = from_float<T>(first).bits | static_cast<std::uint32_t>(from_float<T>(second).bits) << 16;
}

// A quad of lanes holds a matrix of 4 x 4 words, a row each; afterwards a column each.
FASTCONV_DEVICE void transpose_quad(std::uint32_t (&words)[4]) {
  FASTCONV_UNROLL_ON_GPU
  for (int mask = 1; mask < 4; mask *= 2) {
    const bool upper = (lane() & mask) != 0;
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < 4; ++i) {
      if (i & mask) continue;
      const std::uint32_t got = shuffle_xor(upper ? words[i] : words[i + mask], mask);
      (upper ? words[i] : words[i + mask]) = got;
    }
  }
}

template <class T>
FASTCONV_DEVICE float wgmma_finish(const Conv2dWgmmaParams<T>& p, float sum, std::int32_t channel) {
  if (p.bias && channel < p.geometry.oc) sum += to_float(p.bias[channel]);
  return p.relu && sum <= 0 ? 0 : sum;  // NaN stays NaN
}

// Outputs that are NaN are computed again by the definition: padding was multiplied as zeros. By the thread that stored
// them.
template <class T>
FASTCONV_DEVICE_NOINLINE void wgmma_mend(const Conv2dWgmmaParams<T>& p, std::int32_t row, std::int32_t channel,
                                         int count) {
  for (int i = 0; i < count && channel + i < p.geometry.oc; ++i) {
    T* const to = p.output + static_cast<std::int64_t>(row) * p.geometry.oc + channel + i;
    const float y = to_float(*to);
    if (y != y)
      *to = from_float<T>(
          wgmma_finish(p, conv2d_sum_inside(p.geometry, p.input, p.weight, row, channel + i), channel + i));
  }
}

// Stores the sums of 64 rows. Lanes hold two neighbouring columns of every eight; 16-bit elements are exchanged within
// quads, so that each lane stores 16 bytes of a pixel and four of them 64.
template <class T, int columns>
FASTCONV_DEVICE void wgmma_store(const Conv2dWgmmaParams<T>& p, float (&sums)[columns / 2], std::int32_t first_row,
                                 std::int32_t first_column) {
  constexpr int kAtOnce = sizeof(T) == 2 ? 8 : 2;            // elements that a lane stores
  constexpr int kGroup = 4 * kAtOnce, kEights = kGroup / 8;  // columns that a quad stores
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t row = first_row + warp() % 4 * 16 + lane() / 4;  // and eight further
  const std::int32_t own = first_column + lane() % 4 * 2;             // columns that this lane has sums of
  const std::int32_t stored = first_column + lane() % 4 * kAtOnce;    // that it stores
  bool mend = false;
  FASTCONV_UNROLL_ON_GPU
  for (int group = 0; group < columns / kGroup; ++group) {
    std::uint32_t words[2][4];
    FASTCONV_UNROLL_ON_GPU
    for (int eight = 0; eight < kEights; ++eight) {
      const int at = group * kEights + eight;
      FASTCONV_UNROLL_ON_GPU
      for (int half = 0; half < 2; ++half) {
        const float first = wgmma_finish(p, sums[at * 4 + half * 2], own + at * 8);
        const float second = wgmma_finish(p, sums[at * 4 + half * 2 + 1], own + at * 8 + 1);
        mend = mend || first != first || second != second;
        if constexpr (sizeof(T) == 2)
          join_words<T>(words[half][eight], first, second);
        else
          words[half][0] = detail::bits_of(first), words[half][1] = detail::bits_of(second);
      }
    }
    FASTCONV_UNROLL_ON_GPU
    for (int half = 0; half < 2; ++half) {
      if constexpr (sizeof(T) == 2) transpose_quad(words[half]);
      const std::int32_t channel = stored + group * kGroup;
      if (row + half * 8 >= g.output_pixels || channel >= g.oc) continue;
      T* const to = p.output + static_cast<std::int64_t>(row + half * 8) * g.oc + channel;
      constexpr int kWords = kAtOnce * static_cast<int>(sizeof(T)) / 4;
      if (p.in_pieces) {
        Pack<std::uint32_t, kWords> piece;
        FASTCONV_UNROLL_ON_GPU
        for (int i = 0; i < kWords; ++i) piece.at[i] = words[half][i];
        store(reinterpret_cast<std::uint32_t*>(to), piece);
      } else {
        FASTCONV_UNROLL_ON_GPU
        for (int i = 0; i < kAtOnce; ++i) {
          if (channel + i >= g.oc) continue;
          if constexpr (sizeof(T) == 2)
            to[i] = T{static_cast<std::uint16_t>(words[half][i / 2] >> i % 2 * 16)};
          else
            to[i] = detail::from_bits(words[half][i]);
        }
      }
    }
  }
  if (ballot(mend) == 0) return;  // whoever stores may not be who has seen NaN
  for (int half = 0; half < 2; ++half) {
    if (row + half * 8 >= g.output_pixels) continue;
    for (int group = 0; group < columns / kGroup; ++group)
      wgmma_mend(p, row + half * 8, stored + group * kGroup, kAtOnce);
  }
}

// Starts the products of a slab of which so many steps have channels.
template <class T, int steps, int count>
FASTCONV_DEVICE void wgmma_slab(float (&sums)[count], std::uint64_t a, std::uint64_t b) {
  wgmma_fence();
  FASTCONV_UNROLL_ON_GPU
  for (int step = 0; step < steps; ++step) wgmma<T>(sums, wgmma_advance(a, step), wgmma_advance(b, step));
  wgmma_commit();
}

template <class T, int columns>
FASTCONV_BOUNDED_KERNEL(3 * kWarpgroup, 1)
conv2d_forward_wgmma(FASTCONV_GRID_CONSTANT const Conv2dWgmmaParams<T> p) {
  using Tile = WgmmaTile<T, columns>;
  const Conv2dGeometry& g = p.geometry;
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
      // Tiles that run side by side share their rows of the input: columns are counted first.
      for (std::int64_t tile = block_x(); tile < p.tiles; tile += blocks()) {
        const auto row_tile = static_cast<std::int32_t>(tile / p.column_tiles);
        const std::int32_t first_column = static_cast<std::int32_t>(tile % p.column_tiles) * columns;
        const InputPixel at = input_pixel(g, row_tile * Tile::kRows);
        for (std::int32_t kh = 0; kh < g.kh; ++kh) {
          for (std::int32_t kw = 0; kw < g.kw; ++kw) {
            for (std::int32_t c = 0; c < g.ic; c += Tile::kDepth, place.next()) {
              barrier_wait(empty[place.stage], place.parity ^ 1);
              Barrier& landed = full[place.stage];
              unsigned char* const stage = slabs + place.stage * Tile::kStageBytes;
              barrier_expect(landed, Tile::kStageBytes);
              tma_load_im2col(stage, p.input_map, landed, c, at.w, at.h, at.n, kw * g.dilation_w, kh * g.dilation_h);
              tma_load(stage + Tile::kRowBytes, p.weight_map, landed, c, kh * g.kw + kw, first_column);
            }
          }
        }
      }
    }
  } else {
    registers_increase<Tile::kConsumerRegisters>();
    const std::int32_t own_rows = (warpgroup() - 1) * 64;
    const std::int32_t taps = g.kh * g.kw;
    constexpr int kStep = kWgmmaStepBytes / static_cast<int>(sizeof(T));
    for (std::int64_t tile = block_x(); tile < p.tiles; tile += blocks()) {
      float sums[Tile::kSums] = {};
      Barrier* multiplied = nullptr;  // of the slab before
      for (std::int32_t tap = 0; tap < taps; ++tap) {
        for (std::int32_t c = 0; c < g.ic; c += Tile::kDepth, place.next()) {
          barrier_wait(full[place.stage], place.parity);
          const unsigned char* const stage = slabs + place.stage * Tile::kStageBytes;
          const std::uint64_t a = wgmma_descriptor(stage + own_rows * kWgmmaLineBytes);
          const std::uint64_t b = wgmma_descriptor(stage + Tile::kRowBytes);
          const std::int32_t rest = g.ic - c;  // in a slab that is not full, what follows is zeros
          if (rest > 3 * kStep)
            wgmma_slab<T, 4>(sums, a, b);
          else if (rest > 2 * kStep)
            wgmma_slab<T, 3>(sums, a, b);
          else if (rest > kStep)
            wgmma_slab<T, 2>(sums, a, b);
          else
            wgmma_slab<T, 1>(sums, a, b);
          wgmma_wait<1>(sums);
          if (multiplied && lane() == 0) barrier_arrive(*multiplied);
          multiplied = &empty[place.stage];
        }
      }
      wgmma_wait<0>(sums);
      if (lane() == 0) barrier_arrive(*multiplied);
      const auto row_tile = static_cast<std::int32_t>(tile / p.column_tiles);
      wgmma_store<T, columns>(p, sums, row_tile * Tile::kRows + own_rows,
                              static_cast<std::int32_t>(tile % p.column_tiles) * columns);
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
