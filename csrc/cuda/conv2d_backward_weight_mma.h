// What the drivers of conv2d_backward_weight_mma share, one .cu for each way to multiply.
#pragma once

#include "cuda/conv2d_backward_mma.h"
#include "cuda/conv2d_backward_weight.h"
#include "cuda/kernels/conv2d_backward_weight_mma.h"

namespace fastconv {
namespace cuda {

template <class Math, class Tile, int kBytes>
void launch_backward_weight_mma(const Conv2dShape& shape, Conv2dBackwardWeightParams<typename Math::Element> p,
                                Stream stream) {
  p.whole_packs = shape.kh * shape.kw * shape.icg() % Tile::kSideBySide == 0 && aligned(p.partial, 16);
  const std::int64_t blocks = tile_backward_weight<Tile>(shape, p);
  launch({"conv2d_backward_weight_mma", blocks, kMmaThreads, p.stages * Tile::kStageBytes, stream},
         conv2d_backward_weight_mma<Math, Tile, kBytes>, p, shape);
}

template <class Math>
void run_conv2d_backward_weight_mma(const Conv2dShape& shape, const Conv2dBackwardChoice& choice, std::int64_t slices,
                                    const void* input, const void* grad_output, void* grad_weight, bool wide,
                                    void* workspace, bool accumulate, Stream stream) {
  using T = typename Math::Element;
  launch_backward_weight(shape, slices, kSlabDepth<T>, static_cast<const T*>(input), static_cast<const T*>(grad_output),
                         grad_weight, wide, workspace, accumulate, stream, [&](Conv2dBackwardWeightParams<T>& p) {
                           p.stages = choice.stages;
                           if (choice.copy_bytes < kPieceBytes)
                             launch_backward_weight_mma<Math, BackwardWeightMmaTile<T, 64, 128>, sizeof(T)>(shape, p,
                                                                                                            stream);
                           else if (choice.rows == 32)
                             launch_backward_weight_mma<Math, BackwardWeightMmaTile<T, 32, 128>, 16>(shape, p, stream);
                           else if (choice.rows == 64)
                             launch_backward_weight_mma<Math, BackwardWeightMmaTile<T, 64, 128>, 16>(shape, p, stream);
                           else if (choice.columns == 64)
                             launch_backward_weight_mma<Math, BackwardWeightMmaTile<T, 128, 64>, 16>(shape, p, stream);
                           else
                             launch_backward_weight_mma<Math, BackwardWeightMmaTile<T, 128, 128>, 16>(shape, p, stream);
                         });
}

}  // namespace cuda
}  // namespace fastconv
