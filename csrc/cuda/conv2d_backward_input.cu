// The driver of the input's gradient: phases, tile, blocks.
#include <numeric>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_params.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/kernels/conv2d_backward_input_simt.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

PhaseAxis phase_axis(std::int64_t size, std::int64_t output_size, std::int64_t kernel, std::int64_t stride,
                     std::int64_t pad, std::int64_t dilation) {
  // With one output any stride is the right one. This one leaves each phase one tap at most: a filter as large as the
  // image is then not tried at places where it cannot lie.
  if (output_size == 1) stride = dilation * (kernel - 1) + 1;
  const std::int64_t common = std::gcd(stride, dilation), step = stride / common;
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  return {narrow(size),
          narrow(kernel),
          narrow(stride),
          narrow(pad),
          narrow(dilation),
          narrow(step),
          narrow(dilation / common),
          narrow(ceil_div(size, stride)),
          narrow(ceil_div(kernel, step))};
}

template <class Tile, int kVector>
void launch_simt(const Conv2dShape& shape, Conv2dBackwardInputParams p, Stream stream) {
  const std::int64_t most_rows = std::int64_t{p.images} * p.h.most_pixels * p.w.most_pixels;
  p.row_tiles = static_cast<std::int32_t>(ceil_div(most_rows, Tile::kRows));
  p.column_tiles = static_cast<std::int32_t>(ceil_div(p.geometry.icg, Tile::kColumns));
  const std::int64_t tiles = checked_mul(std::int64_t{p.row_tiles} * p.column_tiles, shape.groups, "conv2d");
  const std::int64_t blocks = checked_mul(tiles, std::int64_t{p.h.stride} * p.w.stride, "conv2d");
  launch({"conv2d_backward_input_simt", blocks, kSimtThreads, Tile::kSharedBytes, stream},
         conv2d_backward_input_simt<Tile, kVector>, p, shape);
}

}  // namespace

void conv2d_backward_input(const Conv2dShape& shape, const float* weight, const float* grad_output,
                           const std::uint32_t* mask, float* grad_input, Stream stream) {
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_backward_input(shape, weight, grad_output, mask, grad_input, stream);
  const char* op = "conv2d_backward_input";
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 30;  // taps reach some beyond the last
  const std::int64_t image = shape.ih * shape.iw;
  to_int32(op, image, std::int64_t{1} << 30, shape);
  const std::int64_t step =
      std::max<std::int64_t>(1, std::min(shape.n, kMostPixels / std::max(image, shape.oh * shape.ow)));
  for (std::int64_t n = 0; n < shape.n; n += step) {
    const std::int64_t images = std::min(step, shape.n - n);
    Conv2dBackwardInputParams p{};
    p.grad_output = grad_output + n * shape.oh * shape.ow * shape.oc;
    p.grad_input = grad_input + n * image * shape.ic;
    p.weight = weight, p.mask = mask, p.mask_first = n * image * shape.ic;
    p.images = static_cast<std::int32_t>(images);
    const Conv2dGeometry& g = p.geometry = conv2d_geometry(op, shape, images);
    to_int32(op, checked_mul(shape.kh * shape.kw, shape.ocg(), op), std::int64_t{1} << 30, shape);
    p.h = phase_axis(shape.ih, shape.oh, shape.kh, shape.stride_h, shape.pad_top, shape.dilation_h);
    p.w = phase_axis(shape.iw, shape.ow, shape.kw, shape.stride_w, shape.pad_left, shape.dilation_w);
    for (int fewer_w = 0; fewer_w < 2; ++fewer_w) {
      const std::int32_t w = std::max(1, p.w.most_pixels - fewer_w);
      p.by_row[fewer_w] = FastDivide(w);
      for (int fewer_h = 0; fewer_h < 2; ++fewer_h)
        p.by_plane[fewer_h][fewer_w] = FastDivide(std::max(1, p.h.most_pixels - fewer_h) * w);
      p.by_taps[fewer_w] = FastDivide(std::max(1, p.w.most_taps - fewer_w));
    }
    p.by_ocg = FastDivide(g.ocg);
    if (g.icg % 4 == 0 && g.ocg % 4 == 0 && aligned(grad_output, 16) && aligned(weight, 16) &&
        aligned(grad_input, 16)) {
      if (g.icg > 64)
        launch_simt<BackwardInputTile<128>, 4>(shape, p, stream);
      else if (g.icg > 16)
        launch_simt<BackwardInputTile<64>, 4>(shape, p, stream);
      else
        launch_simt<BackwardInputTile<16>, 4>(shape, p, stream);
    } else if (g.icg > 16) {
      launch_simt<BackwardInputTile<64>, 1>(shape, p, stream);
    } else {
      launch_simt<BackwardInputTile<16>, 1>(shape, p, stream);
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
