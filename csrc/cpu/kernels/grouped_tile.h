// Convolutions whose groups are narrower than a vector, depthwise first of all: the channels of several groups side by
// side are the lanes, and each lane has its own filter. Nothing is broadcast: a vector of input channels is loaded as
// it lies, its lanes are permuted where a group has several channels, and one kernel row of weights stays in registers.
// Taps outside the image are skipped, never multiplied.
#pragma once

#include <cstdint>

#include "cpu/kernels/conv_kernels.h"
#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Neighbouring outputs of a row that share the loads of input and weights. P sums + up to 5 weights + 1 input:
//   32 registers: 14 + 5 + 1;  16 registers: 7 + 5 + 1. Both divide the rows of 14, 28, 56, 112, which eight did not:
//   rows of 7 and 14 are 1.5 and 1.2 times as fast with seven.
template <class T>
struct GroupedPixels {
  static constexpr int kMost = Vec<T>::kRegisters >= 32 ? 14 : 7;
  static constexpr int kHalf = kMost / 2;
  static constexpr int kQuarter = kMost / 4;
};

// What the tiles of one block of groups have in common.
template <class T>
struct GroupedBlock {
  const T* source;  // the image at the block's first input channel
  const T* weight;
  const T* bias;
  int source_lanes, output_lanes;
  Permutation<T> first;  // lane -> the first input channel of its group
};

template <class T, bool kWhole>
inline Vec<T> load_channels(const T* p, int lanes) {
  return kWhole ? Vec<T>::load(p) : Vec<T>::load_partial(p, lanes);
}

inline bool outside(std::int64_t i, std::int64_t size) {
  return static_cast<std::uint64_t>(i) >= static_cast<std::uint64_t>(size);
}

inline void fetch_ahead(FetchAhead& ahead, std::int64_t vectors) {
  const std::int64_t wanted = 64 * vectors * ahead.lines, left = ahead.end - ahead.begin;
  const char* end = ahead.begin + (wanted < left ? wanted : left);
  for (; ahead.begin < end; ahead.begin += 64) __builtin_prefetch(ahead.begin, 0, 2);
}

// P outputs of one row from output (oh, ow) on. KW > 0: that many taps side by side and outputs STEP apart, each input
// vector loaded once for all outputs that read it. KW = 0: any taps. kEdge: some taps may lie outside the image.
template <class T, int P, int KW, int STEP, bool kEdge, bool kWhole, bool kPermuted>
inline __attribute__((always_inline)) void grouped_tile(const GroupedArgs<T>& a, const GroupedBlock<T>& b,
                                                        std::int64_t ih0, std::int64_t iw0, T* output) {
  constexpr int kColumns = (P - 1) * STEP + (KW > 0 ? KW : 1);
  Vec<T> acc[P];
  const Vec<T> start = b.bias ? load_channels<T, kWhole>(b.bias, b.output_lanes) : Vec<T>::zero();
#pragma GCC unroll 14
  for (int p = 0; p < P; ++p) acc[p] = start;

  for (std::int64_t th = 0; th < a.taps_h; ++th) {
    const std::int64_t ih = ih0 + th * a.tap_step_h;
    if (outside(ih, a.source_h)) continue;
    const T* row = b.source + ih * a.source_row;
    const T* weight = b.weight + th * a.weight_tap_h;
    Permutation<T> lanes = b.first;
    for (std::int64_t i = 0; i < (kPermuted ? a.group_inputs : 1); ++i, weight += Vec<T>::kSize) {
      if constexpr (KW > 0) {
        Vec<T> w[KW];
#pragma GCC unroll 8
        for (int tw = 0; tw < KW; ++tw) w[tw] = Vec<T>::load(weight + tw * a.weight_tap_w);
        std::int64_t at = iw0 * a.source_pixel;
#pragma GCC unroll 48
        for (int column = 0; column < kColumns; ++column, at += a.source_pixel) {
          if (kEdge && outside(iw0 + column, a.source_w)) continue;
          Vec<T> x = load_channels<T, kWhole>(row + at, b.source_lanes);
          if (kPermuted) x = permute(x, lanes);
#pragma GCC unroll 8
          for (int tw = 0; tw < KW; ++tw) {
            const int ahead = column - tw;
            if (ahead >= 0 && ahead % STEP == 0 && ahead / STEP < P)
              acc[ahead / STEP] = fma(x, w[tw], acc[ahead / STEP]);
          }
        }
      } else {
        for (std::int64_t tw = 0; tw < a.taps_w; ++tw) {
          const Vec<T> w = Vec<T>::load(weight + tw * a.weight_tap_w);
          const std::int64_t first = iw0 + tw * a.tap_step_w;
          std::int64_t at = first * a.source_pixel;
#pragma GCC unroll 14
          for (int p = 0; p < P; ++p, at += a.step_w * a.source_pixel) {
            if (kEdge && outside(first + p * a.step_w, a.source_w)) continue;
            Vec<T> x = load_channels<T, kWhole>(row + at, b.source_lanes);
            if (kPermuted) x = permute(x, lanes);
            acc[p] = fma(x, w, acc[p]);
          }
        }
      }
      if (kPermuted) lanes = next_lane(lanes);
    }
  }

  if (a.activation == Activation::relu) {
    const Vec<T> zero = Vec<T>::zero();
#pragma GCC unroll 14
    for (int p = 0; p < P; ++p) acc[p] = select(not_less_equal(acc[p], zero), acc[p], zero);
  }
#pragma GCC unroll 14
  for (int p = 0; p < P; ++p) {
    if (!kWhole)
      acc[p].store_partial(output, b.output_lanes);
    else if (a.stream)
      acc[p].stream(output);
    else
      acc[p].store(output);
    output += a.output_pixel;
  }
}

