#include "cuda/conv2d_forward_mma.h"

namespace fastconv {
namespace cuda {

void conv2d_forward_mma_tf32x3(const Conv2dShape& shape, const Conv2dForwardChoice& choice, const void* input,
                               const void* weight, const void* bias, void* output, bool relu, Stream stream) {
  run_conv2d_forward_mma<MmaTf32x3>(shape, choice, input, weight, bias, output, relu, stream);
}

}  // namespace cuda
}  // namespace fastconv
