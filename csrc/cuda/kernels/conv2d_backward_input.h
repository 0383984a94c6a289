// What the gradients of a convolution's input share, whatever multiplies: one launch for all phases (conv2d_phase.h),
// each an implicit matrix product.
//
//   rows = input pixels of one phase, columns = input channels of a group, depth = (tap, tap, output channel)
//
// grad_output has depth inside in global memory, the weight has columns inside.
#pragma once

#include "cuda/float16.h"
#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/conv2d_phase.h"
#include "cuda/kernels/tile.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dBackwardInputParams {
  const T* grad_output;
  const T* weight;
  const std::uint32_t* mask;  // or null: a bit for each element of grad_input; zero where it is not set
  T* grad_input;
  std::int64_t mask_first;  // the bit of grad_input[0]
  Conv2dGeometry geometry;
  PhaseAxis h, w;
  std::int32_t images;
  FastDivide by_plane[2][2], by_row[2];  // pixels of phases with most rows and columns, and with one less
  FastDivide by_ocg, by_taps[2];
  std::int32_t column_tiles, row_tiles;  // of the largest phase and one group
  std::int32_t stages;                   // slabs in shared memory, on tensor cores
  bool whole_packs;                      // neighbours may be stored at once

  FASTCONV_DEVICE std::uint32_t mask_bits(std::int64_t element) const {
    const std::int64_t bit = mask_first + element;
    return mask ? mask[bit / 32] >> (bit % 32) : ~0u;
  }
};

// What a block works on: a tile of one phase of one group.
template <class Tile>
struct PhaseTile : TileOfGroup<Tile> {
  Phase h, w;
  std::int32_t pixels;
  FastDivide by_plane, by_row;
  bool fewer_taps;  // along w

  template <class T>
  FASTCONV_DEVICE PhaseTile(const Conv2dBackwardInputParams<T>& p, std::int32_t block)
      : TileOfGroup<Tile>(block % (p.column_tiles * p.row_tiles), p.column_tiles, p.row_tiles) {
    const Conv2dGeometry& g = p.geometry;
    std::int32_t rest = block / (p.column_tiles * p.row_tiles);
    const std::int32_t groups = g.ic / g.icg;
    this->group = rest % groups, rest /= groups;
    h = phase(p.h, rest / p.w.stride), w = phase(p.w, rest % p.w.stride);
    pixels = p.images * h.pixels * w.pixels;
    const int fewer_h = h.pixels != p.h.most_pixels, fewer_w = w.pixels != p.w.most_pixels;
    by_plane = p.by_plane[fewer_h][fewer_w], by_row = p.by_row[fewer_w];
    fewer_taps = w.taps != p.w.most_taps;
  }

  // The n-th image and the phase's pixel (h, w) of a row of the product.
  FASTCONV_DEVICE InputPixel pixel(std::int32_t row) const {
    const std::int32_t n = by_plane.quotient(row), in_plane = by_plane.remainder(row, n);
    const std::int32_t i = by_row.quotient(in_plane);
    return {n, i, by_row.remainder(in_plane, i)};
  }

  // The output pixel under the phase's first taps, and the input pixel itself.
  FASTCONV_DEVICE InputPixel output_pixel(std::int32_t row) const {
    const InputPixel at = pixel(row);
    return {at.n, h.first_output + at.h, w.first_output + at.w};
  }
  template <class T>
  FASTCONV_DEVICE InputPixel input_pixel(const Conv2dBackwardInputParams<T>& p, std::int32_t row) const {
    const InputPixel at = pixel(row);
    return {at.n, h.first_pixel + at.h * p.h.stride, w.first_pixel + at.w * p.w.stride};
  }
  // Where in grad_input a channel of the group lies.
  FASTCONV_DEVICE std::int64_t element(const Conv2dGeometry& g, const InputPixel& at, std::int32_t column) const {
    return ((static_cast<std::int64_t>(at.n) * g.ih + at.h) * g.iw + at.w) * g.ic + this->group * g.icg + column;
  }
};

// One element from its definition, output pixels that do not exist left out.
template <class T>
FASTCONV_DEVICE_NOINLINE float backward_input_sum_inside(const Conv2dBackwardInputParams<T>& p, const InputPixel& at,
                                                         std::int32_t channel) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t group = channel / g.icg;
  float sum = 0;
  for (std::int32_t kh = 0; kh < g.kh; ++kh) {
    for (std::int32_t kw = 0; kw < g.kw; ++kw) {
      const std::int32_t h = at.h + p.h.pad - kh * g.dilation_h, w = at.w + p.w.pad - kw * g.dilation_w;
      if (h < 0 || w < 0 || h % p.h.stride || w % p.w.stride) continue;
      const std::int32_t oh = h / p.h.stride, ow = w / p.w.stride;
      if (oh >= g.oh || ow >= g.ow) continue;
      const T* from = p.grad_output + ((static_cast<std::int64_t>(at.n) * g.oh + oh) * g.ow + ow) * g.oc;
      for (std::int32_t k = group * g.ocg; k < (group + 1) * g.ocg && sum == sum; ++k) {
        const std::int64_t tap = (static_cast<std::int64_t>(k) * g.kh + kh) * g.kw + kw;
        sum = multiply_add(to_float(from[k]), to_float(p.weight[tap * g.icg + channel - group * g.icg]), sum);
      }
    }
  }
  return sum;
}

}  // namespace cuda
}  // namespace fastconv
