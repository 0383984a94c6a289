// Elementwise operations on a block of memory: whole vectors, then the tail.
#pragma once

#include <cstdint>

#include "cpu/kernels/elementwise_kernels.h"
#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// body(i, lanes) for every vector of `count` elements.
template <class T, class Body>
inline __attribute__((always_inline)) void for_each_vector(std::int64_t count, Body&& body) {
  constexpr int kSize = Vec<T>::kSize;
  std::int64_t i = 0;
  for (; i + kSize <= count; i += kSize) body(i, kSize);
  if (i < count) body(i, static_cast<int>(count - i));
}

// NaN stays NaN and -0.0 becomes +0.0.
template <class T>
void relu(const T* input, std::int64_t count, T* output) {
  const Vec<T> zero = Vec<T>::zero();
  for_each_vector<T>(count, [=](std::int64_t i, int lanes) {
    const Vec<T> x = load_lanes(input + i, lanes);
    store_lanes(select(not_less_equal(x, zero), x, zero), output + i, lanes);
  });
}

template <class T>
void relu_backward(const T* grad_output, const T* output, std::int64_t count, T* grad_input) {
  const Vec<T> zero = Vec<T>::zero();
  for_each_vector<T>(count, [=](std::int64_t i, int lanes) {
    const typename Vec<T>::Mask open = not_less_equal(load_lanes(output + i, lanes), zero);
    store_lanes(select(open, load_lanes(grad_output + i, lanes), zero), grad_input + i, lanes);
  });
}

template <class T>
void add(const T* a, const T* b, std::int64_t count, T* output) {
  for_each_vector<T>(count, [=](std::int64_t i, int lanes) {
    store_lanes(load_lanes(a + i, lanes) + load_lanes(b + i, lanes), output + i, lanes);
  });
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
