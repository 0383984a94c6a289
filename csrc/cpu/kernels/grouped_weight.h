// The weight gradient of a convolution whose groups are narrower than a vector: lanes as in grouped_tile.h, and the
// sums over the pixels stay in registers, a few kernel rows by all their columns at once. Taps outside the image are
// skipped.
#pragma once

#include <cstdint>

#include "cpu/kernels/grouped_tile.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// RH kernel rows x KW taps x NI inputs of the group are summed over P pixels at a time: RH * KW * NI sums, P gradients,
// one input and one permuted input must fit the registers.
template <class T, int KW, bool kPermuted>
struct GroupedWeightTile {
  static constexpr bool kMany = Vec<T>::kRegisters >= 32;
  static constexpr int kInputs = kPermuted ? (kMany ? 4 : 2) : 1;
  static constexpr int kRows = kPermuted ? 1 : (KW <= 3 ? 3 : (kMany ? 5 : 2));
  static constexpr int kPixels = kMany && KW * kRows * kInputs <= 12 ? 7 : 4;
};

template <class T, int RH, int KW, int NI, int STEP, int P, bool kEdge, bool kWhole, bool kPermuted>
inline __attribute__((always_inline)) void add_pixels(const GroupedWeightArgs<T>& a, const GroupedBlock<T>& b,
                                                      Vec<T> (&acc)[RH][KW][NI], std::int64_t th0, std::int64_t inputs,
                                                      Permutation<T> first, std::int64_t ih0, std::int64_t iw0,
                                                      const T* grad) {
  constexpr int kColumns = (P - 1) * STEP + KW;
  Vec<T> g[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) g[p] = load_channels<T, kWhole>(grad + p * a.grad_pixel, b.output_lanes);
#pragma GCC unroll 8
  for (int r = 0; r < RH; ++r) {
    const std::int64_t ih = ih0 + r * a.tap_step_h;
    if (th0 + r >= a.taps_h || outside(ih, a.source_h)) continue;
    const T* row = b.source + ih * a.source_row;
    std::int64_t at = iw0 * a.source_pixel;
#pragma GCC unroll 24
    for (int column = 0; column < kColumns; ++column, at += a.source_pixel) {
      if (kEdge && outside(iw0 + column, a.source_w)) continue;
      const Vec<T> x = load_channels<T, kWhole>(row + at, b.source_lanes);
      Permutation<T> lanes = first;
#pragma GCC unroll 4
      for (int i = 0; i < NI; ++i) {
        if (NI > 1 && i >= inputs) continue;
        const Vec<T> value = kPermuted ? permute(x, lanes) : x;
        if (kPermuted) lanes = next_lane(lanes);
#pragma GCC unroll 8
        for (int tw = 0; tw < KW; ++tw) {
          const int ahead = column - tw;
          if (ahead >= 0 && ahead % STEP == 0 && ahead / STEP < P)
            acc[r][tw][i] = fma(value, g[ahead / STEP], acc[r][tw][i]);
        }
      }
    }
  }
}

// Kernel rows [th0, th0 + RH) and inputs [input0, input0 + NI) of the groups of one block.
template <class T, int KW, int STEP, bool kWhole, bool kPermuted>
inline void add_rows(const GroupedWeightArgs<T>& a, const GroupedBlock<T>& b, const T* grad_output, T* sum,
                     std::int64_t th0, std::int64_t input0, FetchAhead& source_ahead, FetchAhead& grad_ahead) {
  using Tile = GroupedWeightTile<T, KW, kPermuted>;
  constexpr int RH = Tile::kRows, NI = Tile::kInputs, P = Tile::kPixels, kSize = Vec<T>::kSize;
  const std::int64_t inputs = a.group_inputs - input0;
  Permutation<T> first = b.first;
  for (std::int64_t i = 0; i < input0; ++i) first = next_lane(first);

  Vec<T> acc[RH][KW][NI];
#pragma GCC unroll 8
  for (int r = 0; r < RH; ++r)
#pragma GCC unroll 8
    for (int tw = 0; tw < KW; ++tw)
#pragma GCC unroll 4
      for (int i = 0; i < NI; ++i) {
        acc[r][tw][i] = Vec<T>::zero();
        if (th0 + r < a.taps_h && i < inputs)
          acc[r][tw][i] = Vec<T>::load(sum + (((th0 + r) * KW + tw) * a.group_inputs + input0 + i) * kSize);
      }

  for (std::int64_t oh = a.row0; oh < a.row1; ++oh) {
    const std::int64_t ih0 = a.origin_h + oh * a.step_h + th0 * a.tap_step_h;
    const T* grad = grad_output + oh * a.grad_row + a.column0 * a.grad_pixel;
    std::int64_t iw0 = a.origin_w + a.column0 * STEP;
    std::int64_t left = a.column1 - a.column0;
    fetch_ahead(source_ahead, left);
    fetch_ahead(grad_ahead, left);
    for (; left >= P; left -= P, grad += P * a.grad_pixel, iw0 += P * STEP) {
      if (iw0 >= 0 && iw0 + (P - 1) * STEP + KW <= a.source_w)
        add_pixels<T, RH, KW, NI, STEP, P, false, kWhole, kPermuted>(a, b, acc, th0, inputs, first, ih0, iw0, grad);
      else
        add_pixels<T, RH, KW, NI, STEP, P, true, kWhole, kPermuted>(a, b, acc, th0, inputs, first, ih0, iw0, grad);
    }
    for (; left > 0; --left, grad += a.grad_pixel, iw0 += STEP)
      add_pixels<T, RH, KW, NI, STEP, 1, true, kWhole, kPermuted>(a, b, acc, th0, inputs, first, ih0, iw0, grad);
  }

#pragma GCC unroll 8
  for (int r = 0; r < RH; ++r)
#pragma GCC unroll 8
    for (int tw = 0; tw < KW; ++tw)
#pragma GCC unroll 4
      for (int i = 0; i < NI; ++i)
        if (th0 + r < a.taps_h && i < inputs)
          acc[r][tw][i].store(sum + (((th0 + r) * KW + tw) * a.group_inputs + input0 + i) * kSize);
}

