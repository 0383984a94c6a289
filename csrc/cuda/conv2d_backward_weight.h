// What the drivers of the weight's gradient share: tiles, slices, images in as many launches as they take, and the
// second pass that adds the slices.
#pragma once

#include <algorithm>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_params.h"
#include "cuda/kernels/conv2d_backward_weight.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

// Tiles and slices follow from the geometry alone, so that all GPUs add in the same order.
struct WeightPlan {
  int rows, columns;  // of a tile
  std::int64_t row_tiles, column_tiles, slices;
};

// `positions`: columns in all, of a group.
inline WeightPlan plan_backward_weight(const Conv2dShape& s, int rows, int columns, std::int64_t positions,
                                       std::int64_t most_blocks) {
  constexpr std::int64_t kLeastPixels = 256;  // of a slice: below, the second pass costs more than it brings
  WeightPlan p{rows, columns, ceil_div(s.ocg(), rows), ceil_div(positions, columns), 0};
  const std::int64_t tiles = p.row_tiles * p.column_tiles * s.groups;
  const std::int64_t pixels = std::min(s.n, images_per_launch(s)) * s.oh * s.ow;
  p.slices = std::max<std::int64_t>(1, std::min(most_blocks / tiles, pixels / kLeastPixels));
  return p;
}
inline WeightPlan plan_backward_weight(const Conv2dShape& s, int rows, int columns) {
  // Two blocks for each of the 132 SMs of an H200; so the workspace has at most as many tiles of 64 KB: 17 MB.
  return plan_backward_weight(s, rows, columns, s.kh * s.kw * s.icg(), 264);
}

inline std::int64_t backward_weight_workspace(const Conv2dShape& s, const WeightPlan& plan) {
  if (plan.slices == 1) return 0;
  return plan.slices * s.oc * s.icg() * s.kh * s.kw * static_cast<std::int64_t>(sizeof(float));
}

// The second pass.
template <class T>
void sum_backward_weight(const Conv2dShape& shape, const Conv2dBackwardWeightParams<T>& p, Stream stream);

// launch(params) for every part of the batch, with slices of whole slabs. `wide`: grad_weight is float32 whatever T is.
template <class T, class Launch>
void launch_backward_weight(const Conv2dShape& shape, std::int64_t slices, int slab, const T* input,
                            const T* grad_output, void* grad_weight, bool wide, void* workspace, bool accumulate,
                            Stream stream, const Launch& launch_tiles) {
  const std::int64_t step = images_per_launch(shape);
  std::int64_t n = 0;
  do {  // once also without images: the gradient is zero then
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dBackwardWeightParams<T> p{};
    p.input = input + n * shape.ih * shape.iw * shape.ic;
    p.grad_output = grad_output + n * shape.oh * shape.ow * shape.oc;
    p.grad_weight = grad_weight, p.wide = wide;
    p.partial = slices > 1 ? static_cast<float*>(workspace) : nullptr;
    p.geometry = conv2d_geometry("conv2d_backward_weight", shape, images);
    p.slices = static_cast<std::int32_t>(slices);
    p.slice_pixels = static_cast<std::int32_t>(round_up(ceil_div(p.geometry.output_pixels, slices), slab));
    p.accumulate = accumulate || n > 0;
    launch_tiles(p);
    if (p.partial) sum_backward_weight(shape, p, stream);
    n += images;
  } while (n < shape.n);
}

// Counts the tiles of a launch; returns its blocks.
template <class Tile, class Params>
std::int64_t tile_backward_weight(const Conv2dShape& shape, Params& p) {
  p.row_tiles = static_cast<std::int32_t>(ceil_div(shape.ocg(), Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(shape.kh * shape.kw * shape.icg(), Tile::kColumns));
  return std::int64_t{p.row_tiles} * p.column_tiles * shape.groups * p.slices;
}

}  // namespace cuda
}  // namespace fastconv
