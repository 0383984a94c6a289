// Convolution on a device. Pointers are device pointers; activations lie as (N, H, W, C), weights as (O, KH, KW,
// C/groups). Nothing here allocates, waits, or looks at the data.
#pragma once

#include "core/conv2d_shape.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// output = input * weight + bias, then ReLU if asked for; bias may be null. float32 in IEEE arithmetic.
void conv2d_forward(const Conv2dShape& shape, const float* input, const float* weight, const float* bias, float* output,
                    bool relu, Stream stream);

}  // namespace cuda
}  // namespace fastconv
