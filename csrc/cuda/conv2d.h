// Convolution on a device. Pointers are device pointers; activations lie as (N, H, W, C), weights as (O, KH, KW,
// C/groups). Nothing here allocates, waits, or looks at the data.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"
#include "cuda/float16.h"
#include "cuda/stream.h"
#include "cuda/workspace.h"

namespace fastconv {
namespace cuda {

// output = input * weight + bias, then ReLU if asked for; bias may be null. float32 in IEEE arithmetic. workspace: it
// is quicker on the current device with as many bytes as the function says, at most 17.3 MB; with less the bits are the
// same.
std::int64_t conv2d_forward_workspace_bytes(const Conv2dShape& shape);
void conv2d_forward(const Conv2dShape& shape, const float* input, const float* weight, const float* bias, float* output,
                    bool relu, Workspace workspace, Stream stream);

// mask, or null: one bit per element of grad_input, as relu_forward writes them; zero where it is not set.
// workspace: as for conv2d_forward.
std::int64_t conv2d_backward_input_workspace_bytes(const Conv2dShape& shape);
void conv2d_backward_input(const Conv2dShape& shape, const float* weight, const float* grad_output,
                           const std::uint32_t* mask, float* grad_input, Workspace workspace, Stream stream);

// workspace: as many bytes as the function says, best aligned to 16; what it holds does not matter. accumulate: add to
// what grad_weight holds.
std::int64_t conv2d_backward_weight_workspace_bytes(const Conv2dShape& shape);
void conv2d_backward_weight(const Conv2dShape& shape, const float* input, const float* grad_output, float* grad_weight,
                            void* workspace, bool accumulate, Stream stream);

// Sums of grad_output over pixels = n * oh * ow; T is float, Float16 or BFloat16. mask, or null: take grad_output only
// where its bit is set; masked, or null: store it so, too (may be grad_output). grad_bias: of T, or of float where
// `wide`.
std::int64_t conv2d_backward_bias_workspace_bytes(std::int64_t pixels, std::int64_t channels,
                                                  std::int64_t element_bytes);
template <class T>
void conv2d_backward_bias(const T* grad_output, std::int64_t pixels, std::int64_t channels, const std::uint32_t* mask,
                          T* masked, void* grad_bias, bool wide, void* workspace, bool accumulate, Stream stream);

}  // namespace cuda
}  // namespace fastconv