// Any kernel, stride and dilation: eight taps at once, each pixel's taps checked.
template <class T, bool kPermuted>
inline void add_rows_any(const GroupedWeightArgs<T>& a, const GroupedBlock<T>& b, const T* grad_output, T* sum,
                         std::int64_t tap0, std::int64_t input) {
  constexpr int kTaps = 8, kSize = Vec<T>::kSize;
  const int taps = static_cast<int>(a.taps_h * a.taps_w - tap0 < kTaps ? a.taps_h * a.taps_w - tap0 : kTaps);
  Permutation<T> lanes = b.first;
  for (std::int64_t i = 0; i < input; ++i) lanes = next_lane(lanes);
  sum += (tap0 * a.group_inputs + input) * kSize;
  const std::int64_t pitch = a.group_inputs * kSize;
  std::int64_t tap_h[kTaps] = {}, tap_w[kTaps] = {};
  Vec<T> acc[kTaps];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    acc[t] = t < taps ? Vec<T>::load(sum + t * pitch) : Vec<T>::zero();
    tap_h[t] = (tap0 + t) / a.taps_w * a.tap_step_h;
    tap_w[t] = (tap0 + t) % a.taps_w * a.tap_step_w;
  }
  for (std::int64_t oh = a.row0; oh < a.row1; ++oh) {
    const T* rows[kTaps];
    for (int t = 0; t < kTaps; ++t) {
      const std::int64_t ih = a.origin_h + oh * a.step_h + tap_h[t];
      rows[t] = t >= taps || outside(ih, a.source_h) ? nullptr : b.source + ih * a.source_row;
    }
    for (std::int64_t ow = a.column0; ow < a.column1; ++ow) {
      const Vec<T> g = load_lanes(grad_output + oh * a.grad_row + ow * a.grad_pixel, b.output_lanes);
      const std::int64_t iw0 = a.origin_w + ow * a.step_w;
#pragma GCC unroll 8
      for (int t = 0; t < kTaps; ++t) {
        if (!rows[t] || outside(iw0 + tap_w[t], a.source_w)) continue;
        Vec<T> x = load_lanes(rows[t] + (iw0 + tap_w[t]) * a.source_pixel, b.source_lanes);
        if (kPermuted) x = permute(x, lanes);
        acc[t] = fma(x, g, acc[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t)
    if (t < taps) acc[t].store(sum + t * pitch);
}

template <class T, int KW, int STEP, bool kPermuted>
void grouped_weight_blocks(const GroupedWeightArgs<T>& a) {
  using Tile = GroupedWeightTile<T, KW, kPermuted>;
  FetchAhead source_ahead = a.source_ahead, grad_ahead = a.grad_ahead;
  for (std::int64_t block = a.block0; block < a.block1; ++block) {
    const std::int64_t group = block * a.groups_per_block;
    const std::int64_t count = a.groups - group < a.groups_per_block ? a.groups - group : a.groups_per_block;
    GroupedBlock<T> b{};
    b.source = a.source + group * a.group_inputs;
    b.source_lanes = static_cast<int>(count * a.group_inputs);
    b.output_lanes = static_cast<int>(count * a.group_outputs);
    if (kPermuted) b.first = group_lanes<T>(static_cast<int>(a.group_inputs), static_cast<int>(a.group_outputs));
    const T* grad = a.grad_output + group * a.group_outputs;
    T* sum = a.sum + block * a.taps_h * a.taps_w * a.group_inputs * Vec<T>::kSize;
    const bool whole = b.source_lanes == Vec<T>::kSize && b.output_lanes == Vec<T>::kSize;
    if constexpr (KW > 0) {
      for (std::int64_t th = 0; th < a.taps_h; th += Tile::kRows)
        for (std::int64_t i = 0; i < a.group_inputs; i += Tile::kInputs)
          if (whole)
            add_rows<T, KW, STEP, true, kPermuted>(a, b, grad, sum, th, i, source_ahead, grad_ahead);
          else
            add_rows<T, KW, STEP, false, kPermuted>(a, b, grad, sum, th, i, source_ahead, grad_ahead);
    } else {
      for (std::int64_t tap = 0; tap < a.taps_h * a.taps_w; tap += 8)
        for (std::int64_t i = 0; i < a.group_inputs; ++i) add_rows_any<T, kPermuted>(a, b, grad, sum, tap, i);
    }
  }
}

template <class T, bool kPermuted>
void grouped_weight_of(const GroupedWeightArgs<T>& a) {
  if (a.tap_step_w == 1 && a.taps_w == 3) {
    if (a.step_w == 1) return grouped_weight_blocks<T, 3, 1, kPermuted>(a);
    if (a.step_w == 2) return grouped_weight_blocks<T, 3, 2, kPermuted>(a);
  }
  if (a.tap_step_w == 1 && a.taps_w == 5 && !kPermuted) {
    if (a.step_w == 1) return grouped_weight_blocks<T, 5, 1, false>(a);
    if (a.step_w == 2) return grouped_weight_blocks<T, 5, 2, false>(a);
  }
  grouped_weight_blocks<T, 0, 0, kPermuted>(a);
}

template <class T>
void grouped_weight(const GroupedWeightArgs<T>& a) {
  if (a.group_inputs == 1 && a.group_outputs == 1)
    grouped_weight_of<T, false>(a);
  else
    grouped_weight_of<T, true>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
