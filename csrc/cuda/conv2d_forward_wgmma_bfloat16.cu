#include "cuda/conv2d_wgmma_launch.h"

namespace fastconv {
namespace cuda {

void conv2d_forward_wgmma_bfloat16(const Conv2dShape& shape, const Conv2dForwardChoice& choice, const void* input,
                                   const void* weight, const void* bias, void* output, bool relu, Stream stream) {
  run_conv2d_forward_wgmma<BFloat16>(shape, ElementType::kBFloat16, choice, input, weight, bias, output, relu, stream);
}

}  // namespace cuda
}  // namespace fastconv
