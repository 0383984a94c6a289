// Elements of any type side by side in memory, float32 in registers.
#pragma once

#include <cstddef>

#include "cuda/device.h"
#include "cuda/float16.h"

namespace fastconv {
namespace cuda {

template <int n, class T>
FASTCONV_DEVICE Pack<float, n> to_floats(const Pack<T, n>& pack) {
  Pack<float, n> floats;
  FASTCONV_UNROLL
  for (int i = 0; i < n; ++i) floats.at[i] = to_float(pack.at[i]);
  return floats;
}
template <class T, int n>
FASTCONV_DEVICE Pack<T, n> from_floats(const Pack<float, n>& floats) {
  Pack<T, n> pack;
  FASTCONV_UNROLL
  for (int i = 0; i < n; ++i) pack.at[i] = from_float<T>(floats.at[i]);
  return pack;
}

// One access of n elements, aligned to all their bytes.
template <int n, class T>
FASTCONV_DEVICE Pack<float, n> load_floats(const T* from) {
  return to_floats<n>(load<Pack<T, n>>(from));
}
template <int n, class T>
FASTCONV_DEVICE void store_floats(T* to, const Pack<float, n>& floats) {
  store(to, from_floats<T>(floats));
}

}  // namespace cuda
}  // namespace fastconv
