// From the sums of a warpgroup to pixels in memory: of a forward pass and of the gradient of an input.
//
// Beside what wgmma_tiles.h asks for, the class Pass has
//
//   Element, kMasked       of the result; whether there may be a mask
//   channels(), in_pieces(), result()    of a pixel; whether 16 bytes of them may be stored at once; where pixels lie
//   pixel(row)             which one a row of the product is, or -1
//   finish(sum, channel)   the last step
//   passes(element)        a bit for each of eight elements from here on: those to keep
//   again(row, channel)    a result from its definition, finished
#pragma once

#include "cuda/kernels/quad.h"
#include "cuda/kernels/wgmma_tiles.h"

namespace fastconv {
namespace cuda {

template <class T>
FASTCONV_DEVICE void join_words(std::uint32_t& word, float first, float second) {
  word = from_float<T>(first).bits | static_cast<std::uint32_t>(from_float<T>(second).bits) << 16;
}

// Results that are NaN are computed again by the definition: padding was multiplied as zeros. By the thread that stored
// them.
template <class Pass>
FASTCONV_DEVICE_NOINLINE void wgmma_mend(const typename Pass::Params& p, std::int64_t tile, std::int32_t row,
                                         std::int32_t channel, int count) {
  using T = typename Pass::Element;
  const Pass pass(p, tile);
  const std::int64_t pixel = pass.pixel(row);
  if (pixel < 0) return;
  for (int i = 0; i < count && channel + i < pass.channels(); ++i) {
    T* const to = pass.result() + pixel * pass.channels() + channel + i;
    const float y = to_float(*to);
    if (y != y) *to = from_float<T>(pass.again(row, channel + i));
  }
}

// Stores the sums of 64 rows from here on. Lanes hold two neighbouring columns of every eight; 16-bit elements are
// exchanged within quads, so that each lane stores 16 bytes of a pixel and four of them 64.
template <class Pass, int count>
FASTCONV_DEVICE void wgmma_store(const Pass& pass, std::int64_t tile, float (&sums)[count], std::int32_t first_row,
                                 std::int32_t first_column) {
  using T = typename Pass::Element;
  constexpr int kAtOnce = sizeof(T) == 2 ? 8 : 2;                     // elements that a lane stores
  constexpr int kGroup = 4 * kAtOnce, kEights = kGroup / 8;           // columns that a quad stores
  const std::int32_t row = first_row + warp() % 4 * 16 + lane() / 4;  // and eight further
  const std::int32_t own = first_column + lane() % 4 * 2;             // columns that this lane has sums of
  const std::int32_t stored = first_column + lane() % 4 * kAtOnce;    // that it stores
  const std::int32_t channels = pass.channels();
  std::int64_t pixels[2];
  FASTCONV_UNROLL_ON_GPU
  for (int half = 0; half < 2; ++half) pixels[half] = pass.pixel(row + half * 8) * channels;
  bool mend = false;
  FASTCONV_UNROLL_ON_GPU
  for (int group = 0; group < 2 * count / kGroup; ++group) {
    std::uint32_t words[2][4];
    FASTCONV_UNROLL_ON_GPU
    for (int eight = 0; eight < kEights; ++eight) {
      const int at = group * kEights + eight;
      FASTCONV_UNROLL_ON_GPU
      for (int half = 0; half < 2; ++half) {
        const float first = pass.finish(sums[at * 4 + half * 2], own + at * 8);
        const float second = pass.finish(sums[at * 4 + half * 2 + 1], own + at * 8 + 1);
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
      if (pixels[half] < 0 || channel >= channels) continue;
      if constexpr (Pass::kMasked) {
        const std::uint32_t passes = pass.passes(pixels[half] + channel);
        FASTCONV_UNROLL_ON_GPU
        for (int i = 0; i < 4; ++i)
          words[half][i] &= (passes >> 2 * i & 1 ? 0xffffu : 0) | (passes >> (2 * i + 1) & 1 ? 0xffff0000u : 0);
      }
      T* const to = pass.result() + pixels[half] + channel;
      constexpr int kWords = kAtOnce * static_cast<int>(sizeof(T)) / 4;
      if (pass.in_pieces()) {
        Pack<std::uint32_t, kWords> piece;
        FASTCONV_UNROLL_ON_GPU
        for (int i = 0; i < kWords; ++i) piece.at[i] = words[half][i];
        store(reinterpret_cast<std::uint32_t*>(to), piece);
      } else {
        FASTCONV_UNROLL_ON_GPU
        for (int i = 0; i < kAtOnce; ++i) {
          if (channel + i >= channels) continue;
          if constexpr (sizeof(T) == 2)
            to[i] = T{static_cast<std::uint16_t>(words[half][i / 2] >> i % 2 * 16)};
          else
            to[i] = detail::from_bits(words[half][i]);
        }
      }
    }
  }
  if (ballot(mend) == 0) return;  // whoever stores may not be who has seen NaN
  FASTCONV_UNROLL_BY(1)
  for (int half = 0; half < 2; ++half) {
    FASTCONV_UNROLL_BY(1)
    for (int group = 0; group < 2 * count / kGroup; ++group)
      wgmma_mend<Pass>(pass.p, tile, row + half * 8, stored + group * kGroup, kAtOnce);
  }
}

}  // namespace cuda
}  // namespace fastconv
