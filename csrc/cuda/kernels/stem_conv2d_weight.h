// The gradient of the weight of a convolution of images with few channels (1 to 4), in two passes and without atomics.
//
// A block takes a slice of the output and goes through it in tiles of some rows by some strips of 4 pixels. Of a tile,
// grad_output (pixel, channel) and the image under it (row, column, channel) come to shared memory while the tile
// before is multiplied. There the taps of a filter row lie side by side, (column, channel), whatever the dilation: the
// columns of an image row that leave the same remainder by the dilation are put together. A thread owns some
// neighbours of them, kTaps, of 8 output channels, and adds up strip by strip; threads that own the same share the
// strips out, and are added up at the end. Then the slices are added, in their order.
//
// For 4 pixels a thread reads 4 x 8 numbers of grad_output in 8 accesses and 4 x kTaps of the image, one by one. If the
// image moves by kShift from pixel to pixel, those that it has already are not read again:
//
//                          multiply-adds   reads of 16 bytes   of 4
//   5x5, 1 channel  <5, 1>           160                   8      8
//   3x3, 3 channels <9, 3>           288                   8     18
//   7x7, 3 channels <7, 0>           224                   9     28
#pragma once

#include <cstdint>

#include "cuda/fast_divide.h"
#include "cuda/kernels/sum_slices.h"

