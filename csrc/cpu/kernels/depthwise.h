// Depthwise convolution, channels in the vector lanes: nothing is reduced over channels, so each lane is its own
// filter. Taps outside the image are skipped, never multiplied.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"
#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
void depthwise_row(const DepthwiseRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  const Vec<T> zero = Vec<T>::zero();
  for (std::int64_t ow = 0; ow < a.ow; ++ow) {
    const std::int64_t iw0 = ow * a.stride_w - a.pad_left;
    for (std::int64_t c = 0; c < a.channels; c += kSize) {
      const int lanes = lanes_from(c, a.channels, kSize);
      Vec<T> acc = a.bias ? load_lanes(a.bias + c, lanes) : zero;
      for (std::int64_t th = 0; th < a.taps_h; ++th) {
        const T* row = a.input_rows[th] + c;
        const T* weight = a.weight + th * a.weight_tap_h + c;
        for (std::int64_t kw = 0; kw < a.kw; ++kw) {
          const std::int64_t iw = iw0 + kw * a.dilation_w;
          if (iw < 0 || iw >= a.iw) continue;
          acc = fma(load_lanes(row + iw * a.channels, lanes), load_lanes(weight + kw * a.channels, lanes), acc);
        }
      }
      if (a.activation == Activation::relu) acc = select(not_less_equal(acc, zero), acc, zero);
      store_lanes(acc, a.output + ow * a.channels + c, lanes);
    }
  }
}

template <class T>
void depthwise_backward_row(const DepthwiseBackwardRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  for (std::int64_t iw = 0; iw < a.iw; ++iw) {
    for (std::int64_t c = 0; c < a.channels; c += kSize) {
      const int lanes = lanes_from(c, a.channels, kSize);
      Vec<T> acc = Vec<T>::zero();
      for (std::int64_t th = 0; th < a.taps_h; ++th) {
        const T* row = a.grad_rows[th] + c;
        const T* weight = a.weight_rows[th] + c;
        for (std::int64_t kw = 0; kw < a.kw; ++kw) {
          // ow * stride_w = iw + pad_left - kw * dilation_w
          const std::int64_t at = iw + a.pad_left - kw * a.dilation_w;
          if (at < 0 || at % a.stride_w != 0 || at / a.stride_w >= a.ow) continue;
          acc = fma(load_lanes(row + at / a.stride_w * a.channels, lanes), load_lanes(weight + kw * a.channels, lanes),
                    acc);
        }
      }
      store_lanes(acc, a.grad_input + iw * a.channels + c, lanes);
    }
  }
}

template <class T>
void depthwise_weight_row(const DepthwiseWeightRowArgs<T>& a) {
  constexpr int kSize = Vec<T>::kSize;
  for (std::int64_t kw = 0; kw < a.kw; ++kw) {
    for (std::int64_t c = 0; c < a.channels; c += kSize) {
      const int lanes = lanes_from(c, a.channels, kSize);
      Vec<T> acc = load_lanes(a.grad + kw * a.channels + c, lanes);
      for (std::int64_t ow = 0; ow < a.ow; ++ow) {
        const std::int64_t iw = ow * a.stride_w - a.pad_left + kw * a.dilation_w;
        if (iw < 0 || iw >= a.iw) continue;
        acc = fma(load_lanes(a.input + iw * a.channels + c, lanes),
                  load_lanes(a.grad_output + ow * a.channels + c, lanes), acc);
      }
      store_lanes(acc, a.grad + kw * a.channels + c, lanes);
    }
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
