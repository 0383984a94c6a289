// What the drivers of conv2d_forward_mma share, one .cu for each way to multiply.
#pragma once

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_mma.h"
#include "cuda/conv2d_params.h"
#include "cuda/kernels/conv2d_forward_mma.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

template <class Math, class Tile, int kBytes>
void launch_mma(const Conv2dShape& shape, Conv2dMmaParams<typename Math::Element> p, Stream stream) {
  p.whole_packs = shape.ocg() % Tile::kStored == 0 && aligned(p.output, Tile::kStored * sizeof(typename Math::Element));
  p.row_tiles = static_cast<std::int32_t>(ceil_div(p.geometry.output_pixels, Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(p.geometry.ocg, Tile::kColumns));
  const std::int64_t blocks = std::int64_t{p.row_tiles} * p.column_tiles * shape.groups;
  launch({"conv2d_forward_mma", blocks, kMmaThreads, p.stages * Tile::kStageBytes, stream},
         conv2d_forward_mma<Math, Tile, kBytes>, p, shape);
}

template <class Math>
void run_conv2d_forward_mma(const Conv2dShape& shape, const Conv2dForwardChoice& choice, const void* input,
                            const void* weight, const void* bias, void* output, bool relu, Stream stream) {
  using T = typename Math::Element;
  const std::int64_t step = images_per_launch(shape);
  for (std::int64_t n = 0; n < shape.n; n += step) {
    Conv2dMmaParams<T> p{};
    p.input = static_cast<const T*>(input) + n * shape.ih * shape.iw * shape.ic;
    p.output = static_cast<T*>(output) + n * shape.oh * shape.ow * shape.oc;
    p.weight = static_cast<const T*>(weight), p.bias = static_cast<const T*>(bias), p.relu = relu;
    p.geometry = conv2d_geometry("conv2d", shape, std::min(step, shape.n - n));
    p.stages = choice.stages;
    if (choice.copy_bytes < 16)
      launch_mma<Math, ForwardMmaTile<T, 64>, static_cast<int>(sizeof(T))>(shape, p, stream);
    else if (choice.columns == 128)
      launch_mma<Math, ForwardMmaTile<T, 128>, 16>(shape, p, stream);
    else if (choice.columns == 64)
      launch_mma<Math, ForwardMmaTile<T, 64>, 16>(shape, p, stream);
    else
      launch_mma<Math, ForwardMmaTile<T, 32>, 16>(shape, p, stream);
  }
}

}  // namespace cuda
}  // namespace fastconv
