// What the drivers of conv2d_forward_wgmma share, one .cu for each element type.
#pragma once

#include <algorithm>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_params.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/devices.h"
#include "cuda/kernels/conv2d_forward_wgmma.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"

namespace fastconv {
namespace cuda {

// The corners of the positions that the first tap takes: exactly as many as there are outputs, with strides too.
inline Im2colBox conv2d_im2col_box(const Conv2dShape& s, std::int32_t channels, std::int32_t pixels) {
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  Im2colBox box{};
  box.channels = channels, box.pixels = pixels;
  box.stride_w = narrow(s.stride_w), box.stride_h = narrow(s.stride_h);
  box.lower_w = narrow(-s.pad_left), box.lower_h = narrow(-s.pad_top);
  box.upper_w = narrow(s.pad_right - (s.kw - 1) * s.dilation_w);
  box.upper_h = narrow(s.pad_bottom - (s.kh - 1) * s.dilation_h);
  return box;
}

template <class T, int columns>
void launch_wgmma(const Conv2dShape& shape, ElementType type, std::int64_t images, Conv2dWgmmaParams<T> p,
                  Stream stream) {
  using Tile = typename ForwardWgmma<T, columns>::Tile;
  p.input_map = im2col_tensor_map(type, p.input, {images, shape.ih, shape.iw, shape.ic},
                                  conv2d_im2col_box(shape, Tile::kDepth, Tile::kRows));
  p.weight_map =
      filter_tensor_map(type, p.weight, {shape.oc, shape.kh * shape.kw, shape.ic}, Tile::kDepth, Tile::kColumns);
  p.column_tiles = static_cast<std::int32_t>(ceil_div(shape.oc, columns));
  p.tiles = ceil_div(p.geometry.output_pixels, Tile::kRows) * std::int64_t{p.column_tiles};
  const std::int64_t blocks = std::min<std::int64_t>(p.tiles, current_multiprocessors());
  launch({"conv2d_forward_wgmma", blocks, Tile::kThreads, Tile::kSharedBytes, stream}, conv2d_forward_wgmma<T, columns>,
         p, shape);
}

template <class T>
void run_conv2d_forward_wgmma(const Conv2dShape& shape, ElementType type, const Conv2dForwardChoice& choice,
                              const void* input, const void* weight, const void* bias, void* output, bool relu,
                              Stream stream) {
  const std::int64_t step = images_per_launch(shape);
  for (std::int64_t n = 0; n < shape.n; n += step) {
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dWgmmaParams<T> p{};
    p.input = static_cast<const T*>(input) + n * shape.ih * shape.iw * shape.ic;
    p.output = static_cast<T*>(output) + n * shape.oh * shape.ow * shape.oc;
    p.weight = static_cast<const T*>(weight), p.bias = static_cast<const T*>(bias), p.relu = relu;
    p.geometry = conv2d_geometry("conv2d", shape, images);
    constexpr int kPiece = sizeof(T) == 2 ? 8 : 2;  // elements that a lane stores
    p.in_pieces = shape.oc % kPiece == 0 && aligned(p.output, kPiece * sizeof(T));
    if (choice.columns == 256)
      launch_wgmma<T, 256>(shape, type, images, p, stream);
    else if (choice.columns == 128)
      launch_wgmma<T, 128>(shape, type, images, p, stream);
    else
      launch_wgmma<T, 64>(shape, type, images, p, stream);
  }
}

}  // namespace cuda
}  // namespace fastconv
