#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/elementwise.h"
#include "cuda/kernels/dropout.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

void dropout(const float* input, float* output, std::int64_t count, double p, std::uint64_t seed, std::uint64_t offset,
             const std::int64_t* counter, Stream stream) {
  const double below = (1 - p) * 4294967296.0;
  const auto keep_below = static_cast<std::uint32_t>(below < 4294967295.0 ? below : 4294967295.0);
  const DropoutParams params{input, output, counter, count, seed, offset, keep_below, static_cast<float>(1 / (1 - p))};
  const bool in_fours = aligned(input, 16) && aligned(output, 16);
  launch({"dropout", ceil_div(count, kPerBlock), kElementwiseThreads, 0, stream},
         in_fours ? dropout_kernel<true> : dropout_kernel<false>, params, Elements{count});
}

}  // namespace cuda
}  // namespace fastconv
