// The driver of the input's gradient in exact arithmetic: the tile.
#include "cuda/conv2d_backward_input.h"

#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/kernels/conv2d_backward_input_simt.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, Conv2dBackwardInputParams<float> p, Stream stream) {
  const std::int64_t blocks = tile_backward_input<Tile>(shape, p);
  launch({"conv2d_backward_input_simt", blocks, kSimtThreads, Tile::kSharedBytes, stream},
         conv2d_backward_input_simt<Tile, kVector>, p, shape);
}

}  // namespace

void conv2d_backward_input(const Conv2dShape& shape, const float* weight, const float* grad_output,
                           const std::uint32_t* mask, float* grad_input, Stream stream) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_backward_input(shape, ElementType::kFloat32, weight, grad_output, mask, grad_input, stream);
  const bool in_fours = shape.icg() % 4 == 0 && shape.ocg() % 4 == 0 && aligned(grad_output, 16) &&
                        aligned(weight, 16) && aligned(grad_input, 16);
  launch_backward_input(shape, weight, grad_output, mask, grad_input, [&](const Conv2dBackwardInputParams<float>& p) {
    if (in_fours) {
      if (shape.icg() > 64)
        launch_simt<BackwardInputTile<128>, 4>(shape, p, stream);
      else if (shape.icg() > 16)
        launch_simt<BackwardInputTile<64>, 4>(shape, p, stream);
      else
        launch_simt<BackwardInputTile<16>, 4>(shape, p, stream);
    } else if (shape.icg() > 16) {
      launch_simt<BackwardInputTile<64>, 1>(shape, p, stream);
    } else {
      launch_simt<BackwardInputTile<16>, 1>(shape, p, stream);
    }
  });
}

}  // namespace cuda
}  // namespace fastconv
