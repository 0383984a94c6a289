#include "cpu/elementwise.h"

#include "cpu/isa.h"
#include "cpu/streaming.h"

namespace fastconv {

namespace {

// Runs function(first, length, stream). Results in the memory of an input are not streamed: their lines are at hand.
template <class Function>
void for_each_streamed_block(std::int64_t count, std::int64_t bytes, bool in_place, Function&& function) {
  const double moved = static_cast<double>(count) * static_cast<double>(bytes);
  const bool stream = !in_place && worth_streaming(moved);
  for_each_block(count, stream ? kStreamedBlock : kBlock, threads_for_bytes(moved),
                 [&](std::int64_t i, std::int64_t length) { function(i, length, stream); });
}

}  // namespace

template <class T>
void relu_forward(const T* input, std::int64_t count, T* output) {
  const auto kernel = active_kernel_set<T>().elementwise.relu;
  for_each_streamed_block(count, 2 * sizeof(T), input == output, [&](std::int64_t i, std::int64_t length, bool stream) {
    kernel(input + i, length, output + i, stream);
  });
}

template <class T>
void relu_backward(const T* grad_output, const T* output, std::int64_t count, T* grad_input) {
  const auto kernel = active_kernel_set<T>().elementwise.relu_backward;
  const bool in_place = grad_input == grad_output || grad_input == output;
  for_each_streamed_block(count, 3 * sizeof(T), in_place, [&](std::int64_t i, std::int64_t length, bool stream) {
    kernel(grad_output + i, output + i, length, grad_input + i, stream);
  });
}

template <class T>
void add(const T* a, const T* b, std::int64_t count, T* output) {
  const auto kernel = active_kernel_set<T>().elementwise.add;
  const bool in_place = output == a || output == b;
  for_each_streamed_block(count, 3 * sizeof(T), in_place, [&](std::int64_t i, std::int64_t length, bool stream) {
    kernel(a + i, b + i, length, output + i, stream);
  });
}

template <class T>
void copy(const T* input, std::int64_t count, T* output, bool stream) {
  const auto kernel = active_kernel_set<T>().elementwise.copy;
  for_each_block(count, stream ? kStreamedBlock : kBlock, max_threads(),
                 [&](std::int64_t i, std::int64_t length) { kernel(input + i, length, output + i, stream); });
}

template void relu_forward(const float*, std::int64_t, float*);
template void relu_forward(const double*, std::int64_t, double*);
template void relu_backward(const float*, const float*, std::int64_t, float*);
template void relu_backward(const double*, const double*, std::int64_t, double*);
template void add(const float*, const float*, std::int64_t, float*);
template void add(const double*, const double*, std::int64_t, double*);
template void copy(const float*, std::int64_t, float*, bool);
template void copy(const double*, std::int64_t, double*, bool);

}  // namespace fastconv
