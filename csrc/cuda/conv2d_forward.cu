// The driver of the forward pass: which tile, how many blocks.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_params.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/kernels/conv2d_forward_simt.h"
#include "cuda/launch.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

namespace {

template <class Tile>
void launch_simt(const Conv2dShape& shape, Conv2dForwardParams p, Stream stream) {
  const Conv2dGeometry& g = p.geometry;
  p.row_tiles = static_cast<std::int32_t>(ceil_div(g.output_pixels, Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(g.ocg, Tile::kColumns));
  const std::int64_t blocks = std::int64_t{p.row_tiles} * p.column_tiles * shape.groups;
  const bool in_fours = g.icg % 4 == 0 && aligned(p.input, 16) && aligned(p.weight, 16);
  launch({"conv2d_forward_simt", blocks, kSimtThreads, Tile::kSharedBytes, stream},
         in_fours ? conv2d_forward_simt<Tile, 4> : conv2d_forward_simt<Tile, 1>, p, shape);
}

}  // namespace

void conv2d_forward(const Conv2dShape& shape, const float* input, const float* weight, const float* bias, float* output,
                    bool relu, Stream stream) {
  switch (conv2d_kind(shape)) {
    case Conv2dKind::depthwise:
      return depthwise_conv2d_forward(shape, ElementType::kFloat32, input, weight, bias, output, relu, stream);
    case Conv2dKind::stem:
      return stem_conv2d_forward(shape, ElementType::kFloat32, input, false, weight, bias, output, relu, stream);
    case Conv2dKind::general:
      break;
  }
  const std::int64_t step = images_per_launch(shape);
  for (std::int64_t n = 0; n < shape.n; n += step) {
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dForwardParams p{};
    p.input = input + n * shape.ih * shape.iw * shape.ic;
    p.output = output + n * shape.oh * shape.ow * shape.oc;
    p.weight = weight, p.bias = bias, p.relu = relu;
    p.geometry = conv2d_geometry("conv2d", shape, images);
    if (shape.ocg() > 64)
      launch_simt<ForwardTile<128>>(shape, p, stream);
    else if (shape.ocg() > 16)
      launch_simt<ForwardTile<64>>(shape, p, stream);
    else
      launch_simt<ForwardTile<16>>(shape, p, stream);
  }
}

}  // namespace cuda
}  // namespace fastconv
