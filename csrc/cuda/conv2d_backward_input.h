// What the drivers of the input's gradient share: phases, and images in as many launches as they take.
#pragma once

#include <algorithm>
#include <numeric>

#include "core/checked_math.h"
#include "cuda/conv2d_params.h"
#include "cuda/kernels/conv2d_backward_input.h"

namespace fastconv {
namespace cuda {

inline PhaseAxis phase_axis(std::int64_t size, std::int64_t output_size, std::int64_t kernel, std::int64_t stride,
                            std::int64_t pad, std::int64_t dilation) {
  // With one output any stride is the right one. This one leaves each phase one tap at most: a filter as large as the
  // image is then not tried at places where it cannot lie.
  if (output_size == 1) stride = dilation * (kernel - 1) + 1;
  const std::int64_t common = std::gcd(stride, dilation), step = stride / common;
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  return {narrow(size),
          narrow(kernel),
          narrow(stride),
          narrow(pad),
          narrow(dilation),
          narrow(step),
          narrow(dilation / common),
          narrow(ceil_div(size, stride)),
          narrow(ceil_div(kernel, step))};
}

// launch(params) for every part of the batch.
template <class T, class Launch>
void launch_backward_input(const Conv2dShape& shape, const T* weight, const T* grad_output, const std::uint32_t* mask,
                           T* grad_input, const Launch& launch) {
  const char* op = "conv2d_backward_input";
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 30;  // taps reach some beyond the last
  const std::int64_t image = shape.ih * shape.iw;
  to_int32(op, image, std::int64_t{1} << 30, shape);
  const std::int64_t step =
      std::max<std::int64_t>(1, std::min(shape.n, kMostPixels / std::max(image, shape.oh * shape.ow)));
  for (std::int64_t n = 0; n < shape.n; n += step) {
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dBackwardInputParams<T> p{};
    p.grad_output = grad_output + n * shape.oh * shape.ow * shape.oc;
    p.grad_input = grad_input + n * image * shape.ic;
    p.weight = weight, p.mask = mask, p.mask_first = n * image * shape.ic;
    p.images = static_cast<std::int32_t>(images);
    const Conv2dGeometry& g = p.geometry = conv2d_geometry(op, shape, images);
    to_int32(op, checked_mul(shape.kh * shape.kw, shape.ocg(), op), std::int64_t{1} << 30, shape);
    p.h = phase_axis(shape.ih, shape.oh, shape.kh, shape.stride_h, shape.pad_top, shape.dilation_h);
    p.w = phase_axis(shape.iw, shape.ow, shape.kw, shape.stride_w, shape.pad_left, shape.dilation_w);
    for (int fewer_w = 0; fewer_w < 2; ++fewer_w) {
      const std::int32_t w = std::max(1, p.w.most_pixels - fewer_w);
      p.by_row[fewer_w] = FastDivide(w);
      for (int fewer_h = 0; fewer_h < 2; ++fewer_h)
        p.by_plane[fewer_h][fewer_w] = FastDivide(std::max(1, p.h.most_pixels - fewer_h) * w);
      p.by_taps[fewer_w] = FastDivide(std::max(1, p.w.most_taps - fewer_w));
    }
    p.by_ocg = FastDivide(g.ocg);
    launch(p);
  }
}

// Counts the tiles of a launch; returns its blocks.
template <class Tile, class Params>
std::int64_t tile_backward_input(const Conv2dShape& shape, Params& p) {
  const std::int64_t most_rows = std::int64_t{p.images} * p.h.most_pixels * p.w.most_pixels;
  p.row_tiles = static_cast<std::int32_t>(ceil_div(most_rows, Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(p.geometry.icg, Tile::kColumns));
  const std::int64_t tiles = checked_mul(std::int64_t{p.row_tiles} * p.column_tiles, shape.groups, "conv2d");
  return checked_mul(tiles, std::int64_t{p.h.stride} * p.w.stride, "conv2d");
}

}  // namespace cuda
}  // namespace fastconv
