// Depthwise convolution on a device: groups == input channels, any multiplier, filter, stride, padding and dilation.
// Layouts as in conv2d.h; all arrays are of `type`, sums are float32.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"
#include "cuda/element_type.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

void depthwise_conv2d_forward(const Conv2dShape& shape, ElementType type, const void* input, const void* weight,
                              const void* bias, void* output, bool relu, Stream stream);
// mask, or null: one bit per element of grad_input, as relu_forward writes them; zero where it is not set.
void depthwise_conv2d_backward_input(const Conv2dShape& shape, ElementType type, const void* weight,
                                     const void* grad_output, const std::uint32_t* mask, void* grad_input,
                                     Stream stream);
// Bytes that the gradient of the weight needs: at most 16 MB, or none; by the geometry alone.
std::int64_t depthwise_conv2d_backward_weight_workspace(const Conv2dShape& shape);
// wide: grad_weight is of float32 whatever `type` is.
void depthwise_conv2d_backward_weight(const Conv2dShape& shape, ElementType type, bool wide, const void* input,
                                      const void* grad_output, void* grad_weight, void* workspace, bool accumulate,
                                      Stream stream);

}  // namespace cuda
}  // namespace fastconv
