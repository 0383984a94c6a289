#include "cuda/pad2d.h"

#include <stdexcept>

#include "cuda/aligned.h"
#include "cuda/for_images.h"
#include "cuda/kernels/pad2d.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

void launch_pad2d(const char* op, const Pad2d& p, std::int32_t rows, std::int32_t columns,
                  void (*in_fours)(Pad2dParams), void (*one)(Pad2dParams), Stream stream) {
  const bool fours = p.c % 4 == 0 && aligned(p.input, 16) && aligned(p.output, 16);
  for_images(op, p.n, rows, columns, fours ? p.c / 4 : p.c, [&](const ImageItems& items) {
    launch({op, ceil_div(items.items, kImageThreads), kImageThreads, 0, stream}, fours ? in_fours : one,
           Pad2dParams{p, items}, Elements{p.n * rows * columns * p.c});
  });
}

}  // namespace

Border parse_border(const std::string& mode) {
  if (mode == "reflect") return Border::reflect;
  if (mode == "replicate") return Border::replicate;
  throw std::invalid_argument("pad2d: mode must be 'reflect' or 'replicate', got '" + mode + "'");
}

void pad2d(const Pad2d& p, Stream stream) {
  launch_pad2d("pad2d", p, p.rows.padded, p.columns.padded, pad2d_kernel<4>, pad2d_kernel<1>, stream);
}

void pad2d_backward(const Pad2d& p, Stream stream) {
  launch_pad2d("pad2d_backward", p, p.rows.size, p.columns.size, pad2d_backward_kernel<4>, pad2d_backward_kernel<1>,
               stream);
}

void pixel_shuffle(const PixelShuffle& p, Stream stream) {
  for_images("pixel_shuffle", p.n, p.h * p.r, p.w * p.r, p.c, [&](const ImageItems& items) {
    launch({"pixel_shuffle", ceil_div(items.items, kImageThreads), kImageThreads, 0, stream}, pixel_shuffle_kernel,
           PixelShuffleParams{p, items}, Elements{p.n * p.h * p.w * p.r * p.r * p.c});
  });
}

}  // namespace cuda
}  // namespace fastconv
