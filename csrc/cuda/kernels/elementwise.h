// ReLU with one bit per element for its backward, addition, fill and copy. A thread has four neighbours: 16 bytes in
// one access.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

constexpr int kElementwiseThreads = 256;
constexpr int kPerThread = 4;
constexpr int kPerBlock = kElementwiseThreads * kPerThread;

struct ElementwiseParams {
  const float* input;
  float* output;
  std::uint32_t* mask;  // bit i % 32 of word i / 32: element i was above 0, or NaN
  std::int64_t count;
  float value;
};

FASTCONV_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(block_x()) * kPerBlock + thread_x() * kPerThread;
}

// Elements past the end are zeros. kWide: the array begins at a multiple of 16 bytes.
template <bool kWide>
FASTCONV_DEVICE Float4 load_four(const float* from, std::int64_t at, std::int64_t count) {
  if (kWide && at + kPerThread <= count) return load<Float4>(from + at);
  Float4 four = {};
  for (int i = 0; i < kPerThread; ++i)
    if (at + i < count) four.at[i] = from[at + i];
  return four;
}
template <bool kWide>
FASTCONV_DEVICE void store_four(float* to, std::int64_t at, std::int64_t count, const Float4& four) {
  if (kWide && at + kPerThread <= count) {
    store(to + at, four);
    return;
  }
  for (int i = 0; i < kPerThread; ++i)
    if (at + i < count) to[at + i] = four.at[i];
}

template <bool kWide>
FASTCONV_KERNEL relu_forward_kernel(ElementwiseParams p) {
  const std::int64_t at = first_element();
  Float4 x = load_four<kWide>(p.input, at, p.count);
  std::uint32_t bits = 0;
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    const bool passes = x.at[i] > 0 || x.at[i] != x.at[i];
    bits |= static_cast<std::uint32_t>(passes) << i;
    x.at[i] = passes ? x.at[i] : 0;
  }
  store_four<kWide>(p.output, at, p.count, x);
  if (!p.mask) return;
  // Eight threads have the bits of one word.
  bits <<= lane() % 8 * 4;
  bits |= shuffle_xor(bits, 1);
  bits |= shuffle_xor(bits, 2);
  bits |= shuffle_xor(bits, 4);
  if (lane() % 8 == 0 && at < p.count) p.mask[at / 32] = bits;
}

// input: the gradient of the output. NaN let the gradient through: what it meets is NaN anyway.
template <bool kWide>
FASTCONV_KERNEL relu_backward_kernel(ElementwiseParams p) {
  const std::int64_t at = first_element();
  if (at >= p.count) return;
  Float4 gradient = load_four<kWide>(p.input, at, p.count);
  const std::uint32_t bits = p.mask[at / 32] >> (at % 32);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i)
    if (!(bits >> i & 1)) gradient.at[i] = 0;
  store_four<kWide>(p.output, at, p.count, gradient);
}

struct PairParams {
  const float* first;
  const float* second;
  float* output;
  std::int64_t count;
};

// first: the gradient of the output; second: the output, or the input.
template <bool kWide>
FASTCONV_KERNEL relu_backward_output_kernel(PairParams p) {
  const std::int64_t at = first_element();
  Float4 gradient = load_four<kWide>(p.first, at, p.count);
  const Float4 y = load_four<kWide>(p.second, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i)
    if (y.at[i] <= 0) gradient.at[i] = 0;
  store_four<kWide>(p.output, at, p.count, gradient);
}

template <bool kWide>
FASTCONV_KERNEL add_kernel(PairParams p) {
  const std::int64_t at = first_element();
  Float4 sum = load_four<kWide>(p.first, at, p.count);
  const Float4 other = load_four<kWide>(p.second, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) sum.at[i] += other.at[i];
  store_four<kWide>(p.output, at, p.count, sum);
}

template <bool kWide>
FASTCONV_KERNEL fill_kernel(ElementwiseParams p) {
  const Float4 four = {{p.value, p.value, p.value, p.value}};
  store_four<kWide>(p.output, first_element(), p.count, four);
}

template <bool kWide>
FASTCONV_KERNEL copy_kernel(ElementwiseParams p) {
  const std::int64_t at = first_element();
  store_four<kWide>(p.output, at, p.count, load_four<kWide>(p.input, at, p.count));
}

}  // namespace cuda
}  // namespace fastconv