// Outputs [column0, column1) of one row. Tails overlap the tile before them where the row is wide enough: the same
// values are stored twice.
template <class T, int KW, int STEP, bool kWhole, bool kPermuted>
inline void grouped_row(const GroupedArgs<T>& a, const GroupedBlock<T>& b, std::int64_t oh, T* output,
                        FetchAhead& ahead) {
  constexpr int kMost = GroupedPixels<T>::kMost, kHalf = GroupedPixels<T>::kHalf, kQuarter = GroupedPixels<T>::kQuarter;
  const std::int64_t ih0 = a.origin_h + oh * a.step_h;
  const std::int64_t width = a.column1 - a.column0;
  for (std::int64_t ow = a.column0; ow < a.column1;) {
    const std::int64_t left = a.column1 - ow;
    int pixels = 1;
    if (left > kHalf && width >= kMost)
      pixels = kMost;
    else if (left > kQuarter && width >= kHalf)
      pixels = kHalf;
    else if (left > 1 && width >= kQuarter)
      pixels = kQuarter;
    if (pixels > left) ow = a.column1 - pixels;
    const std::int64_t iw0 = a.origin_w + ow * a.step_w;
    T* to = output + ow * a.output_pixel;
    fetch_ahead(ahead, pixels);
    if (pixels == kMost) {
      const std::int64_t last = iw0 + (kMost - 1) * a.step_w + (a.taps_w - 1) * a.tap_step_w;
      if (kWhole && KW > 0 && iw0 >= 0 && last < a.source_w)
        grouped_tile<T, kMost, KW, STEP, false, kWhole, kPermuted>(a, b, ih0, iw0, to);
      else
        grouped_tile<T, kMost, KW, STEP, true, kWhole, kPermuted>(a, b, ih0, iw0, to);
    } else if (pixels == kHalf) {
      grouped_tile<T, kHalf, KW, STEP, true, kWhole, kPermuted>(a, b, ih0, iw0, to);
    } else if (pixels == kQuarter) {
      grouped_tile<T, kQuarter, KW, STEP, true, kWhole, kPermuted>(a, b, ih0, iw0, to);
    } else {
      grouped_tile<T, 1, KW, STEP, true, kWhole, kPermuted>(a, b, ih0, iw0, to);
    }
    ow += pixels;
  }
}

// Blocks of groups outside, rows inside: the rows of a block of lanes stay in the L1 cache for their next tap row.
template <class T, int KW, int STEP, bool kPermuted>
void grouped_rows(const GroupedArgs<T>& a) {
  FetchAhead ahead = a.ahead;
  for (std::int64_t block = a.block0; block < a.block1; ++block) {
    const std::int64_t group = block * a.groups_per_block;
    const std::int64_t count = a.groups - group < a.groups_per_block ? a.groups - group : a.groups_per_block;
    GroupedBlock<T> b{};
    b.source = a.source + group * a.group_inputs;
    b.weight = a.weight + block * a.weight_block;
    b.bias = a.bias ? a.bias + group * a.group_outputs : nullptr;
    b.source_lanes = static_cast<int>(count * a.group_inputs);
    b.output_lanes = static_cast<int>(count * a.group_outputs);
    if (kPermuted) b.first = group_lanes<T>(static_cast<int>(a.group_inputs), static_cast<int>(a.group_outputs));
    T* output = a.output + group * a.group_outputs;
    const bool whole = b.source_lanes == Vec<T>::kSize && b.output_lanes == Vec<T>::kSize;
    for (std::int64_t oh = a.row0; oh < a.row1; ++oh) {
      if (whole)
        grouped_row<T, KW, STEP, true, kPermuted>(a, b, oh, output + oh * a.output_row, ahead);
      else
        grouped_row<T, 0, 0, false, kPermuted>(a, b, oh, output + oh * a.output_row, ahead);
    }
  }
}

template <class T, bool kPermuted>
void grouped_rows_of(const GroupedArgs<T>& a) {
  if (a.tap_step_w == 1 && a.step_w == 1) {
    if (a.taps_w == 2) return grouped_rows<T, 2, 1, kPermuted>(a);
    if (a.taps_w == 3) return grouped_rows<T, 3, 1, kPermuted>(a);
    if (a.taps_w == 5 && !kPermuted) return grouped_rows<T, 5, 1, kPermuted>(a);
  }
  if (a.tap_step_w == 1 && a.step_w == 2) {
    if (a.taps_w == 3) return grouped_rows<T, 3, 2, kPermuted>(a);
    if (a.taps_w == 5 && !kPermuted) return grouped_rows<T, 5, 2, kPermuted>(a);
  }
  grouped_rows<T, 0, 0, kPermuted>(a);
}

template <class T>
void grouped_forward(const GroupedArgs<T>& a) {
  if (a.group_inputs == 1 && a.group_outputs == 1)
    grouped_rows_of<T, false>(a);
  else
    grouped_rows_of<T, true>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
