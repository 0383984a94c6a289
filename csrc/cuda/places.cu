#include "cuda/places.h"

#include "cuda/for_images.h"
#include "cuda/kernels/places.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

void adaptive_max_pool2d(const AdaptiveMaxPool2d& p, Stream stream) {
  for_images("adaptive_max_pool2d", p.n, p.oh, p.ow, p.c, [&](const ImageItems& items) {
    launch({"adaptive_max_pool2d", ceil_div(items.items, kImageThreads), kImageThreads, 0, stream},
           adaptive_max_pool2d_kernel, AdaptiveMaxPool2dParams{p, items}, Elements{p.n * p.ih * p.iw * p.c});
  });
}

void adaptive_max_pool2d_backward(const AdaptiveMaxPool2d& p, Stream stream) {
  for_images("adaptive_max_pool2d_backward", p.n, p.ih, p.iw, p.c, [&](const ImageItems& items) {
    launch({"adaptive_max_pool2d_backward", ceil_div(items.items, kImageThreads), kImageThreads, 0, stream},
           adaptive_max_pool2d_backward_kernel, AdaptiveMaxPool2dParams{p, items}, Elements{p.n * p.ih * p.iw * p.c});
  });
}

void gather_planes(const PlaneCopy& p, Stream stream) {
  const std::int64_t count = p.n * p.pixels * p.c;
  launch({"gather_planes", ceil_div(count, kImageThreads), kImageThreads, 0, stream}, gather_planes_kernel, p,
         Elements{count});
}

void scatter_planes(const PlaneCopy& p, Stream stream) {
  launch({"scatter_planes", ceil_div(p.n * p.c, kImageThreads), kImageThreads, 0, stream}, scatter_planes_kernel, p,
         Elements{p.n * p.plane * p.c});
}

}  // namespace cuda
}  // namespace fastconv
