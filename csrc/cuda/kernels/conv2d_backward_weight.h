// What the gradients of a convolution's weight share, whatever multiplies: an implicit matrix product.
//
//   rows = output channels of a group, columns = (kh, kw, c) of a filter, depth = output pixels
//
// Both operands have lines inside in global memory. There are few tiles and much depth, so the depth is cut into
// slices: each block writes the sums of one slice, and a second kernel adds the slices in their order.
#pragma once

#include "cuda/float16.h"
#include "cuda/kernels/conv2d_geometry.h"
#include "cuda/kernels/sum_slices.h"
#include "cuda/kernels/tile.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dBackwardWeightParams {
  const T* input;
  const T* grad_output;
  void* grad_weight;  // of T, or of float where `wide`
  float* partial;     // [slices][weight], or null: one slice, and its sums are the result
  Conv2dGeometry geometry;
  std::int32_t column_tiles, row_tiles, slices, slice_pixels;
  std::int32_t stages;  // slabs in shared memory, on tensor cores
  bool accumulate, wide;
  bool whole_packs;  // neighbours of partial sums may be stored at once

  FASTCONV_DEVICE void put(std::int64_t element, float dw) const {
    put_sum<T>(grad_weight, wide, accumulate, element, dw);
  }
};

// A block's tile, and the output pixels that it adds up. The last slice may be shorter, and those past the last pixel
// are empty.
template <class Tile>
struct WeightTile : TileOfGroup<Tile> {
  std::int32_t slice, begin, end;

  template <class T>
  FASTCONV_DEVICE WeightTile(const Conv2dBackwardWeightParams<T>& p, std::int32_t block)
      : WeightTile(p, block, p.column_tiles * p.row_tiles * (p.geometry.ic / p.geometry.icg)) {}

 private:
  template <class T>
  FASTCONV_DEVICE WeightTile(const Conv2dBackwardWeightParams<T>& p, std::int32_t block, std::int32_t tiles)
      : TileOfGroup<Tile>(block % tiles, p.column_tiles, p.row_tiles), slice(block / tiles) {
    const Conv2dGeometry& g = p.geometry;
    const std::int64_t first = static_cast<std::int64_t>(slice) * p.slice_pixels;
    end =
        static_cast<std::int32_t>(first + p.slice_pixels < g.output_pixels ? first + p.slice_pixels : g.output_pixels);
    begin = first < end ? static_cast<std::int32_t>(first) : end;
  }
};

// One element from its definition, pixels outside the image left out.
template <class T>
FASTCONV_DEVICE_NOINLINE float backward_weight_sum_inside(const Conv2dBackwardWeightParams<T>& p, std::int32_t channel,
                                                          std::int32_t position) {
  const Conv2dGeometry& g = p.geometry;
  const Tap tap = Tap::at(position, g.by_icg, g.by_kw);
  const std::int32_t c = channel / g.ocg * g.icg + tap.c;
  float sum = 0;
  for (std::int32_t pixel = 0; pixel < g.output_pixels && sum == sum; ++pixel) {
    const InputPixel at = input_pixel(g, pixel);
    const std::int32_t h = at.h + tap.kh * g.dilation_h, w = at.w + tap.kw * g.dilation_w;
    if (!inside(g, h, w)) continue;
    sum = multiply_add(to_float(p.grad_output[static_cast<std::int64_t>(pixel) * g.oc + channel]),
                       to_float(p.input[((static_cast<std::int64_t>(at.n) * g.ih + h) * g.iw + w) * g.ic + c]), sum);
  }
  return sum;
}

template <class T>
FASTCONV_KERNEL conv2d_backward_weight_sum(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightParams<T> p) {
  const Conv2dGeometry& g = p.geometry;
  const std::int32_t positions = g.kh * g.kw * g.icg;
  const std::int64_t element = summed_element(), count = static_cast<std::int64_t>(g.oc) * positions;
  float dw = sum_slices({p.partial, nullptr, count, p.slices, p.accumulate});
  if (thread_x() >= kSumElements || element >= count) return;
  if (dw != dw)
    dw = backward_weight_sum_inside(p, static_cast<std::int32_t>(element / positions),
                                    static_cast<std::int32_t>(element % positions));
  p.put(element, dw);
}

}  // namespace cuda
}  // namespace fastconv
