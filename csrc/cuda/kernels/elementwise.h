// ReLU with one bit per element for its backward, addition, fill and copy. A thread has 16 bytes of neighbours, in one
// access: 4 float32 or 8 of 16 bits.
#pragma once

#include <cstdint>

#include "cuda/kernels/floats.h"

namespace fastconv {
namespace cuda {

constexpr int kElementwiseThreads = 256;
template <class T>
constexpr int kOwn = 16 / static_cast<int>(sizeof(T));  // elements of a thread
template <class T>
constexpr int kOwnBlock = kElementwiseThreads * kOwn<T>;
constexpr int kPerThread = kOwn<float>, kPerBlock = kOwnBlock<float>;

template <class T>
struct ElementwiseParams {
  const T* input;
  T* output;
  std::uint32_t* mask;  // bit i % 32 of word i / 32: element i was above 0, or NaN
  std::int64_t count;
};

template <class T = float>
FASTCONV_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(block_x()) * kOwnBlock<T> + thread_x() * kOwn<T>;
}

// As they lie in memory, zeros past the end. kWide: the array begins at a multiple of 16 bytes.
template <bool kWide, class T>
FASTCONV_DEVICE Pack<T, kOwn<T>> load_raw(const T* from, std::int64_t at, std::int64_t count) {
  if (kWide && at + kOwn<T> <= count) return load<Pack<T, kOwn<T>>>(from + at);
  Pack<T, kOwn<T>> own = {};
  for (int i = 0; i < kOwn<T>; ++i)
    if (at + i < count) own.at[i] = from[at + i];
  return own;
}
template <bool kWide, class T>
FASTCONV_DEVICE void store_raw(T* to, std::int64_t at, std::int64_t count, const Pack<T, kOwn<T>>& own) {
  if (kWide && at + kOwn<T> <= count) {
    store(to + at, own);
    return;
  }
  for (int i = 0; i < kOwn<T>; ++i)
    if (at + i < count) to[at + i] = own.at[i];
}

template <bool kWide, class T>
FASTCONV_DEVICE Pack<float, kOwn<T>> load_own(const T* from, std::int64_t at, std::int64_t count) {
  return to_floats<kOwn<T>>(load_raw<kWide>(from, at, count));
}
template <bool kWide, class T>
FASTCONV_DEVICE void store_own(T* to, std::int64_t at, std::int64_t count, const Pack<float, kOwn<T>>& own) {
  store_raw<kWide>(to, at, count, from_floats<T>(own));
}
template <bool kWide>
FASTCONV_DEVICE Float4 load_four(const float* from, std::int64_t at, std::int64_t count) {
  return load_raw<kWide>(from, at, count);
}
template <bool kWide>
FASTCONV_DEVICE void store_four(float* to, std::int64_t at, std::int64_t count, const Float4& four) {
  store_raw<kWide>(to, at, count, four);
}

template <class T, bool kWide>
FASTCONV_KERNEL relu_forward_kernel(ElementwiseParams<T> p) {
  const std::int64_t at = first_element<T>();
  auto x = load_own<kWide>(p.input, at, p.count);
  std::uint32_t bits = 0;
  FASTCONV_UNROLL
  for (int i = 0; i < kOwn<T>; ++i) {
    const bool passes = x.at[i] > 0 || x.at[i] != x.at[i];
    bits |= static_cast<std::uint32_t>(passes) << i;
    x.at[i] = passes ? x.at[i] : 0;
  }
  store_own<kWide>(p.output, at, p.count, x);
  if (!p.mask) return;
  constexpr int kSharers = 32 / kOwn<T>;  // threads that have the bits of one word
  bits <<= lane() % kSharers * kOwn<T>;
  FASTCONV_UNROLL
  for (int mask = 1; mask < kSharers; mask *= 2) bits |= shuffle_xor(bits, mask);
  if (lane() % kSharers == 0 && at < p.count) p.mask[at / 32] = bits;
}

// input: the gradient of the output. NaN let the gradient through: what it meets is NaN anyway.
template <class T, bool kWide>
FASTCONV_KERNEL relu_backward_kernel(ElementwiseParams<T> p) {
  const std::int64_t at = first_element<T>();
  if (at >= p.count) return;
  auto gradient = load_raw<kWide>(p.input, at, p.count);
  const std::uint32_t bits = p.mask[at / 32] >> (at % 32);
  FASTCONV_UNROLL
  for (int i = 0; i < kOwn<T>; ++i)
    if (!(bits >> i & 1)) gradient.at[i] = T{};
  store_raw<kWide>(p.output, at, p.count, gradient);
}

template <class T>
struct PairParams {
  const T* first;
  const T* second;
  T* output;
  std::int64_t count;
};

// first: the gradient of the output; second: the output, or the input.
template <class T, bool kWide>
FASTCONV_KERNEL relu_backward_output_kernel(PairParams<T> p) {
  const std::int64_t at = first_element<T>();
  auto gradient = load_raw<kWide>(p.first, at, p.count);
  const auto y = load_own<kWide>(p.second, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kOwn<T>; ++i)
    if (y.at[i] <= 0) gradient.at[i] = T{};
  store_raw<kWide>(p.output, at, p.count, gradient);
}

template <class T, bool kWide>
FASTCONV_KERNEL add_kernel(PairParams<T> p) {
  const std::int64_t at = first_element<T>();
  auto sum = load_own<kWide>(p.first, at, p.count);
  const auto other = load_own<kWide>(p.second, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kOwn<T>; ++i) sum.at[i] += other.at[i];
  store_own<kWide>(p.output, at, p.count, sum);
}

template <class Word>
struct WordParams {
  const Word* input;
  Word* output;
  std::int64_t count;
  Word value;
};

template <class Word, bool kWide>
FASTCONV_KERNEL fill_kernel(WordParams<Word> p) {
  Pack<Word, kOwn<Word>> own;
  FASTCONV_UNROLL
  for (int i = 0; i < kOwn<Word>; ++i) own.at[i] = p.value;
  store_raw<kWide>(p.output, first_element<Word>(), p.count, own);
}

template <class Word, bool kWide>
FASTCONV_KERNEL copy_kernel(WordParams<Word> p) {
  const std::int64_t at = first_element<Word>();
  store_raw<kWide>(p.output, at, p.count, load_raw<kWide>(p.input, at, p.count));
}

}  // namespace cuda
}  // namespace fastconv
