#include "cpu/elementwise.h"

#include "cpu/isa.h"

namespace fastconv {

template <class T>
void relu_forward(const T* input, std::int64_t count, T* output) {
  const auto kernel = active_kernel_set<T>().elementwise.relu;
  for_each_block(count, 2 * sizeof(T),
                 [&](std::int64_t i, std::int64_t length) { kernel(input + i, length, output + i); });
}

template <class T>
void relu_backward(const T* grad_output, const T* output, std::int64_t count, T* grad_input) {
  const auto kernel = active_kernel_set<T>().elementwise.relu_backward;
  for_each_block(count, 3 * sizeof(T), [&](std::int64_t i, std::int64_t length) {
    kernel(grad_output + i, output + i, length, grad_input + i);
  });
}

template <class T>
void add(const T* a, const T* b, std::int64_t count, T* output) {
  const auto kernel = active_kernel_set<T>().elementwise.add;
  for_each_block(count, 3 * sizeof(T),
                 [&](std::int64_t i, std::int64_t length) { kernel(a + i, b + i, length, output + i); });
}

template void relu_forward(const float*, std::int64_t, float*);
template void relu_forward(const double*, std::int64_t, double*);
template void relu_backward(const float*, const float*, std::int64_t, float*);
template void relu_backward(const double*, const double*, std::int64_t, double*);
template void add(const float*, const float*, std::int64_t, float*);
template void add(const double*, const double*, std::int64_t, double*);

}  // namespace fastconv
