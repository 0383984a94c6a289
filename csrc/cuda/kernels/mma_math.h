// The ways to multiply on tensor cores, one struct each. A step takes 32 bytes of depth of both operands: 8 elements of
// 4 bytes, or 16 of 2. mma.h says which lane holds what.
#pragma once

#include <type_traits>

#include "cuda/mma.h"

namespace fastconv {
namespace cuda {

// float16 and bfloat16 as they are: products are exact, sums in float32.
template <class T>
struct MmaDirect {
  using Element = T;
  static constexpr int kNeeds = std::is_same_v<T, Float16> ? 75 : 80;  // compute capability
  static constexpr int kStepsAtOnce = 4;                               // unrolled

  template <int down, int across>
  static FASTCONV_DEVICE void multiply(float (&sums)[down][across][4], std::uint32_t (&a)[down][4],
                                       std::uint32_t (&b)[across][2]) {
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < down; ++i) {
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < across; ++j) mma<T>(sums[i][j], a[i], b[j]);
    }
  }
};

// float32, both operands rounded to the 10 bits of mantissa of TF32.
struct MmaTf32 {
  using Element = float;
  static constexpr int kNeeds = 80;
  static constexpr int kStepsAtOnce = 4;

  template <int down, int across>
  static FASTCONV_DEVICE void multiply(float (&sums)[down][across][4], std::uint32_t (&a)[down][4],
                                       std::uint32_t (&b)[across][2]) {
    FASTCONV_UNROLL_ON_GPU
    for (int j = 0; j < across; ++j) {
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < 2; ++e) b[j][e] = round_tf32(detail::from_bits(b[j][e]));
    }
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < down; ++i) {
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < 4; ++e) a[i][e] = round_tf32(detail::from_bits(a[i][e]));
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < across; ++j) mma_tf32(sums[i][j], a[i], b[j]);
    }
  }
};

// float32 nearly as it is: each operand as the sum of two TF32 numbers, and three of the four products, the small ones
// first. Tensor cores cut sums off instead of rounding them, which adds up over a deep sum; so each step has sums of
// its own and ordinary additions collect them. Ootomo and Yokota, "Recovering single precision accuracy from tensor
// cores", 2022.
struct MmaTf32x3 {
  using Element = float;
  static constexpr int kNeeds = 80;
  static constexpr int kStepsAtOnce = 1;  // more of them want too many registers

  static FASTCONV_DEVICE void split(std::uint32_t& big, std::uint32_t& small) {
    const float x = detail::from_bits(big);
    big = round_tf32(x) & ~0x1fffu;  // just what the product will see
    small = round_tf32(x - detail::from_bits(big));
  }

  template <int down, int across>
  static FASTCONV_DEVICE void multiply(float (&sums)[down][across][4], std::uint32_t (&a)[down][4],
                                       std::uint32_t (&b)[across][2]) {
    std::uint32_t b_small[across][2];
    FASTCONV_UNROLL_ON_GPU
    for (int j = 0; j < across; ++j) {
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < 2; ++e) split(b[j][e], b_small[j][e]);
    }
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < down; ++i) {
      std::uint32_t a_small[4];
      FASTCONV_UNROLL_ON_GPU
      for (int e = 0; e < 4; ++e) split(a[i][e], a_small[e]);
      FASTCONV_UNROLL_ON_GPU
      for (int j = 0; j < across; ++j) {
        float step[4] = {};
        mma_tf32(step, a_small, b[j]);
        mma_tf32(step, a[i], b_small[j]);
        mma_tf32(step, a[i], b[j]);
        FASTCONV_UNROLL_ON_GPU
        for (int e = 0; e < 4; ++e) sums[i][j][e] += step[e];
      }
    }
  }
};

}  // namespace cuda
}  // namespace fastconv
