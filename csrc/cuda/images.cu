// Drivers of copies of parts, and of resampling. Batches of more than 2^31 accesses go in several launches.
#include "cuda/images.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/images.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

// Calls run(items) for as many images at a time as 31 bits can number.
template <class Run>
void for_images(const char* op, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t accesses, const Run& run) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - kImageThreads;
  const std::int64_t image = checked_mul(checked_mul(h, w, op), accesses, op);
  if (image > kMost)
    throw std::invalid_argument(std::string(op) + ": an image must have at most " + std::to_string(kMost) +
                                " accesses, got " + std::to_string(image));
  if (image == 0) return;
  const auto number = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  for (std::int64_t first = 0; first < n; first += kMost / image) {
    const std::int64_t count = std::min(n - first, kMost / image);
    run(ImageItems{number(count * image), first, FastDivide(number(accesses)), FastDivide(number(w)),
                   FastDivide(number(h))});
  }
}

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
