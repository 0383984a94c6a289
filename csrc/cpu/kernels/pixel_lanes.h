// The register tile with pixels in the lanes: KB output channels by a few vectors of neighbouring positions of a planar
// source. Each step loads the vectors at one tap of one input channel and multiplies them by KB broadcast weights.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// KB * vectors sums, the vectors and one broadcast: 8 x 2 + 2 + 1 = 19 of 32 registers, 6 x 2 + 2 + 1 = 15 of 16.
template <class T>
constexpr int pixel_tile_max_channels() {
  return Vec<T>::kRegisters >= 32 ? kPixelTileMaxChannels : 6;
}

// [8][positions] to [position][8] by perfect shuffles: each round interleaves the first half of the rows with the
// second, which turns the index bits by one place.
template <class T>
inline __attribute__((always_inline)) void store_positions(Vec<T> (&a)[8], T* to) {
  Vec<T> b[8];
#pragma GCC unroll 3
  for (int round = 0; round < 3; ++round) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) interleave(a[i], a[i + 4], b[2 * i], b[2 * i + 1]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) a[i] = b[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i].store(to + i * Vec<T>::kSize);
}

template <class T, int KB>
void pixel_tile(const PixelTileArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize, NV = pixel_tile_vectors(KB);
  Vec<T> acc[KB][NV];
#pragma GCC unroll 8
  for (int k = 0; k < KB; ++k)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[k][v] = a.bias ? Vec<T>::broadcast(a.bias[k]) : Vec<T>::zero();

  const T* weight = a.weight;
  for (std::int64_t step = 0; step < a.steps; ++step, weight += KB) {
    const T* source = a.source + a.offsets[step];
    Vec<T> x[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) x[v] = Vec<T>::load(source + v * kSize);
#pragma GCC unroll 8
    for (int k = 0; k < KB; ++k) {
      const Vec<T> w = Vec<T>::broadcast(weight[k]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[k][v] = fma(x[v], w, acc[k][v]);
    }
  }

  if (a.activation == Activation::relu) {
    const Vec<T> zero = Vec<T>::zero();
#pragma GCC unroll 8
    for (int k = 0; k < KB; ++k)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[k][v] = select(not_less_equal(acc[k][v], zero), acc[k][v], zero);
  }

  alignas(64) T positions[NV * kSize * 8];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    Vec<T> rows[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) rows[k] = k < KB ? acc[k < KB ? k : 0][v] : Vec<T>::zero();
    store_positions(rows, positions + v * kSize * 8);
  }
  // Positions run across rows; those beyond a row's last column belong to nobody.
  T* row = a.output;
  std::int64_t column = a.column;
  for (std::int64_t j = 0; j < a.positions; row += a.output_row, j += a.pitch - column, column = 0) {
    const std::int64_t left = a.positions - j, in_row = a.columns - column;
    const std::int64_t count = left < in_row ? left : in_row;
    T* to = row + column * a.output_pixel;
    const T* from = positions + j * 8;
    for (std::int64_t i = 0; i < count; ++i, to += a.output_pixel, from += 8) std::memcpy(to, from, KB * sizeof(T));
  }
}

template <class T, int KB>
constexpr void fill_pixel_tiles_from(ConvKernels<T>& kernels) {
  kernels.pixel_tile[KB - 1] = &pixel_tile<T, KB>;
  if constexpr (KB > 1) fill_pixel_tiles_from<T, KB - 1>(kernels);
}

template <class T>
constexpr void fill_pixel_tiles(ConvKernels<T>& kernels) {
  kernels.max_pixel_tile_channels = pixel_tile_max_channels<T>();
  fill_pixel_tiles_from<T, pixel_tile_max_channels<T>()>(kernels);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
