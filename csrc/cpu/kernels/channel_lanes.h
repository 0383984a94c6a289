// Pointwise convolution to few output channels, with the input channels in the lanes: as many (pixel, output) pairs as
// a vector has lanes, each summed in a vector of its own. Interleaving and adding the vectors two by two then leaves
// one vector of results, in the order of memory.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"
#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Up to kSize sums, one pixel's channels and O vectors of weights: 16 + 1 + 4 of 32 registers, 8 + 1 + 4 of 16.
template <class T, int O>
void channel_lanes(const ChannelLanesArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize, P = kSize / O;
  const std::int64_t whole = a.channels / kSize * kSize, pitch = (a.channels + kSize - 1) / kSize * kSize;
  const int left = static_cast<int>(a.channels - whole);
  // The last pixels overlap those before them; fewer than P are computed one by one, P times the same.
  const std::int64_t count = a.pixels < P ? 1 : P, pixel = a.pixels < P ? 0 : a.input_pixel;
  T bias[kSize];
  for (int i = 0; i < kSize; ++i) bias[i] = a.bias ? a.bias[i % O] : T(0);
  const Vec<T> zero = Vec<T>::zero(), start = Vec<T>::load(bias);
  for (std::int64_t p = 0; p < a.pixels; p += count) {
    if (p + count > a.pixels) p = a.pixels - count;
    const T* x = a.input + p * a.input_pixel;
    Vec<T> acc[kSize];
#pragma GCC unroll 16
    for (int i = 0; i < kSize; ++i) acc[i] = zero;
    const auto add = [&](std::int64_t c, auto load) __attribute__((always_inline)) {
      Vec<T> w[O];
#pragma GCC unroll 4
      for (int o = 0; o < O; ++o) w[o] = Vec<T>::load(a.weight + o * pitch + c);
#pragma GCC unroll 16
      for (int j = 0; j < P; ++j) {
        const Vec<T> e = load(x + j * pixel + c);
#pragma GCC unroll 4
        for (int o = 0; o < O; ++o) acc[j * O + o] = fma(e, w[o], acc[j * O + o]);
      }
    };
    for (std::int64_t c = 0; c < whole; c += kSize) add(c, [](const T* from) { return Vec<T>::load(from); });
    if (left > 0) add(whole, [left](const T* from) { return Vec<T>::load_partial(from, left); });
#pragma GCC unroll 4
    for (int half = kSize / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) {
        Vec<T> low, high;
        interleave(acc[i], acc[i + half], low, high);
        acc[i] = low + high;
      }
    Vec<T> y = acc[0] + start;
    if (a.activation == Activation::relu) y = select(not_less_equal(y, zero), y, zero);
    store_lanes(y, a.output + p * O, static_cast<int>(count) * O);
  }
}

template <class T, int O>
constexpr void fill_channel_lanes_from(ConvKernels<T>& kernels) {
  if constexpr (O <= Vec<T>::kSize) kernels.channel_lanes[O - 1] = &channel_lanes<T, O>;
  if constexpr (O > 1) fill_channel_lanes_from<T, O - 1>(kernels);
}

template <class T>
constexpr void fill_channel_lanes(ConvKernels<T>& kernels) {
  fill_channel_lanes_from<T, kChannelLanesOutputs>(kernels);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
