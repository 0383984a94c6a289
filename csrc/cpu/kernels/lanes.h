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

template <class T>
inline VecIndex<T> load_index_lanes(const std::int32_t* p, int lanes) {
  return lanes == Vec<T>::kSize ? VecIndex<T>::load(p) : VecIndex<T>::load_partial(p, lanes);
}

template <class T>
inline void store_index_lanes(VecIndex<T> x, std::int32_t* p, int lanes) {
  if (lanes == Vec<T>::kSize)
    x.store(p);
  else
    x.store_partial(p, lanes);
}

inline int lanes_from(std::int64_t c, std::int64_t channels, int size) {
  return channels - c >= size ? size : static_cast<int>(channels - c);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
