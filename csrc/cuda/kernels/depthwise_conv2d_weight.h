// The gradient of depthwise weights, in two passes and without atomics. First a block takes a slice of the output and
// some channels, whose sums of all taps its threads keep in registers, and adds them up; then the slices are added.
// Slices, threads and orders follow from the geometry alone.
#pragma once

#include <cstdint>

#include "cuda/kernels/depthwise_conv2d.h"
#include "cuda/kernels/sum_slices.h"

namespace fastconv {
namespace cuda {

// Where sums go: to elements of T, or of float32 if `wide`.
template <class T>
struct DepthwiseSum {
  void* grad_weight;
  bool wide;
  bool accumulate;  // add to what is there

  FASTCONV_DEVICE void put(std::int64_t element, float sum) const {
    put_sum<T>(grad_weight, wide, accumulate, element, sum);
  }
};

// Geometry: tiles are strips of outputs along a row, counted along the rows; lanes and chunks are of output channels.
template <class T>
struct DepthwiseWeightParams {
  const T* input;
  const T* grad_output;
  float* partial;  // (slice, channel, tap), or null where there is one slice
  DepthwiseSum<T> to;
  DepthwiseGeometry geometry;
  std::int32_t slices, tiles_of_slice;
  std::int32_t columns;  // strips of a row
  FastDivide by_columns, by_height;
};

// Adds up `value` over the threads of the same lane; the sum is with the first of them.
template <int kVector>
FASTCONV_DEVICE Pack<float, kVector> sum_of_lane(Pack<float, kVector> value, std::int32_t lanes) {
  auto* const values = shared<Pack<float, kVector>>();
  sync();  // nobody reads the last sum any more
  values[thread_x()] = value;
  for (std::int32_t half = kDepthwiseThreads / 2; half >= lanes; half /= 2) {
    sync();
    if (thread_x() < half) {
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i) value.at[i] += values[thread_x() + half].at[i];
      values[thread_x()] = value;
    }
  }
  return value;
}

// The sums of a block for one tap, by the first thread of each lane.
template <class T, int kVector>
FASTCONV_DEVICE void depthwise_put_total(const DepthwiseWeightParams<T>& p, const Pack<float, kVector>& total,
                                         std::int32_t slice, std::int32_t channel, std::int32_t tap) {
  const std::int32_t taps = p.geometry.kh * p.geometry.kw;
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) {
    const std::int64_t element = static_cast<std::int64_t>(channel + i) * taps + tap;
    if (p.partial)
      p.partial[static_cast<std::int64_t>(slice) * p.geometry.oc * taps + element] = total.at[i];
    else
      p.to.put(element, total.at[i]);
  }
}

struct DepthwiseStrip {
  std::int32_t n, row, column;
};
template <class T>
FASTCONV_DEVICE DepthwiseStrip depthwise_strip(const DepthwiseWeightParams<T>& p, std::int32_t strip) {
  const std::int32_t row = p.by_columns.quotient(strip), n = p.by_height.quotient(row);
  return {n, p.by_height.remainder(row, n), p.by_columns.remainder(strip, row)};
}

// Taps outside the image take no part, so that Inf or NaN in grad_output does not spread: `all` says that there are
// none.
template <bool all, int kVector, int kKernel, int kStride, int kColumns, int kReadColumns>
FASTCONV_DEVICE void add_row(const Pack<float, kVector> (&x)[kReadColumns], const Pack<float, kVector> (&dy)[kColumns],
                             Pack<float, kVector>* sum, unsigned inside, std::int32_t outputs) {
  FASTCONV_UNROLL_ON_GPU
  for (int tap = 0; tap < kKernel; ++tap) {
    FASTCONV_UNROLL_ON_GPU
    for (int c = 0; c < kColumns; ++c) {
      if (!all && (c >= outputs || !(inside >> (c * kStride + tap) & 1))) continue;
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i)
        sum[tap].at[i] = multiply_add(x[c * kStride + tap].at[i], dy[c].at[i], sum[tap].at[i]);
    }
  }
}

