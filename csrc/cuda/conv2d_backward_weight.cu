// The driver of the weight's gradient: tile, slices, and the second pass that adds them.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_params.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/kernels/conv2d_backward_weight_simt.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

// Tiles and slices follow from the geometry alone, so that all GPUs add in the same order.
struct Plan {
  int rows, columns;  // of a tile
  std::int64_t row_tiles, column_tiles, slices;
};

// Two blocks for each of the 132 SMs of an H200; so the workspace has at most as many tiles of 64 KB: 17 MB.
constexpr std::int64_t kMostBlocks = 264;
constexpr std::int64_t kLeastPixels = 256;  // of a slice: below, the second pass costs more than it brings

Plan plan(const Conv2dShape& s) {
  const std::int64_t positions = s.kh * s.kw * s.icg();
  const bool in_fours = s.icg() % 4 == 0 && s.ocg() % 4 == 0;
  Plan p{};
  p.rows = s.ocg() > 64 && in_fours ? 128 : s.ocg() > 16 ? 64 : 16;
  p.columns = p.rows == 128 && positions <= 64 ? 64 : 128;
  p.row_tiles = ceil_div(s.ocg(), p.rows), p.column_tiles = ceil_div(positions, p.columns);
  const std::int64_t tiles = p.row_tiles * p.column_tiles * s.groups;
  const std::int64_t pixels = std::min(s.n, images_per_launch(s)) * s.oh * s.ow;
  p.slices = std::max<std::int64_t>(1, std::min(kMostBlocks / tiles, pixels / kLeastPixels));
  return p;
}

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, const Conv2dBackwardWeightParams& p, Stream stream) {
  const std::int64_t blocks = std::int64_t{p.row_tiles} * p.column_tiles * shape.groups * p.slices;
  launch({"conv2d_backward_weight_simt", blocks, kSimtThreads, Tile::kSharedBytes, stream},
         conv2d_backward_weight_simt<Tile, kVector>, p, shape);
}

// Channels that do not come in fours, or arrays that are not aligned, take the tiles of 64 rows at most twice.
template <int kVector>
void launch_tile(const Plan& plan, const Conv2dShape& shape, const Conv2dBackwardWeightParams& p, Stream stream) {
  if (plan.rows == 16)
    launch_simt<BackwardWeightTile<16, 128>, kVector>(shape, p, stream);
  else if (plan.rows == 64)
    launch_simt<BackwardWeightTile<64, 128>, kVector>(shape, p, stream);
  else if (plan.columns == 64)
    launch_simt<BackwardWeightTile<128, 64>, kVector>(shape, p, stream);
  else
    launch_simt<BackwardWeightTile<128, 128>, kVector>(shape, p, stream);
}

}  // namespace

std::int64_t conv2d_backward_weight_workspace_bytes(const Conv2dShape& shape) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise) return depthwise_conv2d_backward_weight_workspace(shape);
  const std::int64_t slices = plan(shape).slices;
  if (slices == 1) return 0;
  return slices * shape.oc * shape.icg() * shape.kh * shape.kw * static_cast<std::int64_t>(sizeof(float));
}

void conv2d_backward_weight(const Conv2dShape& shape, const float* input, const float* grad_output, float* grad_weight,
                            void* workspace, bool accumulate, Stream stream) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_backward_weight(shape, input, grad_output, grad_weight, workspace, accumulate, stream);
  const Plan chosen = plan(shape);
  const std::int64_t step = images_per_launch(shape);
  std::int64_t n = 0;
  do {  // once also without images: the gradient is zero then
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dBackwardWeightParams p{};
    p.input = input + n * shape.ih * shape.iw * shape.ic;
    p.grad_output = grad_output + n * shape.oh * shape.ow * shape.oc;
    p.grad_weight = grad_weight, p.partial = chosen.slices > 1 ? static_cast<float*>(workspace) : nullptr;
    p.geometry = conv2d_geometry("conv2d_backward_weight", shape, images);
    p.row_tiles = static_cast<std::int32_t>(chosen.row_tiles);
    p.column_tiles = static_cast<std::int32_t>(chosen.column_tiles);
    p.slices = static_cast<std::int32_t>(chosen.slices);
    p.slice_pixels = static_cast<std::int32_t>(round_up(ceil_div(p.geometry.output_pixels, chosen.slices), kSimtDepth));
    p.accumulate = accumulate || n > 0;
    const bool in_fours = p.geometry.icg % 4 == 0 && p.geometry.ocg % 4 == 0 && aligned(input, 16) &&
                          aligned(grad_output, 16) && aligned(workspace, 16);
    in_fours ? launch_tile<4>(chosen, shape, p, stream) : launch_tile<1>(chosen, shape, p, stream);
    if (p.partial) {
      const std::int64_t count = shape.oc * shape.icg() * shape.kh * shape.kw;
      launch({"conv2d_backward_weight_sum", ceil_div(count, kSumElements), kSumThreads, kSumSharedBytes, stream},
             conv2d_backward_weight_sum, p, shape);
    }
    n += images;
  } while (n < shape.n);
}

}  // namespace cuda
}  // namespace fastconv
