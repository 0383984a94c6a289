#include "cuda/conv2d_wgmma_launch.h"

namespace fastconv {
namespace cuda {

void conv2d_forward_wgmma_float16(const Conv2dShape& shape, const Conv2dForwardChoice& choice, const void* input,
                                  const void* weight, const void* bias, void* output, bool relu, Stream stream) {
  run_conv2d_forward_wgmma<Float16>(shape, ElementType::kFloat16, choice, input, weight, bias, output, relu, stream);
}

}  // namespace cuda
}  // namespace fastconv
