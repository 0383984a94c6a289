// Depthwise convolution: every output channel reads one input channel (channel / multiplier). Bound by memory, so that
// the point is to read the image once: channels lie side by side in the threads, and a thread has a tile of
// neighbouring outputs, whose windows overlap. The weights of a block's channels stand in shared memory, tap by tap.
//
// The same kernel computes the gradient of the input where the stride is 1: a convolution of grad_output with the
// filters turned around. Arrays are of type T; weights in shared memory and sums are float32.
#pragma once

#include <cstdint>

#include "cuda/fast_divide.h"
#include "cuda/kernels/floats.h"

namespace fastconv {
namespace cuda {

constexpr int kDepthwiseThreads = 256;

// `lanes` threads side by side have the accesses of one chunk of channels; a thread has one tile of pixels.
struct DepthwiseGeometry {
  std::int32_t ih, iw, ic, oh, ow, oc;
  std::int32_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  std::int32_t multiplier;
  std::int32_t lanes, chunks;
  std::int32_t tiles;            // of this launch
  FastDivide by_image, by_rows;  // tiles of an image, tiles on top of one another
  FastDivide by_multiplier, by_stride_h, by_stride_w;
};

template <class T>
struct DepthwiseParams {
  const T* input;  // backward: the gradient of the output
  const T* weight;
  const T* bias;              // or null
  T* output;                  // backward: the gradient of the input
  const std::uint32_t* mask;  // or null; backward: one bit per element of the result, of a ReLU before
  std::int64_t mask_first;    // the bit of this launch's first element
  DepthwiseGeometry geometry;
  bool relu, turned;  // turned: filters from their last tap to their first
  bool staged;        // of the kernels for any filter: weights fit shared memory
};

struct DepthwiseTile {
  bool exists;
  std::int32_t n, row, column;          // in tiles
  std::int32_t first_channel, channel;  // of the block, of the thread
};

// Tiles are counted down an image first: a block then has neighbours below one another, which share their rows.
template <int kVector>
FASTCONV_DEVICE DepthwiseTile depthwise_tile(const DepthwiseGeometry& g, std::int32_t channels) {
  const std::int32_t tile = block_x() / g.chunks * (kDepthwiseThreads / g.lanes) + thread_x() / g.lanes;
  DepthwiseTile at;
  at.first_channel = block_x() % g.chunks * g.lanes * kVector;
  at.channel = at.first_channel + thread_x() % g.lanes * kVector;
  at.exists = tile < g.tiles && at.channel < channels;
  at.n = g.by_image.quotient(tile);
  const std::int32_t in_image = g.by_image.remainder(tile, at.n);
  at.column = g.by_rows.quotient(in_image);
  at.row = g.by_rows.remainder(in_image, at.column);
  return at;
}

FASTCONV_DEVICE bool within(std::int32_t i, std::int32_t size) {
  return static_cast<std::uint32_t>(i) < static_cast<std::uint32_t>(size);
}

template <class T>
FASTCONV_DEVICE const T* depthwise_pixel(const T* image, std::int32_t rows, std::int32_t columns, std::int32_t channels,
                                         std::int32_t n, std::int32_t row, std::int32_t column) {
  return image + ((static_cast<std::int64_t>(n) * rows + row) * columns + column) * channels;
}

// One output from its definition, taps outside the image left out.
template <class T>
FASTCONV_DEVICE_NOINLINE float depthwise_sum_inside(const DepthwiseParams<T>& p, std::int32_t n, std::int32_t oh,
                                                    std::int32_t ow, std::int32_t channel) {
  const DepthwiseGeometry& g = p.geometry;
  const std::int32_t taps = g.kh * g.kw;
  float sum = 0;
  for (std::int32_t tap = 0; tap < taps; ++tap) {
    const std::int32_t h = oh * g.stride_h - g.pad_top + tap / g.kw * g.dilation_h;
    const std::int32_t w = ow * g.stride_w - g.pad_left + tap % g.kw * g.dilation_w;
    if (!within(h, g.ih) || !within(w, g.iw)) continue;
    const T x = depthwise_pixel(p.input, g.ih, g.iw, g.ic, n, h, w)[g.by_multiplier.quotient(channel)];
    const T weight = p.weight[static_cast<std::int64_t>(channel) * taps + (p.turned ? taps - 1 - tap : tap)];
    sum = multiply_add(to_float(x), to_float(weight), sum);
  }
  return sum;
}

// Zeros where the ReLU before let nothing through.
template <class T, int kVector>
FASTCONV_DEVICE void depthwise_mask(const DepthwiseParams<T>& p, Pack<float, kVector>& sum, const T* to) {
  if (!p.mask) return;
  const std::int64_t first = p.mask_first + (to - p.output);
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i)
    if (!(p.mask[(first + i) / 32] >> ((first + i) % 32) & 1)) sum.at[i] = 0;
}

template <class T, int kVector>
FASTCONV_DEVICE void depthwise_store(const DepthwiseParams<T>& p, Pack<float, kVector> sum, std::int32_t n,
                                     std::int32_t oh, std::int32_t ow, std::int32_t channel) {
  const DepthwiseGeometry& g = p.geometry;
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) {
    float y = sum.at[i];
    // Padding was multiplied as zeros. That is wrong for weights that are Inf or NaN, and then the sum is NaN.
    if (y != y) y = depthwise_sum_inside(p, n, oh, ow, channel + i);
    if (p.bias) y += to_float(p.bias[channel + i]);
    if (p.relu) y = y > 0 || y != y ? y : 0;  // NaN stays NaN
    sum.at[i] = y;
  }
  T* const to = const_cast<T*>(depthwise_pixel(p.output, g.oh, g.ow, g.oc, n, oh, ow)) + channel;
  depthwise_mask(p, sum, to);
  store_floats(to, sum);
}

