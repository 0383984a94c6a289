// The gradient of the weight where few pixels meet many channels, or most taps lie outside the image: all pixels of an
// image are summed in registers, tap by tap over the outputs whose tap lies inside, and each part of the gradient is
// stored once, in its final order.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"

namespace fastconv {

template <class T>
bool takes_whole_weight(const Conv2dShape& shape);
template <class T>
void run_whole_weight(const Conv2dShape& shape, const T* input, const T* grad_output, T* grad_weight, bool accumulate);
template <class T>
std::int64_t whole_weight_scratch_bytes(const Conv2dShape& shape);

}  // namespace fastconv
