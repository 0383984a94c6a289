// Gradients of convolution on tensor cores: of float32 with less exact products, of float16 and of bfloat16. As in
// conv2d.h, pointers are device pointers, and nothing allocates, waits, or looks at the data. Sums are float32.
#pragma once

#include <string>

#include "cuda/conv2d_mma.h"

namespace fastconv {
namespace cuda {

struct Conv2dBackwardChoice {
  const char* kernel;
  bool tensor_cores;   // else the function of conv2d.h, and the rest says nothing
  int rows, columns;   // of a tile
  int copy_bytes;      // of one copy to shared memory
  int stages;          // slabs in shared memory
  bool wgmma = false;  // conv2d_wgmma.h: TMA copies whole boxes
  std::string name() const;
};

// Which kernel computes a gradient. Reads what choose_conv2d_forward() does.
Conv2dBackwardChoice choose_conv2d_backward_input(const Conv2dShape& shape, ElementType type, Precision precision,
                                                  bool aligned, int compute_capability, int multiprocessors);

using Conv2dBackwardInputMma = void(const Conv2dShape& shape, const Conv2dBackwardChoice& choice, const void* weight,
                                    const void* grad_output, const std::uint32_t* mask, void* grad_input,
                                    Stream stream);
Conv2dBackwardInputMma conv2d_backward_input_mma_tf32, conv2d_backward_input_mma_tf32x3,
    conv2d_backward_input_mma_float16, conv2d_backward_input_mma_bfloat16;  // each compiled by itself

// As conv2d_backward_input(), with all arrays of `type`.
std::int64_t conv2d_backward_input_mma_workspace_bytes(const Conv2dShape& shape, ElementType type, Precision precision);
void conv2d_backward_input_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* weight,
                               const void* grad_output, const std::uint32_t* mask, void* grad_input,
                               Workspace workspace, Stream stream);

// As conv2d_backward_weight(), with input and grad_output of `type`; grad_weight likewise, or float32 where `wide`. The
// workspace serves every GPU.
Conv2dBackwardChoice choose_conv2d_backward_weight(const Conv2dShape& shape, ElementType type, Precision precision,
                                                   bool aligned, int compute_capability);
std::int64_t conv2d_backward_weight_mma_workspace_bytes(const Conv2dShape& shape, ElementType type,
                                                        Precision precision);

using Conv2dBackwardWeightMma = void(const Conv2dShape& shape, const Conv2dBackwardChoice& choice, std::int64_t slices,
                                     const void* input, const void* grad_output, void* grad_weight, bool wide,
                                     void* workspace, bool accumulate, Stream stream);
Conv2dBackwardWeightMma conv2d_backward_weight_mma_tf32, conv2d_backward_weight_mma_tf32x3,
    conv2d_backward_weight_mma_float16, conv2d_backward_weight_mma_bfloat16;  // each compiled by itself

void conv2d_backward_weight_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* input,
                                const void* grad_output, void* grad_weight, bool wide, void* workspace, bool accumulate,
                                Stream stream);

}  // namespace cuda
}  // namespace fastconv
