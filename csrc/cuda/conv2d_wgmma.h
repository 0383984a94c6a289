// Convolution on the tensor cores of sm_90a, through TMA: what it takes, and the way to it.
#pragma once

#include "cuda/conv2d_mma.h"

namespace fastconv {
namespace cuda {

// Why this kernel does not take a forward pass, or null if it does. Reads what choose_conv2d_forward() reads.
const char* conv2d_wgmma_refuses(const Conv2dShape& shape, ElementType type, Precision precision, bool aligned,
                                 int compute_capability);

// Its choice where it does.
Conv2dForwardChoice choose_conv2d_wgmma(const Conv2dShape& shape);

Conv2dForwardMma conv2d_forward_wgmma_tf32, conv2d_forward_wgmma_float16,
    conv2d_forward_wgmma_bfloat16;  // each compiled by itself

}  // namespace cuda
}  // namespace fastconv