namespace fastconv {
namespace cuda {

constexpr int kStemWeightThreads = 256, kStemStrip = 4, kStemOwn = 8;  // at most; pixels; output channels

struct StemWeightParams {
  const float* input;
  const float* grad_output;
  float* grad_weight;
  float* partial;                                    // (slice, weight)
  std::int64_t row_step, column_step, channel_step;  // of the input
  std::int32_t images, ih, iw, ic, oh, ow, oc;
  std::int32_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  // How the threads of a block share out: `lanes` side by side have 8 channels each, `groups` of them some taps each,
  // `parts` of these the strips.
  std::int32_t lanes, groups, parts, chunks;      // chunks of a filter row; groups count them all
  std::int32_t channel_tiles, group_tiles;        // blocks beside each other
  std::int32_t channel_bits;                      // 2 to this many output channels have a block
  std::int32_t tiles, tiles_of_slice, slices;     // of the output
  std::int32_t tile_rows, strips_across;          // of a tile
  std::int32_t patch_rows, patch_columns, pitch;  // of the image under it; floats from row to row in shared memory
  std::int32_t same_remainder;                    // columns of a patch that lie side by side
  std::int32_t gradient_floats, stage_floats;     // in shared memory
  FastDivide by_column_tiles, by_row_tiles, by_strips_across, by_dilation;
  bool planar;    // the input lies as (N, C, H, W)
  bool in_fours;  // grad_output may be read four channels in an access
  bool accumulate;
};

// Where in a row of the patch a column begins.
FASTCONV_DEVICE std::int32_t stem_column(const StemWeightParams& p, std::int32_t column) {
  const std::int32_t quotient = p.by_dilation.quotient(column);
  return (p.by_dilation.remainder(column, quotient) * p.same_remainder + quotient) * p.ic;
}

struct StemTile {
  std::int32_t n, oh, ow;
  FASTCONV_DEVICE StemTile(const StemWeightParams& p, std::int32_t tile) {
    const std::int32_t row = p.by_column_tiles.quotient(tile);
    ow = p.by_column_tiles.remainder(tile, row) * p.strips_across * kStemStrip;
    n = p.by_row_tiles.quotient(row);
    oh = p.by_row_tiles.remainder(row, n) * p.tile_rows;
  }
};

FASTCONV_DEVICE void stem_copy_gradient(const StemWeightParams& p, float* to, const StemTile& at,
                                        std::int32_t first_channel) {
  const float* const image = p.grad_output + static_cast<std::int64_t>(at.n) * p.oh * p.ow * p.oc;
  FASTCONV_UNROLL_BY(1)
  for (std::int32_t copy = thread_x(); copy * 4 < p.gradient_floats; copy += block_threads()) {
    const std::int32_t channel = first_channel + (copy * 4 & ((1 << p.channel_bits) - 1));
    const std::int32_t pixel = copy * 4 >> p.channel_bits;
    const std::int32_t row = p.by_strips_across.quotient(pixel / kStemStrip);
    const std::int32_t oh = at.oh + row, ow = at.ow + pixel - row * p.strips_across * kStemStrip;
    const bool exists = row < p.tile_rows && oh < p.oh && ow < p.ow && channel < p.oc;
    const float* const from = exists ? image + (static_cast<std::int64_t>(oh) * p.ow + ow) * p.oc + channel : image;
    if (p.in_fours) {
      cp_async<16>(to + copy * 4, from, exists);
    } else {
      for (int i = 0; i < 4; ++i) cp_async<4>(to + copy * 4 + i, from + i, exists && channel + i < p.oc);
    }
  }
}

// Zeros outside the image. A warp has a line, its lanes what follows in memory.
FASTCONV_DEVICE void stem_copy_patch(const StemWeightParams& p, float* to, const StemTile& at) {
  const std::int32_t h = at.oh * p.stride_h - p.pad_top, w = at.ow * p.stride_w - p.pad_left;
  const float* const image = p.input + static_cast<std::int64_t>(at.n) * p.ih * p.iw * p.ic;
  const std::int32_t lines = p.planar ? p.ic * p.patch_rows : p.patch_rows, together = p.planar ? 1 : p.ic;
  FASTCONV_UNROLL_BY(1)
  for (std::int32_t line = warp(); line < lines; line += block_threads() / 32) {
    const std::int32_t c0 = p.planar ? line / p.patch_rows : 0, row = line - c0 * p.patch_rows;
    const bool row_exists = static_cast<std::uint32_t>(h + row) < static_cast<std::uint32_t>(p.ih);
    const float* const from = image + (row_exists ? h + row : 0) * p.row_step + c0 * p.channel_step;
    float* const to_row = to + row * p.pitch + c0;
    std::int32_t column = lane() / together, c = lane() % together;
    FASTCONV_UNROLL_BY(1)
    while (column < p.patch_columns) {
      const bool exists = row_exists && static_cast<std::uint32_t>(w + column) < static_cast<std::uint32_t>(p.iw);
      cp_async<4>(to_row + stem_column(p, column) + c, from + (exists ? (w + column) * p.column_step + c : 0), exists);
      column += 32 / together, c += 32 % together;
      if (c >= together) c -= together, ++column;
    }
  }
}

template <int kTaps>
using StemSums = float[kTaps][kStemOwn];

template <int kTaps>
FASTCONV_DEVICE void stem_add_pixel(const float* gradient, std::int32_t half, const float* taps,
                                    StemSums<kTaps>& sums) {
  Float4 dy[kStemOwn / 4];
  FASTCONV_UNROLL
  for (int four = 0; four < kStemOwn / 4; ++four) dy[four] = load<Float4>(gradient + four * half);
  FASTCONV_UNROLL
  for (int t = 0; t < kTaps; ++t) {
    const float x = taps[t];
    FASTCONV_UNROLL
    for (int i = 0; i < kStemOwn; ++i) sums[t][i] = multiply_add(x, dy[i / 4].at[i % 4], sums[t][i]);
  }
}

// Adds up the strips of a tile that are this thread's; `taps` are its first ones under the tile's first pixel.
template <int kTaps, int kShift>
FASTCONV_DEVICE void stem_add_tile(const StemWeightParams& p, const float* gradient, const float* taps,
                                   const std::int32_t* columns, std::int32_t part, StemSums<kTaps>& sums) {
  const std::int32_t channels = p.lanes * kStemOwn, strips = p.tile_rows * p.strips_across;
  FASTCONV_UNROLL_BY(1)
  for (std::int32_t strip = part; strip < strips; strip += p.parts) {
    const std::int32_t row = p.by_strips_across.quotient(strip), column = p.by_strips_across.remainder(strip, row);
    const float* const dy = gradient + strip * kStemStrip * channels;
    const float* x = taps + row * p.stride_h * p.pitch;
    if constexpr (kShift > 0) {
      x += column * (kStemStrip * kShift);
      float window[kTaps + (kStemStrip - 1) * kShift];
      FASTCONV_UNROLL
      for (int i = 0; i < kTaps + (kStemStrip - 1) * kShift; ++i) window[i] = x[i];
      FASTCONV_UNROLL
      for (int pixel = 0; pixel < kStemStrip; ++pixel)
        stem_add_pixel<kTaps>(dy + pixel * channels, channels / 2, window + pixel * kShift, sums);
    } else {
      const auto begin = load<Pack<std::int32_t, kStemStrip>>(columns + column * kStemStrip);
      FASTCONV_UNROLL
      for (int pixel = 0; pixel < kStemStrip; ++pixel)
        stem_add_pixel<kTaps>(dy + pixel * channels, channels / 2, x + begin.at[pixel], sums);
    }
  }
}

// Adds up the sums of threads that own the same, half of them to the other half at a time; the first part has them.
template <int kTaps>
FASTCONV_DEVICE void stem_add_parts(std::int32_t owners, std::int32_t parts, StemSums<kTaps>& sums) {
  float* const given = shared<float>();
  const std::int32_t part = thread_x() / owners, owner = thread_x() % owners;
  FASTCONV_UNROLL_BY(1)
  while (parts > 1) {
    const std::int32_t kept = (parts + 1) / 2, gone = (parts - kept) * owners;
    sync();  // nobody reads any more what is here
    if (part >= kept && part < parts) {
      float* const to = given + (part - kept) * owners + owner;
      FASTCONV_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        FASTCONV_UNROLL
        for (int i = 0; i < kStemOwn; ++i) to[(t * kStemOwn + i) * gone] = sums[t][i];
      }
    }
    sync();
    if (part < parts - kept) {
      const float* const from = given + part * owners + owner;
      FASTCONV_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        FASTCONV_UNROLL
        for (int i = 0; i < kStemOwn; ++i) sums[t][i] += from[(t * kStemOwn + i) * gone];
      }
    }
    parts = kept;
  }
}

