// What the drivers of conv2d_backward_weight_wgmma share, one .cu for each element type.
#pragma once

#include "cuda/conv2d_backward_weight.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/conv2d_wgmma_launch.h"
#include "cuda/devices.h"
#include "cuda/kernels/conv2d_backward_weight_wgmma.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"

namespace fastconv {
namespace cuda {

template <class T, int rows, int columns>
void launch_backward_weight_wgmma(const Conv2dShape& shape, ElementType type, Conv2dBackwardWeightWgmmaParams<T> p,
                                  Stream stream) {
  using Tile = typename BackwardWeightWgmma<T, rows, columns>::Tile;
  const std::int64_t pixels = p.geometry.output_pixels, images = pixels / (shape.oh * shape.ow);
  if (pixels > 0) {  // else nobody asks TMA for anything
    p.grad_output_map = filter_tensor_map(type, p.grad_output, {pixels, 1, shape.oc}, kWgmmaBlock, Tile::kDepth);
    p.input_map = im2col_tensor_map(type, p.input, {images, shape.ih, shape.iw, shape.ic},
                                    conv2d_im2col_box(shape, kWgmmaBlock, Tile::kDepth));
  }
  p.blocks_of_tap = static_cast<std::int32_t>(ceil_div(shape.ic, kWgmmaBlock));
  p.whole_packs = aligned(p.partial, 16) && aligned(p.grad_weight, 16);
  p.row_tiles = static_cast<std::int32_t>(ceil_div(shape.oc, rows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(shape.kh * shape.kw * p.blocks_of_tap * kWgmmaBlock, columns));
  p.tiles = std::int64_t{p.row_tiles} * p.column_tiles * p.slices;
  const std::int64_t blocks = std::min<std::int64_t>(p.tiles, current_multiprocessors());
  launch({"conv2d_backward_weight_wgmma", blocks, Tile::kThreads, Tile::kSharedBytes, stream},
         conv2d_backward_weight_wgmma<T, rows, columns>, p, shape);
}

template <class T>
void run_conv2d_backward_weight_wgmma(const Conv2dShape& shape, ElementType type, const Conv2dBackwardChoice& choice,
                                      std::int64_t slices, const void* input, const void* grad_output,
                                      void* grad_weight, bool wide, void* workspace, bool accumulate, Stream stream) {
  launch_backward_weight(shape, slices, kWgmmaBlock, static_cast<const T*>(input), static_cast<const T*>(grad_output),
                         grad_weight, wide, workspace, accumulate, stream, [&](const Conv2dBackwardWeightParams<T>& p) {
                           if (choice.rows == 128)
                             launch_backward_weight_wgmma<T, 128, 128>(shape, type, p, stream);
                           else if (choice.columns == 256)
                             launch_backward_weight_wgmma<T, 64, 256>(shape, type, p, stream);
                           else
                             launch_backward_weight_wgmma<T, 64, 128>(shape, type, p, stream);
                         });
}

}  // namespace cuda
}  // namespace fastconv
