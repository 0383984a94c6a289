// Dropout with random numbers that are a function of (seed, offset, element): nothing is stored for the backward pass,
// which is the same call on the gradient.
//
// Philox 4x32 with 10 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/kernels/elementwise.h"

namespace fastconv {
namespace cuda {

template <class T>
struct DropoutParams {
  const T* input;
  T* output;
  const std::int64_t* counter;  // added to the offset, or null
  std::int64_t count;
  std::uint64_t seed, offset;
  std::uint32_t keep_below;  // an element stays where its number is below
  float scale;
};

struct FourNumbers {
  std::uint32_t at[4];
};

FASTCONV_DEVICE FourNumbers philox(std::uint64_t key, std::uint64_t low, std::uint64_t high) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  auto c0 = static_cast<std::uint32_t>(low), c1 = static_cast<std::uint32_t>(low >> 32);
  auto c2 = static_cast<std::uint32_t>(high), c3 = static_cast<std::uint32_t>(high >> 32);
  FASTCONV_UNROLL
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0, c1 = static_cast<std::uint32_t>(b);
    c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1, c3 = static_cast<std::uint32_t>(a);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// What falls is multiplied by 0, so that NaN stays. Numbers come in fours.
template <class T, bool kWide>
FASTCONV_KERNEL dropout_kernel(DropoutParams<T> p) {
  const std::int64_t at = first_element<T>();
  if (at >= p.count) return;
  auto x = load_own<kWide>(p.input, at, p.count);
  const std::uint64_t offset = p.offset + (p.counter ? static_cast<std::uint64_t>(*p.counter) : 0);
  FASTCONV_UNROLL
  for (int four = 0; four < kOwn<T>; four += 4) {
    const FourNumbers random = philox(p.seed, static_cast<std::uint64_t>((at + four) / 4), offset);
    FASTCONV_UNROLL
    for (int i = 0; i < 4; ++i) x.at[four + i] *= random.at[i] < p.keep_below ? p.scale : 0.0f;
  }
  store_own<kWide>(p.output, at, p.count, x);
}

}  // namespace cuda
}  // namespace fastconv
