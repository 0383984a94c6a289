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

// The yardstick of all that is bound by memory: a copy on all threads, plain or streamed.
template <class T>
void copy(const T* input, std::int64_t count, T* output, bool stream);

// Runs function(first, length) over blocks of `count` elements on `threads`.
template <class Function>
void for_each_block(std::int64_t count, std::int64_t block, int threads, Function&& function) {
  parallel_for(ceil_div(count, block), threads, [&](std::int64_t task, int) {
    const std::int64_t first = task * block;
    function(first, std::min(block, count - first));
  });
}

// Whole cache lines, small enough to share out, large enough to forget the call; streamed ones wait for a fence.
constexpr std::int64_t kBlock = 8192, kStreamedBlock = 65536;

// The same, `bytes` being moved for every element.
template <class Function>
void for_each_block(std::int64_t count, std::int64_t bytes, Function&& function) {
  for_each_block(count, kBlock, threads_for_bytes(static_cast<double>(count) * bytes), function);
}

}  // namespace fastconv
