// The register tile of backward-weight: MR consecutive (kw, ic) entries by NV vectors of output channels, summed over the
// pixels of a block of rows. The mirror of conv_tile.h: here the pixels are the reduction.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// 8 x 2 + 2 + 1 = 19 of 32 registers (an aligned tile of 8 stays within a cache line); 6 x 2 + 2 + 1 = 15 of 16.
template <class T>
constexpr int weight_tile_max_entries() {
  return Vec<T>::kRegisters >= 32 ? kWeightTileMaxEntries : 6;
}

template <class T, int MR, int NV, bool Full>
inline __attribute__((always_inline)) void weight_tile_sum(const WeightTileArgs<T>& a, int tail) {
  constexpr int kSize = Vec<T>::kSize;
  Vec<T> acc[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v)
      acc[m][v] = a.accumulate ? Vec<T>::load(a.grad + (m * NV + v) * kSize) : Vec<T>::zero();

  for (std::int64_t row = 0; row < a.rows; ++row) {
    const T* x = a.input + row * a.input_row;
    const T* g = a.grad_output + row * a.grad_row;
    for (std::int64_t p = 0; p < a.pixels; ++p) {
      Vec<T> w[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v)
        w[v] = Full || v + 1 < NV ? Vec<T>::load(g + v * kSize) : Vec<T>::load_partial(g + v * kSize, tail);
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m) {
        const Vec<T> e = Vec<T>::broadcast(x[m]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) acc[m][v] = fma(e, w[v], acc[m][v]);
      }
      x += a.input_pixel;
      g += a.grad_pixel;
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) acc[m][v].store(a.grad + (m * NV + v) * kSize);
}

template <class T, int MR, int NV>
void weight_tile(const WeightTileArgs<T>& a) {
  const int tail = a.channels - (NV - 1) * Vec<T>::kSize;
  if (tail >= Vec<T>::kSize)
    weight_tile_sum<T, MR, NV, true>(a, tail);
  else
    weight_tile_sum<T, MR, NV, false>(a, tail);
}

template <class T, int NV, int MR>
constexpr void fill_weight_tiles_from(ConvKernels<T>& kernels) {
  kernels.weight_tile[NV - 1][MR - 1] = &weight_tile<T, MR, NV>;
  if constexpr (MR > 1) fill_weight_tiles_from<T, NV, MR - 1>(kernels);
}

template <class T>
constexpr void fill_weight_tiles(ConvKernels<T>& kernels) {
  kernels.max_entries = weight_tile_max_entries<T>();
  fill_weight_tiles_from<T, 1, weight_tile_max_entries<T>()>(kernels);
  fill_weight_tiles_from<T, 2, weight_tile_max_entries<T>()>(kernels);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
