// Convolution of images with few channels (1 to 4): a network's first layer.
//
// A block computes 8 x 16 output pixels of 32 or 64 channels. The part of the image under them comes to shared memory
// once, channel by channel, from either layout; then filter row by filter row the weights follow. A thread has 8
// pixels side by side and 4 or 8 channels, and walks through the row's taps. Arrays are of type T; what is in shared
// memory and the sums are float32.
#pragma once

#include <cstdint>

#include "cuda/kernels/floats.h"

namespace fastconv {
namespace cuda {

constexpr int kStemThreads = 128, kStemRows = 8, kStemColumns = 16, kStemPixels = 8;

template <class T>
struct StemParams {
  const T* input;
  const T* weight;
  const T* bias;  // or null
  T* output;
  std::int32_t ih, iw, ic, oh, ow, oc;
  std::int32_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  std::int32_t patch_rows, patch_columns, pitch;  // of the image under a tile; floats from row to row in shared memory
  std::int32_t column_tiles, row_tiles, channel_tiles;
  bool planar;    // the input lies as (N, C, H, W)
  bool in_fours;  // the output takes four channels in an access
  bool relu;
};

template <class T>
FASTCONV_DEVICE const T* stem_input(const StemParams<T>& p, std::int64_t n, std::int32_t c, std::int32_t h,
                                    std::int32_t w) {
  return p.planar ? p.input + ((n * p.ic + c) * p.ih + h) * p.iw + w : p.input + ((n * p.ih + h) * p.iw + w) * p.ic + c;
}

template <class T>
FASTCONV_DEVICE bool stem_inside(const StemParams<T>& p, std::int32_t h, std::int32_t w) {
  return static_cast<std::uint32_t>(h) < static_cast<std::uint32_t>(p.ih) &&
         static_cast<std::uint32_t>(w) < static_cast<std::uint32_t>(p.iw);
}

// One output from its definition, taps outside the image left out.
template <class T>
FASTCONV_DEVICE_NOINLINE float stem_sum_inside(const StemParams<T>& p, std::int32_t n, std::int32_t oh, std::int32_t ow,
                                               std::int32_t channel) {
  const T* weight = p.weight + static_cast<std::int64_t>(channel) * p.kh * p.kw * p.ic;
  float sum = 0;
  for (std::int32_t kh = 0; kh < p.kh; ++kh) {
    for (std::int32_t kw = 0; kw < p.kw; ++kw, weight += p.ic) {
      const std::int32_t h = oh * p.stride_h - p.pad_top + kh * p.dilation_h;
      const std::int32_t w = ow * p.stride_w - p.pad_left + kw * p.dilation_w;
      if (!stem_inside(p, h, w)) continue;
      for (std::int32_t c = 0; c < p.ic; ++c)
        sum = multiply_add(to_float(*stem_input(p, n, c, h, w)), to_float(weight[c]), sum);
    }
  }
  return sum;
}

// The patch as (channel, row, column), zeros outside the image. A warp has a line, its lanes what follows in memory.
template <class T>
FASTCONV_DEVICE void stem_load_patch(const StemParams<T>& p, float* patch, std::int32_t n, std::int32_t h,
                                     std::int32_t w) {
  const std::int32_t plane = p.patch_rows * p.pitch;
  const std::int32_t lines = p.planar ? p.ic * p.patch_rows : p.patch_rows;
  for (std::int32_t line = warp(); line < lines; line += kStemThreads / 32) {
    const std::int32_t row = p.planar ? line % p.patch_rows : line, first_channel = p.planar ? line / p.patch_rows : 0;
    const std::int32_t together = p.planar ? 1 : p.ic;
    float* const to = patch + first_channel * plane + row * p.pitch;
    std::int32_t column = lane() / together, c = lane() % together;
    while (column < p.patch_columns) {
      to[c * plane + column] =
          stem_inside(p, h + row, w + column) ? to_float(*stem_input(p, n, first_channel + c, h + row, w + column)) : 0;
      column += 32 / together, c += 32 % together;
      if (c >= together) c -= together, ++column;
    }
  }
}

// kChannels: 1 or 3 where the input has so many, 0 for any number; kThreadChannels: 4 or 8.
template <class T, int kChannels, int kThreadChannels>
FASTCONV_BOUNDED_KERNEL(kStemThreads, 4)
stem_conv2d(FASTCONV_GRID_CONSTANT const StemParams<T> p) {
  constexpr int kOutputs = 8 * kThreadChannels, kLine = kOutputs + 4, kFours = kThreadChannels / 4;
  const std::int32_t channels = kChannels ? kChannels : p.ic;
  std::int32_t tile = block_x();
  const std::int32_t first_channel = tile % p.channel_tiles * kOutputs;
  tile /= p.channel_tiles;
  const std::int32_t first_ow = tile % p.column_tiles * kStemColumns;
  tile /= p.column_tiles;
  const std::int32_t first_oh = tile % p.row_tiles * kStemRows, n = tile / p.row_tiles;

  const std::int32_t plane = p.patch_rows * p.pitch, depth = p.kw * channels;
  float* const weights = shared<float>();  // (tap of the row, output channel)
  float* const patch = weights + depth * kLine;
  stem_load_patch(p, patch, n, first_oh * p.stride_h - p.pad_top, first_ow * p.stride_w - p.pad_left);

  const int own_channel = thread_x() % 8 * 4;  // and kOutputs / 2 further, where it has eight
  const int row = thread_x() / 16, column = thread_x() / 8 % 2 * kStemPixels;
  const float* const own_patch = patch + row * p.stride_h * p.pitch + column * p.stride_w;
  float sums[kStemPixels][kThreadChannels] = {};
  for (std::int32_t kh = 0; kh < p.kh; ++kh) {
    sync();  // nobody reads the weights of the last row any more
    for (int o = warp(); o < kOutputs; o += kStemThreads / 32) {
      const bool exists = first_channel + o < p.oc;
      const T* const filter =
          p.weight + (static_cast<std::int64_t>(exists ? first_channel + o : 0) * p.kh + kh) * depth;
      for (std::int32_t k = lane(); k < depth; k += 32) weights[k * kLine + o] = exists ? to_float(filter[k]) : 0.0f;
    }
    sync();
    const float* taps = own_patch + kh * p.dilation_h * p.pitch;
    const float* weight = weights + own_channel;
    for (std::int32_t kw = 0; kw < p.kw; ++kw, taps += p.dilation_w) {
      FASTCONV_UNROLL_ON_GPU
      for (std::int32_t c = 0; c < channels; ++c, weight += kLine) {
        Float4 b[kFours];
        FASTCONV_UNROLL
        for (int four = 0; four < kFours; ++four) b[four] = load<Float4>(weight + four * (kOutputs / 2));
        FASTCONV_UNROLL_ON_GPU
        for (int j = 0; j < kStemPixels; ++j) {
          const auto x = load<float>(taps + c * plane + j * p.stride_w);
          FASTCONV_UNROLL
          for (int i = 0; i < kThreadChannels; ++i) sums[j][i] = multiply_add(x, b[i / 4].at[i % 4], sums[j][i]);
        }
      }
    }
  }

  const std::int32_t oh = first_oh + row;
  if (oh >= p.oh) return;
  T* const line = p.output + (static_cast<std::int64_t>(n) * p.oh + oh) * p.ow * p.oc;
  const auto channel_of = [&](int i) { return first_channel + i / 4 * (kOutputs / 2) + own_channel + i % 4; };
  const auto finished = [&](float y, std::int32_t channel) {
    if (p.bias) y += to_float(p.bias[channel]);
    return !p.relu || y > 0 || y != y ? y : 0;  // NaN stays NaN
  };
  std::uint64_t broken = 0;
  FASTCONV_UNROLL_ON_GPU
  for (int j = 0; j < kStemPixels; ++j) {
    const std::int32_t ow = first_ow + column + j;
    if (ow >= p.ow) continue;
    T* const pixel = line + static_cast<std::int64_t>(ow) * p.oc;
    FASTCONV_UNROLL
    for (int four = 0; four < kFours; ++four) {
      const std::int32_t channel = channel_of(four * 4);
      Float4 out;
      FASTCONV_UNROLL
      for (int i = 0; i < 4; ++i) {
        float y = sums[j][four * 4 + i];
        if (channel + i < p.oc) {
          broken |= static_cast<std::uint64_t>(y != y) << (j * kThreadChannels + four * 4 + i);
          y = finished(y, channel + i);
          if (!p.in_fours) pixel[channel + i] = from_float<T>(y);
        }
        out.at[i] = y;
      }
      if (p.in_fours && channel < p.oc) store_floats(pixel + channel, out);
    }
  }
  // Padding was multiplied as zeros. That is wrong for weights that are Inf or NaN, and then the sum is NaN. Here,
  // where no sums are alive any more, the calls cost no registers.
  for (int k = 0; broken; ++k, broken >>= 1) {
    if (!(broken & 1)) continue;
    const std::int32_t ow = first_ow + column + k / kThreadChannels, channel = channel_of(k % kThreadChannels);
    line[static_cast<std::int64_t>(ow) * p.oc + channel] =
        from_float<T>(finished(stem_sum_inside(p, n, oh, ow, channel), channel));
  }
}

}  // namespace cuda
}  // namespace fastconv
