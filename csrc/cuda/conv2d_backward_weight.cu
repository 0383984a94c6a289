// The driver of the weight's gradient in exact arithmetic: the tile.
#include "cuda/conv2d_backward_weight.h"

#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/kernels/conv2d_backward_weight_simt.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

namespace {

WeightPlan plan(const Conv2dShape& s) {
  const bool in_fours = s.icg() % 4 == 0 && s.ocg() % 4 == 0;
  const int rows = s.ocg() > 64 && in_fours ? 128 : s.ocg() > 16 ? 64 : 16;
  return plan_backward_weight(s, rows, rows == 128 && s.kh * s.kw * s.icg() <= 64 ? 64 : 128);
}

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, Conv2dBackwardWeightParams<float> p, Stream stream) {
  const std::int64_t blocks = tile_backward_weight<Tile>(shape, p);
  launch({"conv2d_backward_weight_simt", blocks, kSimtThreads, Tile::kSharedBytes, stream},
         conv2d_backward_weight_simt<Tile, kVector>, p, shape);
}

// Channels that do not come in fours, or arrays that are not aligned, take the tiles of 64 rows at most twice.
template <int kVector>
void launch_tile(const WeightPlan& plan, const Conv2dShape& shape, const Conv2dBackwardWeightParams<float>& p,
                 Stream stream) {
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

template <class T>
void sum_backward_weight(const Conv2dShape& shape, const Conv2dBackwardWeightParams<T>& p, Stream stream) {
  const std::int64_t count = shape.oc * shape.icg() * shape.kh * shape.kw;
  launch({"conv2d_backward_weight_sum", ceil_div(count, kSumElements), kSumThreads, kSumSharedBytes, stream},
         conv2d_backward_weight_sum<T>, p, shape);
}
template void sum_backward_weight(const Conv2dShape&, const Conv2dBackwardWeightParams<float>&, Stream);
template void sum_backward_weight(const Conv2dShape&, const Conv2dBackwardWeightParams<Float16>&, Stream);
template void sum_backward_weight(const Conv2dShape&, const Conv2dBackwardWeightParams<BFloat16>&, Stream);

std::int64_t conv2d_backward_weight_workspace_bytes(const Conv2dShape& shape) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise) return depthwise_conv2d_backward_weight_workspace(shape);
  if (stem_conv2d_backward_weight_takes(shape)) return stem_conv2d_backward_weight_workspace(shape);
  return backward_weight_workspace(shape, plan(shape));
}

void conv2d_backward_weight(const Conv2dShape& shape, const float* input, const float* grad_output, float* grad_weight,
                            void* workspace, bool accumulate, Stream stream) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_backward_weight(shape, ElementType::kFloat32, true, input, grad_output, grad_weight,
                                            workspace, accumulate, stream);
  if (stem_conv2d_backward_weight_takes(shape))
    return stem_conv2d_backward_weight(shape, input, false, grad_output, grad_weight, workspace, accumulate, stream);
  const WeightPlan chosen = plan(shape);
  const bool in_fours = shape.icg() % 4 == 0 && shape.ocg() % 4 == 0 && aligned(input, 16) &&
                        aligned(grad_output, 16) && aligned(workspace, 16);
  launch_backward_weight(shape, chosen.slices, kSimtDepth, input, grad_output, grad_weight, true, workspace, accumulate,
                         stream, [&](const Conv2dBackwardWeightParams<float>& p) {
                           in_fours ? launch_tile<4>(chosen, shape, p, stream)
                                    : launch_tile<1>(chosen, shape, p, stream);
                         });
}

}  // namespace cuda
}  // namespace fastconv
