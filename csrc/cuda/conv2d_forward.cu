// The driver of the forward pass: which tile, how many blocks.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_params.h"
#include "cuda/conv2d_simt_plan.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/devices.h"
#include "cuda/kernels/conv2d_forward_simt.h"
#include "cuda/launch.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

namespace {

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, Conv2dForwardParams p, Stream stream) {
  const Conv2dGeometry& g = p.geometry;
  p.row_tiles = static_cast<std::int32_t>(ceil_div(g.output_pixels, Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(g.ocg, Tile::kColumns));
  const std::int64_t tiles = std::int64_t{p.row_tiles} * p.column_tiles * shape.groups;
  p.chunks.tiles = static_cast<std::int32_t>(std::min(tiles, kMaxBlocks));
  launch({"conv2d_forward_simt", tiles * (p.chunks.partial ? p.chunks.count : 1), kSimtThreads, Tile::kSharedBytes,
          stream},
         conv2d_forward_simt<Tile, kVector>, p, shape);
}

template <int kVector>
void launch_tile(const SimtPlan& plan, const Conv2dShape& shape, const Conv2dForwardParams& p, Stream stream) {
  if (plan.columns == 16) return launch_simt<ForwardTile<16>, kVector>(shape, p, stream);
  if constexpr (kVector == 4) {
    if (plan.rows == 64 && plan.columns == 32) return launch_simt<ForwardTile<32, 64>, kVector>(shape, p, stream);
    if (plan.rows == 64) return launch_simt<ForwardTile<64, 64>, kVector>(shape, p, stream);
    if (plan.columns == 128) return launch_simt<ForwardTile<128>, kVector>(shape, p, stream);
  }
  launch_simt<ForwardTile<64>, kVector>(shape, p, stream);
}

}  // namespace

void conv2d_forward(const Conv2dShape& shape, const float* input, const float* weight, const float* bias, float* output,
                    bool relu, Workspace workspace, Stream stream) {
  switch (conv2d_kind(shape)) {
    case Conv2dKind::depthwise:
      return depthwise_conv2d_forward(shape, ElementType::kFloat32, input, weight, bias, output, relu, stream);
    case Conv2dKind::stem:
      return stem_conv2d_forward(shape, ElementType::kFloat32, input, false, weight, bias, output, relu, stream);
    case Conv2dKind::general:
      break;
  }
  const bool in_fours = shape.icg() % 4 == 0 && aligned(input, 16) && aligned(weight, 16);
  const SimtProduct product = forward_product(shape);
  const SimtPlan plan = plan_simt(product, current_multiprocessors(), workspace.bytes, in_fours);
  const std::int64_t step = images_per_launch(shape);
  for (std::int64_t n = 0; n < shape.n; n += step) {
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dForwardParams p{};
    p.input = input + n * shape.ih * shape.iw * shape.ic;
    p.output = output + n * shape.oh * shape.ow * shape.oc;
    p.weight = weight, p.bias = bias, p.relu = relu;
    p.geometry = conv2d_geometry("conv2d", shape, images);
    p.depth = p.geometry.kh * p.geometry.kw * p.geometry.icg;
    p.chunks = depth_chunks(product, plan.split ? static_cast<float*>(workspace.memory) : nullptr);
    in_fours ? launch_tile<4>(plan, shape, p, stream) : launch_tile<1>(plan, shape, p, stream);
    if (plan.split)  // and so this is the only launch
      launch({"conv2d_forward_sum", ceil_div(product.elements, kChunkSumThreads), kChunkSumThreads, 0, stream},
             conv2d_forward_sum, p, shape);
  }
}

std::int64_t conv2d_forward_workspace_bytes(const Conv2dShape& shape) {
  if (conv2d_kind(shape) != Conv2dKind::general) return 0;
  const SimtProduct product = forward_product(shape);
  const std::int64_t bytes = simt_workspace_bytes(product);
  return bytes && plan_simt(product, current_multiprocessors(), bytes, shape.icg() % 4 == 0).split ? bytes : 0;
}

}  // namespace cuda
}  // namespace fastconv
