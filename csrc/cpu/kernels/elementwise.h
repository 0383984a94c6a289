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

// output[i] = body(i, lanes), every vector once. Streamed stores want whole cache lines: the elements before the first
// are stored apart.
template <class T, class Body>
inline __attribute__((always_inline)) void write_vectors(std::int64_t count, T* output, bool stream, Body&& body) {
  constexpr int kSize = Vec<T>::kSize;
  constexpr std::uintptr_t kLine = 64;
  const auto past = reinterpret_cast<std::uintptr_t>(output) % kLine;
  if (!stream || past % sizeof(T) != 0) {
    for_each_vector<T>(count, [&](std::int64_t i, int lanes) { store_lanes(body(i, lanes), output + i, lanes); });
    return;
  }
  std::int64_t i = 0, head = past ? static_cast<std::int64_t>((kLine - past) / sizeof(T)) : 0;
  head = head < count ? head : count;
  for (; i < head; i += kSize) {
    const int lanes = lanes_from(i, head, kSize);
    body(i, lanes).store_partial(output + i, lanes);
  }
  for (i = head; i + kSize <= count; i += kSize) body(i, kSize).stream(output + i);
  if (i < count) body(i, static_cast<int>(count - i)).store_partial(output + i, static_cast<int>(count - i));
  Vec<T>::fence();
}

// NaN stays NaN and -0.0 becomes +0.0.
template <class T>
void relu(const T* input, std::int64_t count, T* output, bool stream) {
  const Vec<T> zero = Vec<T>::zero();
  write_vectors(count, output, stream, [=](std::int64_t i, int lanes) {
    const Vec<T> x = load_lanes(input + i, lanes);
    return select(not_less_equal(x, zero), x, zero);
  });
}

template <class T>
void relu_backward(const T* grad_output, const T* output, std::int64_t count, T* grad_input, bool stream) {
  const Vec<T> zero = Vec<T>::zero();
  write_vectors(count, grad_input, stream, [=](std::int64_t i, int lanes) {
    const typename Vec<T>::Mask open = not_less_equal(load_lanes(output + i, lanes), zero);
    return select(open, load_lanes(grad_output + i, lanes), zero);
  });
}

template <class T>
void add(const T* a, const T* b, std::int64_t count, T* output, bool stream) {
  write_vectors(count, output, stream,
                [=](std::int64_t i, int lanes) { return load_lanes(a + i, lanes) + load_lanes(b + i, lanes); });
}

template <class T>
void copy(const T* input, std::int64_t count, T* output, bool stream) {
  write_vectors(count, output, stream, [=](std::int64_t i, int lanes) { return load_lanes(input + i, lanes); });
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
