// What the drivers of conv2d_backward_input_mma share, one .cu for each way to multiply.
#pragma once

#include "cuda/aligned.h"
#include "cuda/conv2d_backward_input.h"
#include "cuda/conv2d_backward_mma.h"
#include "cuda/kernels/conv2d_backward_input_mma.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

template <class Math, class Tile, int kBytes>
void launch_backward_input_mma(const Conv2dShape& shape, Conv2dBackwardInputParams<typename Math::Element> p,
                               Stream stream) {
  p.whole_packs =
      shape.icg() % Tile::kStored == 0 && aligned(p.grad_input, Tile::kStored * sizeof(typename Math::Element));
  const std::int64_t blocks = tile_backward_input<Tile>(shape, p);
  launch({"conv2d_backward_input_mma", blocks, kMmaThreads, p.stages * Tile::kStageBytes, stream},
         conv2d_backward_input_mma<Math, Tile, kBytes>, p, shape);
}

template <class Math>
void run_conv2d_backward_input_mma(const Conv2dShape& shape, const Conv2dBackwardChoice& choice, const void* weight,
                                   const void* grad_output, const std::uint32_t* mask, void* grad_input,
                                   Stream stream) {
  using T = typename Math::Element;
  launch_backward_input(shape, static_cast<const T*>(weight), static_cast<const T*>(grad_output), mask,
                        static_cast<T*>(grad_input), [&](Conv2dBackwardInputParams<T>& p) {
                          p.stages = choice.stages;
                          if (choice.copy_bytes < kPieceBytes)
                            launch_backward_input_mma<Math, BackwardInputMmaTile<T, 64>, sizeof(T)>(shape, p, stream);
                          else if (choice.columns == 128)
                            launch_backward_input_mma<Math, BackwardInputMmaTile<T, 128>, 16>(shape, p, stream);
                          else if (choice.columns == 64)
                            launch_backward_input_mma<Math, BackwardInputMmaTile<T, 64>, 16>(shape, p, stream);
                          else
                            launch_backward_input_mma<Math, BackwardInputMmaTile<T, 32>, 16>(shape, p, stream);
                        });
}

}  // namespace cuda
}  // namespace fastconv
