// The direct convolution's register tile: MR pixels by NV vectors of output channels, one broadcast of the input times
// NV packed weight vectors per step. It serves forward, backward-input (each phase is a stride-1 convolution) and
// linear. Idea: Goto & van de Geijn 2008 (register blocking), with the pixels of an image row in place of a packed A
// matrix.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Accumulators MR * NV, NV weights and one broadcast must fit the registers:
//   32 registers: 14 x 2 + 2 + 1 = 31, and 6 x 4 + 4 + 1 = 29;  16 registers: 6 x 2 + 2 + 1 = 15, and 12 x 1 + 1 + 1 =
//   14. Four vectors need 32 registers: 3 x 4 reaches three quarters of the speed of 6 x 2.
template <class T, int NV>
constexpr int conv_tile_max_pixels() {
  if (Vec<T>::kRegisters >= 32) return NV == 4 ? 6 : kConvTileMaxPixels;
  return NV == 4 ? 0 : NV == 2 ? 6 : 12;
}

// Steps at once. With 16 registers g++ moves the loads of four steps so far up that it keeps a sum in memory, and the
// chain through it takes 7 cycles a step instead of 6.
template <class T>
constexpr int conv_tile_unroll() {
  return Vec<T>::kRegisters >= 32 ? 4 : 2;
}

// One multiply-add step. Pixels share a base pointer by threes (base, base + s, base + 2s are addressing modes),
// because MR separate pointers would not fit the general registers.
template <class T, int MR, int NV>
inline __attribute__((always_inline)) void conv_tile_step(Vec<T> (&acc)[MR][NV], const T* const (&base)[(MR + 2) / 3],
                                                          std::int64_t pixel, const T* weight, std::int64_t block,
                                                          int k) {
  Vec<T> w[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) w[v] = Vec<T>::load(weight + v / 2 * block + v % 2 * Vec<T>::kSize);
#pragma GCC unroll 14
  for (int m = 0; m < MR; ++m) {
    const Vec<T> x = Vec<T>::broadcast(base[m / 3][(m % 3) * pixel + k]);
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[m][v] = fma(x, w[v], acc[m][v]);
  }
}

template <class T, int MR, int NV>
void conv_tile(const ConvTileArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  constexpr int kUnroll = conv_tile_unroll<T>();
  constexpr int kBases = (MR + 2) / 3;
  const int tail = a.channels - (NV - 1) * kSize;  // valid lanes of the last vector
  const bool full = tail >= kSize;
  Vec<T> acc[MR][NV];

  if (a.accumulate) {
#pragma GCC unroll 14
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const T* p = a.output + m * a.output_pixel + v * kSize;
        acc[m][v] = v + 1 < NV || full ? Vec<T>::load(p) : Vec<T>::load_partial(p, tail);
      }
  } else {
    Vec<T> start[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      if (!a.bias)
        start[v] = Vec<T>::zero();
      else
        start[v] =
            v + 1 < NV || full ? Vec<T>::load(a.bias + v * kSize) : Vec<T>::load_partial(a.bias + v * kSize, tail);
    }
#pragma GCC unroll 14
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[m][v] = start[v];
  }

  constexpr int kStep = (NV < 2 ? NV : 2) * kSize;  // weights of one step, of each block
  const T* weight = a.weight;
  const std::int64_t block = a.weight_block;
  const std::int64_t pixel = a.input_pixel, prefetch = a.prefetch;
  for (std::int64_t th = 0; th < a.taps_h; ++th) {
    for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
      const T* base[kBases];
#pragma GCC unroll 5
      for (int b = 0; b < kBases; ++b) base[b] = a.input + th * a.input_tap_h + tw * a.input_tap_w + 3 * b * pixel;
      std::int64_t k = 0;
      for (; k + kUnroll <= a.run; k += kUnroll) {
#pragma GCC unroll 4
        for (int u = 0; u < kUnroll; ++u) conv_tile_step<T, MR, NV>(acc, base, pixel, weight + u * kStep, block, u);
        if (prefetch != 0) {
#pragma GCC unroll 14
          for (int m = 0; m < MR; ++m) __builtin_prefetch(base[m / 3] + (m % 3) * pixel + prefetch);
        }
        weight += kUnroll * kStep;
#pragma GCC unroll 5
        for (int b = 0; b < kBases; ++b) base[b] += kUnroll;
      }
      // Fewer than kUnroll steps are left: short runs (one or three channels) live here, so no pointer moves.
      const std::int64_t left = a.run - k;
      if (left > 0) conv_tile_step<T, MR, NV>(acc, base, pixel, weight, block, 0);
      if (kUnroll > 2 && left > 1) conv_tile_step<T, MR, NV>(acc, base, pixel, weight + kStep, block, 1);
      if (kUnroll > 2 && left > 2) conv_tile_step<T, MR, NV>(acc, base, pixel, weight + 2 * kStep, block, 2);
      weight += left * kStep;
    }
  }

  if (a.activation == Activation::relu) {
    const Vec<T> zero = Vec<T>::zero();
#pragma GCC unroll 14
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[m][v] = select(not_less_equal(acc[m][v], zero), acc[m][v], zero);
  }
  if (a.stream) {
#pragma GCC unroll 14
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[m][v].stream(a.output + m * a.output_pixel + v * kSize);
    return;
  }
#pragma GCC unroll 14
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      T* p = a.output + m * a.output_pixel + v * kSize;
      if (v + 1 < NV || full)
        acc[m][v].store(p);
      else
        acc[m][v].store_partial(p, tail);
    }
}

template <class T>
void store_fence() {
  Vec<T>::fence();
}

template <class T, int NV, int MR>
constexpr void fill_conv_tiles_from(ConvKernels<T>& kernels) {
  kernels.conv_tile[NV - 1][MR - 1] = &conv_tile<T, MR, NV>;
  if constexpr (MR > 1) fill_conv_tiles_from<T, NV, MR - 1>(kernels);
}

template <class T>
constexpr void fill_conv_tiles(ConvKernels<T>& kernels) {
  kernels.max_pixels[0] = conv_tile_max_pixels<T, 1>();
  kernels.max_pixels[1] = conv_tile_max_pixels<T, 2>();
  fill_conv_tiles_from<T, 1, conv_tile_max_pixels<T, 1>()>(kernels);
  fill_conv_tiles_from<T, 2, conv_tile_max_pixels<T, 2>()>(kernels);
  kernels.max_pixels[3] = conv_tile_max_pixels<T, 4>();
  if constexpr (conv_tile_max_pixels<T, 4>() > 0) fill_conv_tiles_from<T, 4, conv_tile_max_pixels<T, 4>()>(kernels);
  kernels.store_fence = &store_fence<T>;
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