template <class T, int kVector, int kKernel, int kStride>
FASTCONV_BOUNDED_KERNEL(kDepthwiseThreads, 1)
depthwise_conv2d_backward_weight(FASTCONV_GRID_CONSTANT const DepthwiseWeightParams<T> p) {
  constexpr int kColumns = 4, kTaps = kKernel * kKernel, kReadColumns = (kColumns - 1) * kStride + kKernel;
  using Channels = Pack<float, kVector>;
  const DepthwiseGeometry& g = p.geometry;
  const std::int32_t slice = block_x() / g.chunks, chunk = block_x() % g.chunks;
  const std::int32_t channel = (chunk * g.lanes + thread_x() % g.lanes) * kVector;
  const std::int32_t begin = slice * p.tiles_of_slice;
  const std::int32_t end = g.tiles - begin < p.tiles_of_slice ? g.tiles : begin + p.tiles_of_slice;
  const std::int32_t input_channel = g.by_multiplier.quotient(channel);

  Channels sum[kTaps] = {};
  if (channel < g.oc) {
    for (std::int32_t strip = begin + thread_x() / g.lanes; strip < end; strip += kDepthwiseThreads / g.lanes) {
      const DepthwiseStrip at = depthwise_strip(p, strip);
      const std::int32_t ow = at.column * kColumns, outputs = g.ow - ow;
      const std::int32_t h = at.row * kStride - g.pad_top, w = ow * kStride - g.pad_left;
      const T* const gradient = depthwise_pixel(p.grad_output, g.oh, g.ow, g.oc, at.n, at.row, ow) + channel;
      Channels dy[kColumns];
      FASTCONV_UNROLL
      for (int c = 0; c < kColumns; ++c)
        dy[c] = c < outputs ? load_floats<kVector>(gradient + static_cast<std::int64_t>(c) * g.oc) : Channels{};
      unsigned inside = 0;
      FASTCONV_UNROLL
      for (int c = 0; c < kReadColumns; ++c) inside |= static_cast<unsigned>(within(w + c, g.iw)) << c;
      const bool all = inside == (1u << kReadColumns) - 1 && outputs >= kColumns;
      FASTCONV_UNROLL_ON_GPU
      for (int tap_h = 0; tap_h < kKernel; ++tap_h) {
        if (!within(h + tap_h, g.ih)) continue;
        const T* const line = depthwise_pixel(p.input, g.ih, g.iw, g.ic, at.n, h + tap_h, 0) + input_channel;
        Channels x[kReadColumns];
        FASTCONV_UNROLL
        for (int c = 0; c < kReadColumns; ++c)
          x[c] = inside >> c & 1 ? load_floats<kVector>(line + static_cast<std::int64_t>(w + c) * g.ic) : Channels{};
        if (all)
          add_row<true, kVector, kKernel, kStride>(x, dy, sum + tap_h * kKernel, inside, outputs);
        else
          add_row<false, kVector, kKernel, kStride>(x, dy, sum + tap_h * kKernel, inside, outputs);
      }
    }
  }
  FASTCONV_UNROLL_ON_GPU
  for (int tap = 0; tap < kTaps; ++tap) {
    const Channels total = sum_of_lane(sum[tap], g.lanes);
    if (thread_x() < g.lanes && channel < g.oc) depthwise_put_total(p, total, slice, channel, tap);
  }
}

// Any filter: a block has one tap. Reads the arrays once per tap.
template <class T, int kVector>
FASTCONV_BOUNDED_KERNEL(kDepthwiseThreads, 2)
depthwise_conv2d_backward_weight_any(FASTCONV_GRID_CONSTANT const DepthwiseWeightParams<T> p) {
  using Channels = Pack<float, kVector>;
  const DepthwiseGeometry& g = p.geometry;
  const std::int32_t taps = g.kh * g.kw, tap = block_x() % taps;
  const std::int32_t chunk = block_x() / taps % g.chunks, slice = block_x() / taps / g.chunks;
  const std::int32_t channel = (chunk * g.lanes + thread_x() % g.lanes) * kVector;
  const std::int32_t begin = slice * p.tiles_of_slice;
  const std::int32_t end = g.tiles - begin < p.tiles_of_slice ? g.tiles : begin + p.tiles_of_slice;
  const std::int32_t input_channel = g.by_multiplier.quotient(channel);
  const std::int32_t tap_h = tap / g.kw * g.dilation_h - g.pad_top, tap_w = tap % g.kw * g.dilation_w - g.pad_left;
  Channels sum = {};
  if (channel < g.oc) {
    for (std::int32_t strip = begin + thread_x() / g.lanes; strip < end; strip += kDepthwiseThreads / g.lanes) {
      const DepthwiseStrip at = depthwise_strip(p, strip);  // of one output
      const std::int32_t h = at.row * g.stride_h + tap_h, w = at.column * g.stride_w + tap_w;
      if (!within(h, g.ih) || !within(w, g.iw)) continue;
      const auto dy =
          load_floats<kVector>(depthwise_pixel(p.grad_output, g.oh, g.ow, g.oc, at.n, at.row, at.column) + channel);
      const auto x = load_floats<kVector>(depthwise_pixel(p.input, g.ih, g.iw, g.ic, at.n, h, w) + input_channel);
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i) sum.at[i] = multiply_add(x.at[i], dy.at[i], sum.at[i]);
    }
  }
  const Channels total = sum_of_lane(sum, g.lanes);
  if (thread_x() < g.lanes && channel < g.oc) depthwise_put_total(p, total, slice, channel, tap);
}

template <class T>
struct DepthwiseSumParams {
  SumSlicesParams slices;
  DepthwiseSum<T> to;
};

template <class T>
FASTCONV_BOUNDED_KERNEL(kSumThreads, 4)
depthwise_conv2d_weight_sum(FASTCONV_GRID_CONSTANT const DepthwiseSumParams<T> p) {
  const float sum = sum_slices(p.slices);
  if (thread_x() < kSumElements && summed_element() < p.slices.count) p.to.put(summed_element(), sum);
}

}  // namespace cuda
}  // namespace fastconv
