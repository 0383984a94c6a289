// Adds the windows of neighbouring source pixels to the target rows under them. Windows that overlap are added in
// different passes: a load that overlaps the store just before it would wait until that store has left the core.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline __attribute__((always_inline)) void add_elements(const T* from, std::int64_t count, T* to) {
  constexpr int kSize = Vec<T>::kSize;
  std::int64_t e = 0;
  for (; e + kSize <= count; e += kSize) (Vec<T>::load(to + e) + Vec<T>::load(from + e)).store(to + e);
  if (e == count) return;
  const int tail = static_cast<int>(count - e);
  (Vec<T>::load_partial(to + e, tail) + Vec<T>::load_partial(from + e, tail)).store_partial(to + e, tail);
}

template <class T>
void fold_row(const FoldRowArgs<T>& a) {
  for (std::int64_t first = 0; first < a.passes; ++first)
    for (std::int64_t p = first; p < a.pixels; p += a.passes) {
      const T* window = a.windows + p * a.window;
      T* target = a.target + p * a.target_pixel;
      for (std::int64_t th = 0; th < a.taps_h; ++th, window += a.window_tap_h, target += a.target_tap_h)
        for (std::int64_t i = 0; i < a.pieces; ++i)
          add_elements(window + i * a.piece, a.piece, target + i * a.target_piece);
    }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