// kKernel x kKernel taps, kStride both ways, no dilation; a thread has 2 rows of 4 outputs.
template <class T, int kVector, int kKernel, int kStride>
FASTCONV_BOUNDED_KERNEL(kDepthwiseThreads, 2)
depthwise_conv2d(FASTCONV_GRID_CONSTANT const DepthwiseParams<T> p) {
  constexpr int kRows = 2, kColumns = 4, kTaps = kKernel * kKernel;
  constexpr int kReadRows = (kRows - 1) * kStride + kKernel, kReadColumns = (kColumns - 1) * kStride + kKernel;
  using Channels = Pack<float, kVector>;
  const DepthwiseGeometry& g = p.geometry;
  const DepthwiseTile at = depthwise_tile<kVector>(g, g.oc);
  float* const weights = shared<float>();  // (tap, channel)
  const int width = g.lanes * kVector;
  for (int i = thread_x(); i < width * kTaps; i += kDepthwiseThreads) {
    const int channel = at.first_channel + i / kTaps, tap = i % kTaps;
    weights[(p.turned ? kTaps - 1 - tap : tap) * width + i / kTaps] =
        channel < g.oc ? to_float(p.weight[static_cast<std::int64_t>(channel) * kTaps + tap]) : 0;
  }
  sync();
  if (!at.exists) return;

  const std::int32_t oh = at.row * kRows, ow = at.column * kColumns;
  const std::int32_t h = oh * kStride - g.pad_top, w = ow * kStride - g.pad_left;
  const std::int32_t input_channel = g.by_multiplier.quotient(at.channel);
  const float* const own_weights = weights + (at.channel - at.first_channel);
  Channels sum[kRows][kColumns] = {};
  FASTCONV_UNROLL_ON_GPU
  for (int row = 0; row < kReadRows; ++row) {
    if (!within(h + row, g.ih)) continue;
    const T* const line = depthwise_pixel(p.input, g.ih, g.iw, g.ic, at.n, h + row, 0) + input_channel;
    Channels x[kReadColumns];
    FASTCONV_UNROLL
    for (int column = 0; column < kReadColumns; ++column)
      x[column] = within(w + column, g.iw) ? load_floats<kVector>(line + static_cast<std::int64_t>(w + column) * g.ic)
                                           : Channels{};
    FASTCONV_UNROLL_ON_GPU
    for (int r = 0; r < kRows; ++r) {
      const int tap_h = row - r * kStride;
      if (tap_h < 0 || tap_h >= kKernel) continue;
      FASTCONV_UNROLL_ON_GPU
      for (int tap_w = 0; tap_w < kKernel; ++tap_w) {
        const auto weight = load<Channels>(own_weights + (tap_h * kKernel + tap_w) * width);
        FASTCONV_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          FASTCONV_UNROLL
          for (int i = 0; i < kVector; ++i)
            sum[r][c].at[i] = multiply_add(x[c * kStride + tap_w].at[i], weight.at[i], sum[r][c].at[i]);
        }
      }
    }
  }
  FASTCONV_UNROLL_ON_GPU
  for (int r = 0; r < kRows; ++r) {
    FASTCONV_UNROLL_ON_GPU
    for (int c = 0; c < kColumns; ++c)
      if (oh + r < g.oh && ow + c < g.ow) depthwise_store(p, sum[r][c], at.n, oh + r, ow + c, at.channel);
  }
}

// The weights of a block for any filter: in shared memory where they fit, else where they are.
template <class T>
struct DepthwiseWeights {
  const T* first;       // of the block's first channel
  const float* staged;  // the same in shared memory, or null
  std::int64_t tap_step, channel_step;

