// Depthwise convolution (one filter per channel), channels-last; conv2d.h's functions choose it.
#pragma once

#include "core/conv2d_shape.h"
#include "cpu/kernels/conv_kernels.h"

namespace fastconv {

inline bool takes_depthwise(const Conv2dShape& s) { return s.groups > 1 && s.groups == s.ic && s.groups == s.oc; }

// packed: [kh][kw][channels]
template <class T>
void pack_depthwise_weight(const Conv2dShape& shape, const T* weight, T* packed);
template <class T>
void depthwise_forward(const Conv2dShape& shape, const T* input, const T* packed, const T* bias, T* output,
                       Activation activation);
template <class T>
void depthwise_backward_input(const Conv2dShape& shape, const T* packed, const T* grad_output, T* grad_input);
template <class T>
void depthwise_backward_weight(const Conv2dShape& shape, const T* input, const T* grad_output, T* grad_weight,
                               bool accumulate);
std::int64_t depthwise_backward_weight_elements(const Conv2dShape& shape);  // scratch

}  // namespace fastconv
