// The register tile of backward-weight: MR consecutive (kw, ic) entries by NV vectors of output channels, summed over
// the pixels of a block of rows. The mirror of conv_tile.h: here the pixels are the reduction.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// 14 x 2 + 2 + 1 = 31 of 32 registers, 6 x 2 + 2 + 1 = 15 of 16. Tall tiles, because each pixel's vectors of
// grad_output come from the L2 cache: 14 entries use them 14 times.
template <class T>
constexpr int weight_tile_max_entries() {
  return Vec<T>::kRegisters >= 32 ? kWeightTileMaxEntries : 6;
}

template <class T, int MR, int NV>
void weight_tile(const WeightTileArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  const std::int64_t pitch = a.grad_pitch;
  Vec<T> acc[MR][NV];
#pragma GCC unroll 14
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v)
      acc[m][v] = a.accumulate ? Vec<T>::load(a.grad + m * pitch + v * kSize) : Vec<T>::zero();

  const char* prefetch =
      a.prefetch ? a.prefetch : reinterpret_cast<const char*>(a.grad_output);  // a line that is there anyway
  for (std::int64_t line = 0, row = 0, image = 0; line < a.images * a.rows; ++line) {
    const T* x = a.input + image * a.input_image + row * a.input_row;
    const T* g = a.grad_output + line * a.grad_row;
    const char* next = prefetch + line * a.prefetch_row;
    if (++row == a.rows) row = 0, ++image;
    for (std::int64_t p = 0; p < a.pixels; ++p) {
      Vec<T> w[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) w[v] = Vec<T>::load(g + v * kSize);
#pragma GCC unroll 14
      for (int m = 0; m < MR; ++m) {
        const Vec<T> e = Vec<T>::broadcast(x[m]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) acc[m][v] = fma(e, w[v], acc[m][v]);
      }
      __builtin_prefetch(next, 0, 2);
      next += a.prefetch_pixel;
      x += a.input_pixel;
      g += a.grad_pixel;
    }
  }
#pragma GCC unroll 14
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) acc[m][v].store(a.grad + m * pitch + v * kSize);
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
