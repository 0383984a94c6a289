// Activations and their gradients on the CPU, element by element; the output may be the very memory of an input.
#pragma once

#include <cstdint>

#include "cpu/kernels/activation_kernels.h"

namespace fastconv {

template <class T>
void activation_forward(Pointwise function, T a, T b, const T* input, std::int64_t count, T* output);
// `saved` is the input of swish, gelu and softplus, the output of the others.
template <class T>
void activation_backward(Pointwise function, T a, T b, const T* grad_output, const T* saved, std::int64_t count,
                         T* grad_input);

}  // namespace fastconv
