// Copies one block of channels of neighbouring pixels side by side, zero-padded to whole vectors, and tells on the way
// whether all values are finite: x * 0 is 0 for a finite x and NaN for any other.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
bool pack_pixels(const T* input, std::int64_t pixels, std::int64_t pixel_pitch, int channels, int width, T* packed) {
  constexpr int kSize = Vec<T>::kSize;
  Vec<T> check = Vec<T>::zero();
  const Vec<T> zero = Vec<T>::zero();
  for (std::int64_t p = 0; p < pixels; ++p, input += pixel_pitch, packed += width) {
    for (int c = 0; c < width; c += kSize) {
      const int left = channels - c;
      const Vec<T> x = left >= kSize ? Vec<T>::load(input + c) : Vec<T>::load_partial(input + c, left > 0 ? left : 0);
      x.store(packed + c);
      check = fma(x, zero, check);
    }
  }
  T lanes[kSize];
  check.store(lanes);
  bool finite = true;
  for (int i = 0; i < kSize; ++i) finite = finite && lanes[i] == T(0);
  return finite;
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
