#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/elementwise.h"
#include "cuda/kernels/dropout.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

void dropout(ElementType type, const void* input, void* output, std::int64_t count, double p, std::uint64_t seed,
             std::uint64_t offset, const std::int64_t* counter, Stream stream) {
  const double below = (1 - p) * 4294967296.0;
  const auto keep_below = static_cast<std::uint32_t>(below < 4294967295.0 ? below : 4294967295.0);
  const bool wide = aligned(input, 16) && aligned(output, 16);
  with_element(type, [&](auto element) {
    using T = decltype(element);
    const DropoutParams<T> params{
        static_cast<const T*>(input),   static_cast<T*>(output), counter, count, seed, offset, keep_below,
        static_cast<float>(1 / (1 - p))};
    launch({"dropout", ceil_div(count, kOwnBlock<T>), kElementwiseThreads, 0, stream},
           wide ? dropout_kernel<T, true> : dropout_kernel<T, false>, params, Elements{count});
  });
}

}  // namespace cuda
}  // namespace fastconv
