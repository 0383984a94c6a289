// Gathers a row of target pixels from the windows over them. A pixel is one short vector, as wide as its channels need:
// what a vector reads beyond the channels is overwritten by the next pixel. Each pixel is loaded before the one to its
// left is stored, so that no load overlaps a store that is still on its way.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// W lanes in the vector type of GCC and Clang; W < 2 * channels, so that a store spoils the next pixel at most.
template <class T, int W>
struct ShortVector {
  typedef T Lanes __attribute__((vector_size(W * sizeof(T))));
  Lanes lanes;

  static ShortVector load(const T* p, std::int64_t count = W) {
    ShortVector r{};
    if (count >= W)
      std::memcpy(&r.lanes, p, sizeof(Lanes));
    else
      for (std::int64_t i = 0; i < count; ++i) r.lanes[i] = p[i];
    return r;
  }
  void store(T* p, std::int64_t count = W) const {
    if (count >= W)
      std::memcpy(p, &lanes, sizeof(Lanes));
    else
      for (std::int64_t i = 0; i < count; ++i) p[i] = lanes[i];
  }
};

template <class T>
struct ShortVector<T, 1> {
  T lanes;
  static ShortVector load(const T* p, std::int64_t = 1) { return {*p}; }
  void store(T* p, std::int64_t = 1) const { *p = lanes; }
};

template <class T, int W>
void fold_gather_width(const FoldGatherArgs<T>& a) {
  using Pixel = ShortVector<T, W>;
  const std::int64_t channels = a.channels;
  // As many elements as may be touched at pixel p, at least its own.
  const auto room = [&](std::int64_t p) { return a.readable - p * channels < W ? channels : W; };
  Pixel next = Pixel::load(a.target, room(0));
  for (std::int64_t p = 0; p < a.pixels; ++p) {
    T* target = a.target + p * channels;
    Pixel sum = next;
    if (p + 1 < a.pixels) next = Pixel::load(target + channels, room(p + 1));
    const T* row = a.windows + p * a.window;
    for (std::int64_t i = 0; i < a.taps_h; ++i, row += a.row_step) {
      const T* tap = row;
      for (std::int64_t j = 0; j < a.taps_w; ++j, tap += a.tap_step) sum.lanes += Pixel::load(tap).lanes;
    }
    // The last pixel must leave its right neighbour alone, which nobody loads here.
    sum.store(target, p + 1 < a.pixels ? room(p) : channels);
  }
}

template <class T>
void fold_gather(const FoldGatherArgs<T>& a) {
  if (a.channels == 1) return fold_gather_width<T, 1>(a);
  if (a.channels == 2) return fold_gather_width<T, 2>(a);
  fold_gather_width<T, 4>(a);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
