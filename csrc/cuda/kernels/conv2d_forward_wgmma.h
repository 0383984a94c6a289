// Convolution as an implicit matrix product on the tensor cores of sm_90a, for one group; wgmma_tiles.h tells how.
//
//   rows = output pixels, columns = output channels, depth = (kh, kw, c), all taps of a filter
//
// A slab is 64 channels (32 floats) of one tap, those of the image gathered by TMA as the tap sees them, zeros where it
// sees padding.
#pragma once

#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/conv2d_sum_inside.h"
#include "cuda/kernels/wgmma_store.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dWgmmaParams {
  TensorMap input_map, weight_map;
  const T* input;
  const T* weight;
  const T* bias;  // or null
  T* output;
  Conv2dGeometry geometry;
  std::int64_t tiles;
  std::int32_t column_tiles;
  bool relu, in_pieces;  // in_pieces: 16 bytes of an output pixel may be stored at once
};

template <class T, int columns>
struct ForwardWgmma {
  using Element = T;
  using Params = Conv2dWgmmaParams<T>;
  using Tile = WgmmaTile<T, 128, columns>;
  static constexpr bool kMasked = false;
  struct Slab {
    std::int32_t kh, kw, c;
  };

  const Params& p;
  std::int64_t tile;
  std::int32_t first_row, first_column;

  // Tiles that run side by side share their rows of the input: columns are counted first.
  FASTCONV_DEVICE ForwardWgmma(const Params& params, std::int64_t number)
      : p(params),
        tile(number),
        first_row(static_cast<std::int32_t>(number / params.column_tiles) * Tile::kRows),
        first_column(static_cast<std::int32_t>(number % params.column_tiles) * columns) {}

  template <class Function>
  FASTCONV_DEVICE void each_slab(const Function& f) const {
    const Conv2dGeometry& g = p.geometry;
    for (std::int32_t kh = 0; kh < g.kh; ++kh)
      for (std::int32_t kw = 0; kw < g.kw; ++kw)
        for (std::int32_t c = 0; c < g.ic; c += Tile::kDepth) f(Slab{kh, kw, c}, g.ic - c);
  }

  FASTCONV_DEVICE auto source() const {
    const InputPixel at = input_pixel(p.geometry, first_row);
    return [this, at](const Slab& slab, unsigned char* stage, Barrier& landed) {
      const Conv2dGeometry& g = p.geometry;
      const std::int32_t kh = slab.kh, kw = slab.kw;
      barrier_expect(landed, Tile::kStageBytes);
      tma_load_im2col(stage, p.input_map, landed, slab.c, at.w, at.h, at.n, kw * g.dilation_w, kh * g.dilation_h);
      tma_load(stage + Tile::kRowBytes, p.weight_map, landed, slab.c, kh * g.kw + kw, first_column);
    };
  }

  FASTCONV_DEVICE void store(float (&sums)[Tile::kSums], std::int32_t own_row, std::int32_t own_column) const {
    wgmma_store(*this, tile, sums, first_row + own_row, first_column + own_column);
  }
  FASTCONV_DEVICE std::int32_t channels() const { return p.geometry.oc; }
  FASTCONV_DEVICE bool in_pieces() const { return p.in_pieces; }
  FASTCONV_DEVICE T* result() const { return p.output; }
  FASTCONV_DEVICE std::int64_t pixel(std::int32_t row) const { return row < p.geometry.output_pixels ? row : -1; }
  FASTCONV_DEVICE float finish(float sum, std::int32_t channel) const {
    if (p.bias && channel < p.geometry.oc) sum += to_float(p.bias[channel]);
    return p.relu && sum <= 0 ? 0 : sum;  // NaN stays NaN
  }
  FASTCONV_DEVICE float again(std::int32_t row, std::int32_t channel) const {
    return finish(conv2d_sum_inside(p.geometry, p.input, p.weight, row, channel), channel);
  }
};

template <class T, int columns>
FASTCONV_BOUNDED_KERNEL(3 * kWarpgroup, 1)
conv2d_forward_wgmma(FASTCONV_GRID_CONSTANT const Conv2dWgmmaParams<T> p) {
  wgmma_tiles<ForwardWgmma<T, columns>>(p);
}

}  // namespace cuda
}  // namespace fastconv
