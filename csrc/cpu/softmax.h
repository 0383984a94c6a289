// Softmax on the CPU over the middle axis of (outer, classes, inner); inner = 1: rows. The exponentials are the C
// library's, sums are in double and run over the classes in order: results do not depend on the instruction set, the
// number of threads, the other vectors or the layout.
#pragma once

#include <cstdint>

namespace fastconv {

template <class T>
void softmax_forward(const T* input, std::int64_t outer, std::int64_t classes, std::int64_t inner, T* output);
// grad_input = output * (grad_output - sum(grad_output * output)); it may be the memory of grad_output or output.
template <class T>
void softmax_backward(const T* grad_output, const T* output, std::int64_t outer, std::int64_t classes,
                      std::int64_t inner, T* grad_input);

}  // namespace fastconv
