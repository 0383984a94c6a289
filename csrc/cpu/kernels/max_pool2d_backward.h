// Max pooling, backward. Where few windows overlap, every pixel gathers the gradients of the windows whose maximum it
// was, channels in the lanes; otherwise each window adds its gradient to its maximum. Both add in the order of the
// windows.
#pragma once

#include <cstdint>

#include "cpu/kernels/covering_windows.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Adds (or, the first time, writes) what one window gives to a pixel, all channels.
template <class T, bool Masked, bool First>
inline void gather_window(const MaxPoolGatherArgs<T>& a, std::int64_t at, VecIndex<T> here, T* grad_input) {
  const Vec<T> zero = Vec<T>::zero();
  for_each_vector<T>(a.channels, [&](std::int64_t c, int lanes) {
    Vec<T> grad = load_lanes(a.grad_output + at + c, lanes);
    if (Masked) grad = select(not_less_equal(load_lanes(a.output + at + c, lanes), zero), grad, zero);
    grad = select(equal(load_index_lanes<T>(a.indices + at + c, lanes), here), grad, zero);
    store_lanes(First ? zero + grad : load_lanes(grad_input + c, lanes) + grad, grad_input + c, lanes);
  });
}

template <class T, bool Masked>
inline void max_gather(const MaxPoolGatherArgs<T>& a) {
  CoveringWindows over;
  for (std::int64_t iw = 0; iw < a.columns.iw; ++iw) {
    over.move_to(iw, a.columns);
    const VecIndex<T> here = VecIndex<T>::broadcast(static_cast<std::int32_t>(a.ih * a.columns.iw + iw));
    T* grad_input = a.grad_input + iw * a.pixel;
    if (a.windows.count == 0 || over.begin == over.end)
      for (std::int64_t c = 0; c < a.channels; ++c) grad_input[c] = T(0);
    bool first = true;
    for (std::int64_t oh = a.windows.first; oh < a.windows.first + a.windows.count; ++oh) {
      for (std::int64_t ow = over.begin; ow < over.end; ++ow) {
        const std::int64_t at = (oh * a.columns.ow + ow) * a.pixel;
        if (first)
          gather_window<T, Masked, true>(a, at, here, grad_input);
        else
          gather_window<T, Masked, false>(a, at, here, grad_input);
        first = false;
      }
    }
  }
}

template <class T>
void max_gather_nhwc(const MaxPoolGatherArgs<T>& a) {
  if (a.output)
    max_gather<T, true>(a);
  else
    max_gather<T, false>(a);
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