  FASTCONV_DEVICE DepthwiseWeights(const DepthwiseParams<T>& p, std::int32_t first_channel, std::int32_t width) {
    const DepthwiseGeometry& g = p.geometry;
    const std::int32_t taps = g.kh * g.kw;
    first = p.weight + static_cast<std::int64_t>(first_channel) * taps, tap_step = 1, channel_step = taps;
    staged = nullptr;
    if (!p.staged) return;
    float* const weights = shared<float>();
    for (int i = thread_x(); i < width * taps; i += kDepthwiseThreads)
      weights[i % taps * width + i / taps] = first_channel + i / taps < g.oc ? to_float(first[i]) : 0;
    staged = weights, tap_step = width, channel_step = 1;
    sync();
  }
  FASTCONV_DEVICE float of(std::int32_t tap, std::int32_t channel) const {
    const std::int64_t at = tap * tap_step + channel * channel_step;
    return staged ? staged[at] : to_float(first[at]);
  }
};

// Any filter, forward: a thread has one output.
template <class T, int kVector>
FASTCONV_BOUNDED_KERNEL(kDepthwiseThreads, 2)
depthwise_conv2d_any(FASTCONV_GRID_CONSTANT const DepthwiseParams<T> p) {
  const DepthwiseGeometry& g = p.geometry;
  const DepthwiseTile at = depthwise_tile<kVector>(g, g.oc);
  const DepthwiseWeights<T> weights(p, at.first_channel, g.lanes * kVector);
  if (!at.exists) return;
  const std::int32_t h = at.row * g.stride_h - g.pad_top, w = at.column * g.stride_w - g.pad_left;
  const std::int32_t input_channel = g.by_multiplier.quotient(at.channel);
  Pack<float, kVector> sum = {};
  for (std::int32_t tap_h = 0; tap_h < g.kh; ++tap_h) {
    const std::int32_t row = h + tap_h * g.dilation_h;
    if (!within(row, g.ih)) continue;
    for (std::int32_t tap_w = 0; tap_w < g.kw; ++tap_w) {
      const std::int32_t column = w + tap_w * g.dilation_w;
      if (!within(column, g.iw)) continue;
      const auto x =
          load_floats<kVector>(depthwise_pixel(p.input, g.ih, g.iw, g.ic, at.n, row, column) + input_channel);
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i)
        sum.at[i] =
            multiply_add(x.at[i], weights.of(tap_h * g.kw + tap_w, at.channel - at.first_channel + i), sum.at[i]);
    }
  }
  depthwise_store(p, sum, at.n, at.row, at.column, at.channel);
}

// Any filter, gradient of the input: a thread has one input pixel and adds up the outputs that read it. Geometry and
// channels are those of the convolution: ih, iw, ic are of the result, oh, ow, oc of what is read.
template <class T, int kVector>
FASTCONV_BOUNDED_KERNEL(kDepthwiseThreads, 2)
depthwise_conv2d_backward_input_any(FASTCONV_GRID_CONSTANT const DepthwiseParams<T> p) {
  const DepthwiseGeometry& g = p.geometry;
  const DepthwiseTile at = depthwise_tile<kVector>(g, g.ic);
  const std::int32_t first = at.first_channel * g.multiplier;
  const DepthwiseWeights<T> weights(p, first, g.lanes * kVector * g.multiplier);
  if (!at.exists) return;
  Pack<float, kVector> sum = {};
  for (std::int32_t tap_h = 0; tap_h < g.kh; ++tap_h) {
    const std::int32_t h = at.row + g.pad_top - tap_h * g.dilation_h;
    if (h < 0) break;
    const std::int32_t oh = g.by_stride_h.quotient(h);
    if (oh >= g.oh || g.by_stride_h.remainder(h, oh) != 0) continue;
    for (std::int32_t tap_w = 0; tap_w < g.kw; ++tap_w) {
      const std::int32_t w = at.column + g.pad_left - tap_w * g.dilation_w;
      if (w < 0) break;
      const std::int32_t ow = g.by_stride_w.quotient(w);
      if (ow >= g.ow || g.by_stride_w.remainder(w, ow) != 0) continue;
      const T* const gradient = depthwise_pixel(p.input, g.oh, g.ow, g.oc, at.n, oh, ow);
      for (std::int32_t m = 0; m < g.multiplier; ++m) {
        const std::int32_t channel = at.channel * g.multiplier + m;  // kVector > 1 only where the multiplier is 1
        const auto dy = load_floats<kVector>(gradient + channel);
        FASTCONV_UNROLL
        for (int i = 0; i < kVector; ++i)
          sum.at[i] = multiply_add(dy.at[i], weights.of(tap_h * g.kw + tap_w, channel - first + i), sum.at[i]);
      }
    }
  }
  T* const to = const_cast<T*>(depthwise_pixel(p.output, g.ih, g.iw, g.ic, at.n, at.row, at.column)) + at.channel;
  depthwise_mask(p, sum, to);
  store_floats(to, sum);
}

}  // namespace cuda
}  // namespace fastconv