// kShift: floats from pixel to pixel in the patch, or 0 for any number.
template <int kTaps, int kShift>
FASTCONV_BOUNDED_KERNEL(kStemWeightThreads, 2)
stem_conv2d_backward_weight(FASTCONV_GRID_CONSTANT const StemWeightParams p) {
  std::int32_t block = block_x();
  const std::int32_t group_tile = block % p.group_tiles;
  block /= p.group_tiles;
  const std::int32_t first_channel = block % p.channel_tiles * p.lanes * kStemOwn, slice = block / p.channel_tiles;
  const std::int32_t owners = p.lanes * p.groups, part = thread_x() / owners;
  const std::int32_t group = group_tile * p.groups + thread_x() % owners / p.lanes;  // of (filter row, chunk)
  const std::int32_t tap_row = group / p.chunks, first_tap = group % p.chunks * kTaps;
  const std::int32_t own_channel = thread_x() % p.lanes * 4;  // and as many in the other half of the tile's channels
  const bool works = part < p.parts && tap_row < p.kh;

  const std::int32_t columns = p.strips_across * kStemStrip;
  auto* const column_begins = shared<std::int32_t>();
  float* const stages = shared<float>() + columns;
  if (kShift == 0) {
    FASTCONV_UNROLL_BY(1)
    for (std::int32_t column = thread_x(); column < columns; column += block_threads())
      column_begins[column] = stem_column(p, column * p.stride_w);
  }

  const std::int32_t begin = slice * p.tiles_of_slice;
  const std::int32_t end = p.tiles - begin < p.tiles_of_slice ? p.tiles : begin + p.tiles_of_slice;
  const auto copy_tile = [&](std::int32_t tile, float* stage) {
    const StemTile at(p, tile);
    stem_copy_gradient(p, stage, at, first_channel);
    stem_copy_patch(p, stage + p.gradient_floats, at);
  };
  StemSums<kTaps> sums = {};
  if (begin < end) copy_tile(begin, stages);
  cp_async_commit();
  std::int32_t stage = 0;
  for (std::int32_t tile = begin; tile < end; ++tile) {
    cp_async_wait<0>();
    sync();  // everybody's copies of this tile are there, and nobody reads the other stage any more
    const std::int32_t next = p.stage_floats - stage;
    if (tile + 1 < end) copy_tile(tile + 1, stages + next);
    cp_async_commit();
    const float* const gradient = stages + stage;
    if (works)
      stem_add_tile<kTaps, kShift>(p, gradient + own_channel,
                                   gradient + p.gradient_floats + tap_row * p.dilation_h * p.pitch + first_tap,
                                   column_begins, part, sums);
    stage = next;
  }
  stem_add_parts<kTaps>(owners, p.parts, sums);
  if (part > 0 || !works) return;
  const std::int32_t row_taps = p.kw * p.ic;
  const std::int64_t count = static_cast<std::int64_t>(p.oc) * p.kh * row_taps;
  float* const to = p.partial + slice * count + static_cast<std::int64_t>(tap_row) * row_taps + first_tap;
  FASTCONV_UNROLL
  for (int i = 0; i < kStemOwn; ++i) {
    const std::int32_t channel = first_channel + own_channel + i / 4 * (p.lanes * 4) + i % 4;
    if (channel >= p.oc) continue;
    FASTCONV_UNROLL
    for (int t = 0; t < kTaps; ++t)
      if (first_tap + t < row_taps) to[static_cast<std::int64_t>(channel) * p.kh * row_taps + t] = sums[t][i];
  }
}

