#include "cuda/loss.h"

#include "core/checked_math.h"
#include "cuda/kernels/cross_entropy.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

void softmax_cross_entropy(const CrossEntropyParams& p, Stream stream) {
  constexpr int kSharedBytes = kRowsPerBlock * static_cast<int>(sizeof(double));
  const Elements size{p.rows * p.classes};
  if (p.divisor) launch({"label_weight", 1, kLossThreads, kSharedBytes, stream}, label_weight_kernel, p, size);
  launch({"cross_entropy", ceil_div(p.rows, kRowsPerBlock), kLossThreads, 0, stream}, cross_entropy_kernel, p, size);
  launch({"loss_sum", 1, kLossThreads, kSharedBytes, stream}, loss_sum_kernel, p, size);
}

}  // namespace cuda
}  // namespace fastconv
