// Drivers of copies of parts, and of resampling.
#include "cuda/images.h"

#include "cuda/aligned.h"
#include "cuda/for_images.h"
#include "cuda/kernels/images.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

bool in_fours(const Part& part) { return part.n_step % 4 == 0 && part.h_step % 4 == 0 && part.w_step % 4 == 0; }

}  // namespace

void strided_copy(const StridedCopy& p, Stream stream) {
  const bool fours =
      p.c % 4 == 0 && in_fours(p.from) && in_fours(p.to) && aligned(p.input, 16) && aligned(p.output, 16);
  for_images("copy", p.n, p.h, p.w, fours ? p.c / 4 : p.c, [&](const ImageItems& items) {
    launch({"strided_copy", ceil_div(items.items, kImageThreads), kImageThreads, 0, stream},
           fours ? strided_copy_kernel<4> : strided_copy_kernel<1>, StridedCopyParams{p, items},
           Elements{p.n * p.h * p.w * p.c});
  });
}

void resample2d(const Resample2d& p, Stream stream) {
  const bool fours = p.c % 4 == 0 && aligned(p.input, 16) && aligned(p.output, 16);
  for_images("resample2d", p.n, p.oh, p.ow, fours ? p.c / 4 : p.c, [&](const ImageItems& items) {
    launch({"resample2d", ceil_div(items.items, kImageThreads), kImageThreads, 0, stream},
           fours ? resample2d_kernel<4> : resample2d_kernel<1>, Resample2dParams{p, items},
           Elements{p.n * p.oh * p.ow * p.c});
  });
}

}  // namespace cuda
}  // namespace fastconv
