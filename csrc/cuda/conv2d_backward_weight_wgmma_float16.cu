#include "cuda/conv2d_backward_weight_wgmma.h"

namespace fastconv {
namespace cuda {

void conv2d_backward_weight_wgmma_float16(const Conv2dShape& shape, const Conv2dBackwardChoice& choice,
                                          std::int64_t slices, const void* input, const void* grad_output,
                                          void* grad_weight, bool wide, void* workspace, bool accumulate,
                                          Stream stream) {
  run_conv2d_backward_weight_wgmma<Float16>(shape, ElementType::kFloat16, choice, slices, input, grad_output,
                                            grad_weight, wide, workspace, accumulate, stream);
}

}  // namespace cuda
}  // namespace fastconv
