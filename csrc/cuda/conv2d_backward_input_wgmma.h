// What the drivers of conv2d_backward_input_wgmma share, one .cu for each element type.
#pragma once

#include "cuda/aligned.h"
#include "cuda/conv2d_phase_reach.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/devices.h"
#include "cuda/kernels/conv2d_backward_input_wgmma.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"

namespace fastconv {
namespace cuda {

// Every position that the first taps of the largest phase take.
template <class T>
Im2colBox phases_im2col_box(const Conv2dBackwardInputParams<T>& p, std::int32_t channels, std::int32_t pixels) {
  const PhaseReach h = phase_reach(p.h, p.geometry.oh), w = phase_reach(p.w, p.geometry.ow);
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  return {channels, pixels, 1, 1, narrow(w.lower), narrow(h.lower), narrow(w.upper), narrow(h.upper)};
}

template <class T, int columns>
void launch_backward_input_wgmma(const Conv2dShape& shape, ElementType type, Conv2dBackwardInputWgmmaParams<T> p,
                                 Stream stream) {
  using Tile = typename BackwardInputWgmma<T, columns>::Tile;
  const Im2colBox box = phases_im2col_box(p, Tile::kDepth, Tile::kRows);
  p.lower_h = box.lower_h, p.lower_w = box.lower_w;
  p.grad_output_map = im2col_tensor_map(type, p.grad_output, {p.images, shape.oh, shape.ow, shape.oc}, box);
  p.weight_map =
      filter_tensor_map(type, p.weight, {shape.oc, shape.kh * shape.kw, shape.ic}, kWgmmaBlock, Tile::kDepth);
  p.whole_packs = aligned(p.grad_input, 16);  // channels come in whole 16 bytes
  p.tiles = tile_backward_input<Tile>(shape, p);
  const std::int64_t blocks = std::min<std::int64_t>(p.tiles, current_multiprocessors());
  launch({"conv2d_backward_input_wgmma", blocks, Tile::kThreads, Tile::kSharedBytes, stream},
         conv2d_backward_input_wgmma<T, columns>, p, shape);
}

template <class T>
void run_conv2d_backward_input_wgmma(const Conv2dShape& shape, ElementType type, const Conv2dBackwardChoice& choice,
                                     const void* weight, const void* grad_output, const std::uint32_t* mask,
                                     void* grad_input, Stream stream) {
  launch_backward_input(shape, static_cast<const T*>(weight), static_cast<const T*>(grad_output), mask,
                        static_cast<T*>(grad_input), [&](const Conv2dBackwardInputParams<T>& p) {
                          if (choice.columns == 256)
                            launch_backward_input_wgmma<T, 256>(shape, type, p, stream);
                          else if (choice.columns == 128)
                            launch_backward_input_wgmma<T, 128>(shape, type, p, stream);
                          else
                            launch_backward_input_wgmma<T, 64>(shape, type, p, stream);
                        });
}

}  // namespace cuda
}  // namespace fastconv
