// The driver of the input's gradient in exact arithmetic: the tile.
#include "cuda/conv2d_backward_input.h"

#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_simt_plan.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/devices.h"
#include "cuda/kernels/conv2d_backward_input_simt.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, Conv2dBackwardInputSimtParams p, Stream stream) {
  const std::int64_t tiles = tile_backward_input<Tile>(shape, p);
  p.chunks.tiles = static_cast<std::int32_t>(std::min(tiles, kMaxBlocks));
  launch({"conv2d_backward_input_simt", tiles * (p.chunks.partial ? p.chunks.count : 1), kSimtThreads,
          Tile::kSharedBytes, stream},
         conv2d_backward_input_simt<Tile, kVector>, p, shape);
}

template <int kVector>
void launch_tile(const SimtPlan& plan, const Conv2dShape& shape, const Conv2dBackwardInputSimtParams& p,
                 Stream stream) {
  if (plan.columns == 16) return launch_simt<BackwardInputTile<16>, kVector>(shape, p, stream);
  if constexpr (kVector == 4) {
    if (plan.rows == 64 && plan.columns == 32) return launch_simt<BackwardInputTile<32, 64>, 4>(shape, p, stream);
    if (plan.rows == 64) return launch_simt<BackwardInputTile<64, 64>, 4>(shape, p, stream);
    if (plan.columns == 128) return launch_simt<BackwardInputTile<128>, 4>(shape, p, stream);
  }
  launch_simt<BackwardInputTile<64>, kVector>(shape, p, stream);
}

}  // namespace

void conv2d_backward_input(const Conv2dShape& shape, const float* weight, const float* grad_output,
                           const std::uint32_t* mask, float* grad_input, Workspace workspace, Stream stream) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_backward_input(shape, ElementType::kFloat32, weight, grad_output, mask, grad_input, stream);
  const bool in_fours = shape.icg() % 4 == 0 && shape.ocg() % 4 == 0 && aligned(grad_output, 16) &&
                        aligned(weight, 16) && aligned(grad_input, 16) && aligned(workspace.memory, 16);
  const SimtProduct product = backward_input_product(shape);
  const SimtPlan plan = plan_simt(product, current_multiprocessors(), workspace.bytes, in_fours);
  launch_backward_input(
      shape, weight, grad_output, mask, grad_input, [&](const Conv2dBackwardInputParams<float>& shared) {
        Conv2dBackwardInputSimtParams p{shared, {}};
        p.chunks = depth_chunks(product, plan.split ? static_cast<float*>(workspace.memory) : nullptr);
        in_fours ? launch_tile<4>(plan, shape, p, stream) : launch_tile<1>(plan, shape, p, stream);
        if (plan.split)  // and so this is the only launch
          launch(
              {"conv2d_backward_input_sum", ceil_div(product.elements, kChunkSumThreads), kChunkSumThreads, 0, stream},
              conv2d_backward_input_sum, p, shape);
      });
}

std::int64_t conv2d_backward_input_workspace_bytes(const Conv2dShape& shape) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise) return 0;
  const SimtProduct product = backward_input_product(shape);
  const std::int64_t bytes = simt_workspace_bytes(product);
  const bool in_fours = shape.icg() % 4 == 0 && shape.ocg() % 4 == 0;
  return bytes && plan_simt(product, current_multiprocessors(), bytes, in_fours).split ? bytes : 0;
}

}  // namespace cuda
}  // namespace fastconv
