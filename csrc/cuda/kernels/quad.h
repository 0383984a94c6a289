// Exchanges between the four lanes that hold the same rows of a product's sums.
#pragma once

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

// A quad of lanes holds a matrix of 4 x 4 words, a row each; afterwards a column each.
template <class Word>
FASTCONV_DEVICE void transpose_quad(Word (&words)[4]) {
  FASTCONV_UNROLL_ON_GPU
  for (int mask = 1; mask < 4; mask *= 2) {
    const bool upper = (lane() & mask) != 0;
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < 4; ++i) {
      if (i & mask) continue;
      const Word got = shuffle_xor(upper ? words[i] : words[i + mask], mask);
      (upper ? words[i] : words[i + mask]) = got;
    }
  }
}

// Two neighbours hold a matrix of 2 x 2 packs, a row each; afterwards a column each.
template <int n>
FASTCONV_DEVICE void transpose_pair(Pack<float, n> (&packs)[2]) {
  const bool upper = lane() % 2 != 0;
  FASTCONV_UNROLL_ON_GPU
  for (int i = 0; i < n; ++i) {
    const float got = shuffle_xor(upper ? packs[0].at[i] : packs[1].at[i], 1);
    (upper ? packs[0].at[i] : packs[1].at[i]) = got;
  }
}

}  // namespace cuda
}  // namespace fastconv
