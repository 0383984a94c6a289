#include "cuda/conv2d_backward_input_wgmma.h"

namespace fastconv {
namespace cuda {

void conv2d_backward_input_wgmma_bfloat16(const Conv2dShape& shape, const Conv2dBackwardChoice& choice,
                                          const void* weight, const void* grad_output, const std::uint32_t* mask,
                                          void* grad_input, Stream stream) {
  run_conv2d_backward_input_wgmma<BFloat16>(shape, ElementType::kBFloat16, choice, weight, grad_output, mask,
                                            grad_input, stream);
}

}  // namespace cuda
}  // namespace fastconv
