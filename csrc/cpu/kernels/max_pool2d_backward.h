// Max pooling, backward. Where few windows overlap, every pixel gathers the gradients of the windows whose maximum it
// was, channels in the lanes; otherwise each window adds its gradient to its maximum. Both add in the order of the
// windows.
#pragma once

#include <cstdint>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
inline __attribute__((always_inline)) void gather_pixel(const MaxPoolGatherArgs<T>& a, const CoveringWindows& over,
                                                        VecIndex<T> here, std::int64_t c, int lanes, T* grad_input) {
  const Vec<T> zero = Vec<T>::zero();
  Vec<T> acc = zero;
  for (std::int64_t th = 0; th < a.windows.count; ++th) {
    for (std::int64_t ow = over.begin; ow < over.end; ++ow) {
      const std::int64_t at = ((a.windows.first + th) * a.columns.ow + ow) * a.pixel + c;
      Vec<T> grad = load_lanes(a.grad_output + at, lanes);
      if (a.output) grad = select(not_less_equal(load_lanes(a.output + at, lanes), zero), grad, zero);
      acc = acc + select(equal(load_index_lanes<T>(a.indices + at, lanes), here), grad, zero);
    }
  }
  store_lanes(acc, grad_input, lanes);
}

template <class T>
void max_gather_nhwc(const MaxPoolGatherArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  CoveringWindows over;
  for (std::int64_t iw = 0; iw < a.columns.iw; ++iw) {
    over.move_to(iw, a.columns);
    const VecIndex<T> here = VecIndex<T>::broadcast(static_cast<std::int32_t>(a.ih * a.columns.iw + iw));
    T* grad_input = a.grad_input + iw * a.pixel;
    std::int64_t c = 0;
    for (; c + kSize <= a.channels; c += kSize) gather_pixel(a, over, here, c, kSize, grad_input + c);
    if (c < a.channels) gather_pixel(a, over, here, c, static_cast<int>(a.channels - c), grad_input + c);
  }
}

template <class T, bool Planes>
inline void max_scatter(const MaxPoolScatterArgs<T>& a) {
  const std::int64_t pixel = Planes ? 1 : a.pixel, channels = Planes ? 1 : a.channels;
  for (std::int64_t i = 0; i < a.pixels; ++i)
    for (std::int64_t c = 0; c < channels; ++c) a.grad_input[i * pixel + c] = T(0);
  for (std::int64_t o = 0; o < a.windows; ++o) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t at = o * pixel + c, index = a.indices[at];
      if (index < 0 || index >= a.pixels || (a.output && a.output[at] <= T(0))) continue;
      a.grad_input[index * pixel + c] += a.grad_output[at];
    }
  }
}

template <class T>
void max_scatter_nhwc(const MaxPoolScatterArgs<T>& a) {
  max_scatter<T, false>(a);
}

template <class T>
void max_scatter_nchw(const MaxPoolScatterArgs<T>& a) {
  max_scatter<T, true>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
