// Convolution on the tensor cores of sm_90a, through TMA: what it takes, and the way to it.
#pragma once

#include "cuda/conv2d_backward_mma.h"

namespace fastconv {
namespace cuda {

// Why the kernel does not take a forward pass, or a gradient, or null if it does. Reads what choose_conv2d_forward(),
// choose_conv2d_backward_input() and choose_conv2d_backward_weight() read.
const char* conv2d_wgmma_refuses(const Conv2dShape& shape, ElementType type, Precision precision, bool aligned,
                                 int compute_capability);
const char* conv2d_backward_input_wgmma_refuses(const Conv2dShape& shape, ElementType type, Precision precision,
                                                bool aligned, int compute_capability);
const char* conv2d_backward_weight_wgmma_refuses(const Conv2dShape& shape, ElementType type, Precision precision,
                                                 bool aligned, int compute_capability);

// The choice where it does.
Conv2dForwardChoice choose_conv2d_wgmma(const Conv2dShape& shape);
Conv2dBackwardChoice choose_conv2d_backward_input_wgmma(const Conv2dShape& shape);
Conv2dBackwardChoice choose_conv2d_backward_weight_wgmma(const Conv2dShape& shape);

// Each compiled by itself.
Conv2dForwardMma conv2d_forward_wgmma_tf32, conv2d_forward_wgmma_float16, conv2d_forward_wgmma_bfloat16;
Conv2dBackwardInputMma conv2d_backward_input_wgmma_float16, conv2d_backward_input_wgmma_bfloat16;
Conv2dBackwardWeightMma conv2d_backward_weight_wgmma_float16, conv2d_backward_weight_wgmma_bfloat16;

}  // namespace cuda
}  // namespace fastconv
