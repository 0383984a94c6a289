// The gradient of a convolution's input on the tensor cores of sm_90a, of 16-bit types and one group; wgmma_tiles.h
// tells how tiles are computed, conv2d_phase.h what a phase is.
//
//   rows = input pixels of one phase, columns = input channels, depth = (tap, tap, output channel)
//
// A slab is 64 output channels of one tap. To TMA grad_output is an image, and each phase a convolution with stride 1
// over it, with the taps in their other order, as TMA knows no negative ones. One tensor map serves all phases: it
// begins where the first of them does, and has as many positions as the largest; the others add how much later they
// begin to every tap, and what is too many for them is not stored. The weight is read as it lies, with columns inside
// (a turned operand).
#pragma once

#include "cuda/kernels/conv2d_backward_input.h"
#include "cuda/kernels/wgmma_store.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dBackwardInputWgmmaParams : Conv2dBackwardInputParams<T> {
  TensorMap grad_output_map, weight_map;
  std::int64_t tiles;
  std::int32_t lower_h, lower_w;  // the first output pixel that a tap of any phase may meet

  Conv2dBackwardInputWgmmaParams(const Conv2dBackwardInputParams<T>& p)
      : Conv2dBackwardInputParams<T>(p), grad_output_map{}, weight_map{}, tiles(0), lower_h(0), lower_w(0) {}
};

template <class T, int columns>
struct BackwardInputWgmma {
  using Element = T;
  using Params = Conv2dBackwardInputWgmmaParams<T>;
  using Tile = WgmmaTile<T, 128, columns, false, true>;
  static constexpr bool kMasked = true;
  struct Slab {
    std::int32_t h, w, k;  // taps from the last one on, first output channel
  };

  const Params& p;
  std::int64_t tile;
  std::int32_t first_row, first_column;
  Phase h, w;

  // Columns first, phases last: those with most taps begin.
  FASTCONV_DEVICE BackwardInputWgmma(const Params& params, std::int64_t number) : p(params), tile(number) {
    first_column = static_cast<std::int32_t>(number % p.column_tiles) * columns;
    const std::int64_t rest = number / p.column_tiles;
    first_row = static_cast<std::int32_t>(rest % p.row_tiles) * Tile::kRows;
    const auto which = static_cast<std::int32_t>(rest / p.row_tiles);
    h = phase(p.h, which / p.w.stride), w = phase(p.w, which % p.w.stride);
  }

  template <class Function>
  FASTCONV_DEVICE void each_slab(const Function& f) const {
    const std::int32_t depth = h.pixels > 0 && w.pixels > 0 ? p.geometry.oc : 0;
    for (std::int32_t th = 0; th < h.taps; ++th)
      for (std::int32_t tw = 0; tw < w.taps; ++tw)
        for (std::int32_t k = 0; k < depth; k += Tile::kDepth) f(Slab{th, tw, k}, depth - k);
  }

  // Of a row of the product: the image, and the phase's pixel.
  FASTCONV_DEVICE InputPixel place(std::int32_t row) const {
    const std::int32_t n = p.by_plane[0][0].quotient(row), in_plane = p.by_plane[0][0].remainder(row, n);
    const std::int32_t i = p.by_row[0].quotient(in_plane);
    return {n, i, p.by_row[0].remainder(in_plane, i)};
  }

  FASTCONV_DEVICE auto source() const {
    const InputPixel first = place(first_row);
    const InputPixel at = {first.n, p.lower_h + first.h, p.lower_w + first.w};
    const std::int32_t later_h = h.first_output - (h.taps - 1) * p.h.output_step - p.lower_h;
    const std::int32_t later_w = w.first_output - (w.taps - 1) * p.w.output_step - p.lower_w;
    return [this, at, later_h, later_w](const Slab& slab, unsigned char* stage, Barrier& landed) {
      const std::int32_t kh = h.first_tap + (h.taps - 1 - slab.h) * p.h.tap_step;
      const std::int32_t kw = w.first_tap + (w.taps - 1 - slab.w) * p.w.tap_step;
      barrier_expect(landed, Tile::kStageBytes);
      tma_load_im2col(stage, p.grad_output_map, landed, slab.k, at.w, at.h, at.n, later_w + slab.w * p.w.output_step,
                      later_h + slab.h * p.h.output_step);
      FASTCONV_UNROLL_ON_GPU
      for (int block = 0; block < columns / kWgmmaBlock; ++block)
        tma_load(stage + Tile::kRowBytes + block * kWgmmaBlockBytes, p.weight_map, landed,
                 first_column + block * kWgmmaBlock, kh * p.geometry.kw + kw, slab.k);
    };
  }

  FASTCONV_DEVICE void store(float (&sums)[Tile::kSums], std::int32_t own_row, std::int32_t own_column) const {
    wgmma_store(*this, tile, sums, first_row + own_row, first_column + own_column);
  }
  FASTCONV_DEVICE std::int32_t channels() const { return p.geometry.ic; }
  FASTCONV_DEVICE bool in_pieces() const { return p.whole_packs; }
  FASTCONV_DEVICE T* result() const { return p.grad_input; }
  FASTCONV_DEVICE InputPixel input_pixel(const InputPixel& at) const {
    return {at.n, h.first_pixel + at.h * p.h.stride, w.first_pixel + at.w * p.w.stride};
  }
  FASTCONV_DEVICE std::int64_t pixel(std::int32_t row) const {
    const InputPixel at = place(row);
    if (at.n >= p.images || at.h >= h.pixels || at.w >= w.pixels) return -1;
    const InputPixel to = input_pixel(at);
    return (static_cast<std::int64_t>(to.n) * p.geometry.ih + to.h) * p.geometry.iw + to.w;
  }
  FASTCONV_DEVICE float finish(float sum, std::int32_t) const { return sum; }
  // Channels come in eights, so that the bits of eight lie in one word.
  FASTCONV_DEVICE std::uint32_t passes(std::int64_t element) const { return p.mask_bits(element); }
  FASTCONV_DEVICE float again(std::int32_t row, std::int32_t channel) const {
    return backward_input_sum_inside(p, input_pixel(place(row)), channel);
  }
};

template <class T, int columns>
FASTCONV_BOUNDED_KERNEL(3 * kWarpgroup, 1)
conv2d_backward_input_wgmma(FASTCONV_GRID_CONSTANT const Conv2dBackwardInputWgmmaParams<T> p) {
  wgmma_tiles<BackwardInputWgmma<T, columns>>(p);
}

}  // namespace cuda
}  // namespace fastconv
