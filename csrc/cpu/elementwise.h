// Elementwise operations on the CPU; the output may be the very memory of an input.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"
#include "cpu/threads.h"

namespace fastconv {

template <class T>
void relu_forward(const T* input, std::int64_t count, T* output);
// grad_input = grad_output where output is positive or NaN, else 0.
template <class T>
void relu_backward(const T* grad_output, const T* output, std::int64_t count, T* grad_input);
template <class T>
void add(const T* a, const T* b, std::int64_t count, T* output);

// Runs function(first, length) over blocks of `count` elements, of which `bytes` each are moved.
template <class Function>
void for_each_block(std::int64_t count, std::int64_t bytes, Function&& function) {
  constexpr std::int64_t kBlock =
      8192;  // whole cache lines, small enough to share out, large enough to forget the call
  parallel_for(ceil_div(count, kBlock), threads_for_bytes(static_cast<double>(count) * bytes),
               [&](std::int64_t task, int) {
                 const std::int64_t first = task * kBlock;
                 function(first, std::min(kBlock, count - first));
               });
}

}  // namespace fastconv