// One element from its definition, pixels outside the image left out.
FASTCONV_DEVICE_NOINLINE float stem_weight_sum_inside(const StemWeightParams& p, std::int64_t element) {
  const auto c = static_cast<std::int32_t>(element % p.ic), kw = static_cast<std::int32_t>(element / p.ic % p.kw);
  const std::int64_t filter_row = element / p.ic / p.kw;
  const auto kh = static_cast<std::int32_t>(filter_row % p.kh);
  const std::int64_t channel = filter_row / p.kh;
  float sum = 0;
  for (std::int32_t n = 0; n < p.images; ++n) {
    const float* const image = p.input + static_cast<std::int64_t>(n) * p.ih * p.iw * p.ic + c * p.channel_step;
    for (std::int32_t oh = 0; oh < p.oh && sum == sum; ++oh) {
      const std::int32_t h = oh * p.stride_h - p.pad_top + kh * p.dilation_h;
      if (static_cast<std::uint32_t>(h) >= static_cast<std::uint32_t>(p.ih)) continue;
      const float* const dy = p.grad_output + (static_cast<std::int64_t>(n) * p.oh + oh) * p.ow * p.oc + channel;
      for (std::int32_t ow = 0; ow < p.ow; ++ow) {
        const std::int32_t w = ow * p.stride_w - p.pad_left + kw * p.dilation_w;
        if (static_cast<std::uint32_t>(w) >= static_cast<std::uint32_t>(p.iw)) continue;
        sum = multiply_add(dy[static_cast<std::int64_t>(ow) * p.oc], image[h * p.row_step + w * p.column_step], sum);
      }
    }
  }
  return sum;
}

// Padding was multiplied as zeros. That is wrong for gradients that are Inf or NaN, and then the sum is NaN.
static FASTCONV_KERNEL stem_conv2d_weight_sum(FASTCONV_GRID_CONSTANT const StemWeightParams p) {
  const std::int64_t count = static_cast<std::int64_t>(p.oc) * p.kh * p.kw * p.ic, element = summed_element();
  float dw = sum_slices({p.partial, nullptr, count, p.slices, p.accumulate});
  if (thread_x() >= kSumElements || element >= count) return;
  if (dw != dw) dw = stem_weight_sum_inside(p, element);
  put_sum<float>(p.grad_weight, true, p.accumulate, element, dw);
}

}  // namespace cuda
}  // namespace fastconv
