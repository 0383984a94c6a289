// The second pass of sums that are split over blocks: the partial sums are added in the order of the slices, so that
// the result has the same bits in every run and on every GPU.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/float16.h"

namespace fastconv {
namespace cuda {

constexpr int kSumThreads = 256, kSumElements = 32, kSumParts = kSumThreads / kSumElements;
constexpr int kSumSharedBytes = kSumThreads * static_cast<int>(sizeof(float));

struct SumSlicesParams {
  const float* partial;  // [slices][count]
  float* output;
  std::int64_t count;
  std::int32_t slices;
  bool accumulate;  // add to what output holds
};

FASTCONV_DEVICE std::int64_t summed_element() {
  return static_cast<std::int64_t>(block_x()) * kSumElements + thread_x() % kSumElements;
}

// The first 32 threads of a block get the sum of their element, if there is one. All threads must come.
FASTCONV_DEVICE float sum_slices(const SumSlicesParams& p) {
  const std::int64_t element = summed_element();
  float sum = 0;
  if (element < p.count)
    for (std::int32_t slice = thread_x() / kSumElements; slice < p.slices; slice += kSumParts)
      sum += p.partial[slice * p.count + element];
  float* const parts = shared<float>();
  parts[thread_x()] = sum;
  sync();
  if (thread_x() >= kSumElements) return 0;
  for (int part = 1; part < kSumParts; ++part) sum += parts[part * kSumElements + thread_x()];
  return sum;
}

// One sum into a result of T, or of float where `wide`.
template <class T>
FASTCONV_DEVICE void put_sum(void* result, bool wide, bool accumulate, std::int64_t element, float sum) {
  if constexpr (sizeof(T) != sizeof(float)) {
    if (!wide) {
      T* const to = static_cast<T*>(result) + element;
      *to = from_float<T>(accumulate ? to_float(*to) + sum : sum);
      return;
    }
  }
  float* const to = static_cast<float*>(result) + element;
  *to = accumulate ? *to + sum : sum;
}

}  // namespace cuda
}  // namespace fastconv
