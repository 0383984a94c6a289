// What the pooling kernels share: strided loads of several taps, results past the caches, a check of indices.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline std::int64_t round_up_lanes(std::int64_t count) {
  constexpr std::int64_t kSize = Vec<T>::kSize;
  return (count + kSize - 1) / kSize * kSize;
}

// Whether whole vectors of windows at most 2 apart can be read from `row` up to tap `last`: lanes beyond the row are
// read and not used, which spares masks, as long as memory goes on.
template <class T>
inline bool can_read_on(const T* row, std::int64_t last, const T* end) {
  return end - row >= last + 2 * Vec<T>::kSize + 1;
}

// The first Count neighbouring taps of windows `stride` apart: tap k of window i is p[i * stride + k].
template <class T, int Stride, int Count>
inline __attribute__((always_inline)) void load_taps(const T* p, std::int64_t stride, int lanes, Vec<T>* tap) {
  constexpr int kSize = Vec<T>::kSize;
  if (Stride == 2 && Count >= 2 && lanes == kSize) {
    deinterleave(Vec<T>::load(p), Vec<T>::load(p + kSize), tap[0], tap[1]);
    if (Count > 2) tap[Count - 1] = load_strided<T, Stride>(p + 2, stride, lanes);
    return;
  }
#pragma GCC unroll 3
  for (int k = 0; k < Count; ++k) tap[k] = load_strided<T, Stride>(p + k, stride, lanes);
}

// Memory that later windows will read comes to the L2 cache meanwhile, some lines for every vector of results.
class Prefetch {
 public:
  Prefetch(const void* from, int lines) : at_(static_cast<const char*>(from)), lines_(lines) {}
  void next() {
    for (int i = 0; i < lines_; ++i, at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const char* at_;
  int lines_;
};

// To memory, or past the caches: then p is aligned and nobody stores less than whole vectors.
template <class T>
inline __attribute__((always_inline)) void put_lanes(Vec<T> x, T* p, int lanes, bool stream) {
  if (stream)
    x.stream(p);
  else
    store_lanes(x, p, lanes);
}

void stream_lines(const void* from, void* to, std::int64_t bytes) {
  constexpr std::int64_t kSize = Vec<float>::kSize;
  const auto* source = static_cast<const float*>(from);
  auto* target = static_cast<float*>(to);
  for (std::int64_t i = 0; i < bytes / static_cast<std::int64_t>(sizeof(float)); i += kSize)
    Vec<float>::load(source + i).stream(target + i);
}

void stream_fence() { Vec<float>::fence(); }

bool indices_inside(const std::int32_t* indices, std::int64_t count, std::int32_t end) {
  const auto limit = static_cast<std::uint32_t>(end);
  std::uint32_t outside = 0;
  for (std::int64_t i = 0; i < count; ++i) outside |= static_cast<std::uint32_t>(indices[i]) >= limit;
  return outside == 0;
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
