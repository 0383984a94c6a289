// Column sums of a row-major matrix: the bias gradient, summed one row after the other.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
void column_sum(const T* x, std::int64_t rows, std::int64_t columns, T* sum) {
  constexpr int kSize = Vec<T>::kSize;
  for (std::int64_t c = 0; c < columns; c += 4 * kSize) {
    int lanes[4];
    Vec<T> acc[4];
    for (int v = 0; v < 4; ++v) {
      const std::int64_t left = columns - c - v * kSize;
      lanes[v] = left >= kSize ? kSize : left > 0 ? static_cast<int>(left) : 0;
      acc[v] = lanes[v] ? Vec<T>::load_partial(sum + c + v * kSize, lanes[v]) : Vec<T>::zero();
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      const T* p = x + row * columns + c;
      for (int v = 0; v < 4; ++v) {
        if (lanes[v] == kSize)
          acc[v] = acc[v] + Vec<T>::load(p + v * kSize);
        else if (lanes[v] > 0)
          acc[v] = acc[v] + Vec<T>::load_partial(p + v * kSize, lanes[v]);
      }
    }
    for (int v = 0; v < 4; ++v)
      if (lanes[v]) acc[v].store_partial(sum + c + v * kSize, lanes[v]);
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
