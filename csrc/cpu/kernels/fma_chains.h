// The yardstick: independent multiply-add chains in registers, enough of them to hide the latency of two FMA units.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
double fma_chains(std::int64_t iterations) {
  constexpr int kChains = 12;
  constexpr int kRounds = 16;
  Vec<T> acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = Vec<T>::broadcast(T(1) + T(i));
  const Vec<T> scale = Vec<T>::broadcast(T(0.5)), shift = Vec<T>::broadcast(T(0.25));
  for (std::int64_t it = 0; it < iterations; ++it) {
#pragma GCC unroll 16
    for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], scale, shift);
  }
  Vec<T> sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = sum + acc[i];
  T lanes[Vec<T>::kSize];
  sum.store(lanes);
  // The result depends on every chain, so that the compiler keeps them; all converge to 0.5.
  const double alive = lanes[0] > T(0) ? 1.0 : 0.0;
  return alive * 2.0 * kChains * kRounds * Vec<T>::kSize * static_cast<double>(iterations);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
