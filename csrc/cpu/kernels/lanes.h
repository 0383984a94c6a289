// Whole vectors and the tail of a row with one spelling.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline Vec<T> load_lanes(const T* p, int lanes) {
  return lanes == Vec<T>::kSize ? Vec<T>::load(p) : Vec<T>::load_partial(p, lanes);
}

template <class T>
inline void store_lanes(Vec<T> x, T* p, int lanes) {
  if (lanes == Vec<T>::kSize)
    x.store(p);
  else
    x.store_partial(p, lanes);
}

// p[0], p[stride], p[2 * stride], ...: as many as lanes, nothing beyond them. Stride 1 and 2 fix the stride, 0 takes
// any.
template <class T, int Stride>
inline Vec<T> load_strided(const T* p, std::int64_t stride, int lanes) {
  constexpr int kSize = Vec<T>::kSize;
  if (Stride == 1) return load_lanes(p, lanes);
  if (Stride == 2) {
    if (lanes == kSize) return even_odd(Vec<T>::load(p), Vec<T>::load(p + kSize - 1));
    const Vec<T> low = Vec<T>::load_partial(p, 2 * lanes - 1);
    return 2 * lanes <= kSize ? even_odd(low, low)
                              : even_odd(low, Vec<T>::load_partial(p + kSize - 1, 2 * lanes - kSize));
  }
  T lane[kSize] = {};
  for (int i = 0; i < lanes; ++i) lane[i] = p[i * stride];
  return Vec<T>::load(lane);
}

template <class T, class I>
inline VecIndex<T> load_index_lanes(const I* p, int lanes) {
  return lanes == Vec<T>::kSize ? VecIndex<T>::load(p) : VecIndex<T>::load_partial(p, lanes);
}

template <class T, class I>
inline void store_index_lanes(VecIndex<T> x, I* p, int lanes) {
  if (lanes == Vec<T>::kSize)
    x.store(p);
  else
    x.store_partial(p, lanes);
}

// Groups side by side: lane l belongs to group l / outputs, whose inputs start at lane l / outputs * inputs.
template <class T>
inline Permutation<T> group_lanes(int inputs, int outputs) {
  int lanes[Vec<T>::kSize];
  for (int l = 0; l < Vec<T>::kSize; ++l) lanes[l] = l / outputs * inputs;
  return Permutation<T>::load(lanes);
}

inline int lanes_from(std::int64_t c, std::int64_t channels, int size) {
  return channels - c >= size ? size : static_cast<int>(channels - c);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
