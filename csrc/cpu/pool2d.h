// Pooling on the CPU, in either layout, without copies. Indices are flat in H*W of the input plane. Outputs are fully
// written, and no result depends on the number of threads or on the other images of the batch.
#pragma once

#include <cstdint>

#include "core/layout.h"
#include "core/pool2d_shape.h"

namespace fastconv {

// indices may be null. Of equal maxima the first wins; NaN propagates, and the first NaN has the index.
template <class T>
void max_pool2d_forward(const Pool2dShape& shape, const T* input, T* output, std::int32_t* indices, Layout layout);

// output, the pooled output, may be null; given, gradient is dropped where it is <= 0 (ReLU before the pooling).
// An index outside the plane takes no part.
template <class T>
void max_pool2d_backward(const Pool2dShape& shape, const T* grad_output, const std::int32_t* indices, const T* output,
                         T* grad_input, Layout layout);

struct AvgPool2dOptions {
  bool count_include_pad = true;
  std::int64_t divisor_override = 0;  // 0: none
};

template <class T>
void avg_pool2d_forward(const Pool2dShape& shape, const AvgPool2dOptions& options, const T* input, T* output,
                        Layout layout);
template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, const AvgPool2dOptions& options, const T* grad_output, T* grad_input,
                         Layout layout);

}  // namespace fastconv
