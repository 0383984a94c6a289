// Upsampling and adaptive pooling: the maps of Resample2dShape on channels-last images, or on planes.
#pragma once

#include <cstdint>

#include "core/layout.h"
#include "core/resample2d_shape.h"

namespace fastconv {

template <class T>
void resample2d_forward(const Resample2dShape& shape, const T* input, T* output, Layout layout);
template <class T>
void resample2d_backward(const Resample2dShape& shape, const T* grad_output, T* grad_input, Layout layout);
// The maximum under each output's window instead of the weighted sum, and where it was (row * W + column): the first,
// or the first NaN.
template <class T>
void resample2d_max(const Resample2dShape& shape, const T* input, T* output, std::int32_t* indices, Layout layout);

}  // namespace fastconv
