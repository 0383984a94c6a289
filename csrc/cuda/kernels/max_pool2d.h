// Max pooling, forward and backward, with the rules of the CPU engine: of equal maxima the first wins, the first NaN
// wins over every number. Where a maximum was is told by the number kh * KW + kw of its tap (a byte; 255: no tap), or
// by its flat index in the plane (an int32). Elements are compared as float32, which is exact for every type T.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/kernels/floats.h"
#include "cuda/kernels/pool2d_geometry.h"

namespace fastconv {
namespace cuda {

constexpr int kNoTap = 255;

struct NoPlaces {};
template <class Place>
constexpr bool kHasPlaces = true;
template <>
inline constexpr bool kHasPlaces<NoPlaces> = false;
template <class Place>
constexpr bool kIsFlat = sizeof(Place) == 4;

template <class T>
struct MaxPoolForwardParams {
  const T* input;
  T* output;
  void* places;  // of the kernel's Place
  Pool2dGeometry geometry;
  PixelItems items;
  bool positive_only;          // no tap where the maximum is not above 0, as the gradient of a ReLU before wants it
  std::int32_t lanes, chunks;  // of the wide kernel: threads side by side in a pixel, blocks of them
};

template <class T>
struct MaxPoolBackwardParams {
  const T* grad_output;
  const void* places;
  T* grad_input;
  Pool2dGeometry geometry;
  PixelItems items;
};

FASTCONV_DEVICE bool beats(float x, float best) { return !(x <= best) && best == best; }

// The best so far of some channels.
template <int kVector>
struct Maximum {
  Pack<float, kVector> best;
  std::int32_t place[kVector];

  FASTCONV_DEVICE void start(const Pack<float, kVector>& x, std::int32_t at) {
    best = x;
    FASTCONV_UNROLL
    for (int i = 0; i < kVector; ++i) place[i] = at;
  }
  FASTCONV_DEVICE void take(const Pack<float, kVector>& x, std::int32_t at) {
    FASTCONV_UNROLL
    for (int i = 0; i < kVector; ++i)
      if (beats(x.at[i], best.at[i])) best.at[i] = x.at[i], place[i] = at;
  }
};

// From a place to that of the next row and of the next column, and the place of the first tap that lies inside.
template <class Place>
struct PlaceSteps {
  std::int32_t first = 0, row = 0, column = 0;

  FASTCONV_DEVICE PlaceSteps(const Pool2dGeometry& g, const PoolWindow& window, std::int32_t h, std::int32_t w) {
    if constexpr (kHasPlaces<Place>) {
      row = kIsFlat<Place> ? g.dilation_h * g.iw : g.kw, column = kIsFlat<Place> ? g.dilation_w : 1;
      first = kIsFlat<Place> ? h * g.iw + w : window.rows.begin * g.kw + window.columns.begin;
    }
  }
};

template <class T, int kVector, class Place>
FASTCONV_DEVICE void put_maximum(const MaxPoolForwardParams<T>& p, const Maximum<kVector>& maximum, std::int64_t to) {
  store_floats(p.output + to, maximum.best);
  if constexpr (kHasPlaces<Place>) {
    Pack<Place, kVector> places;
    FASTCONV_UNROLL
    for (int i = 0; i < kVector; ++i) {
      const bool none = p.positive_only && maximum.best.at[i] <= 0;
      places.at[i] = static_cast<Place>(none ? kNoTap : maximum.place[i]);
    }
    store(static_cast<Place*>(p.places) + to, places);
  }
}

// kSide: 2 or 3 for windows of that many taps each way, whose loads then go out together; 0 for any other.
template <class T, int kVector, class Place, int kSide>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
max_pool2d_forward_kernel(FASTCONV_GRID_CONSTANT const MaxPoolForwardParams<T> p) {
  using Channels = Pack<float, kVector>;
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t number = block_x() * kPoolThreads + thread_x();
  if (number >= p.items.items) return;
  const PixelItem at = pixel_item(p.items, number);
  const std::int32_t channel = at.access * kVector;
  const PoolWindow window(g, at.row, at.column);

  const std::int32_t h = window.h + window.rows.begin * g.dilation_h,
                     w = window.w + window.columns.begin * g.dilation_w;
  const T* corner = p.input + element(g, at.n, g.ih, g.iw, h, w, channel);
  const std::int64_t row_step = static_cast<std::int64_t>(g.dilation_h) * g.iw * g.channels;
  const std::int64_t column_step = static_cast<std::int64_t>(g.dilation_w) * g.channels;
  const PlaceSteps<Place> place(g, window, h, w);

  Maximum<kVector> maximum;
  const std::int32_t rows = window.rows.count(), columns = window.columns.count();
  if (kSide > 0 && rows == kSide && columns == kSide) {
    constexpr int kTaps = kSide > 0 ? kSide * kSide : 1, kColumns = kSide > 0 ? kSide : 1;
    Channels x[kTaps];
    FASTCONV_UNROLL
    for (int tap = 0; tap < kTaps; ++tap)
      x[tap] = load_floats<kVector>(corner + tap / kColumns * row_step + tap % kColumns * column_step);
    maximum.start(x[0], place.first);
    FASTCONV_UNROLL
    for (int tap = 1; tap < kTaps; ++tap)
      maximum.take(x[tap], place.first + tap / kColumns * place.row + tap % kColumns * place.column);
  } else {
    maximum.start(load_floats<kVector>(corner), place.first);
    for (std::int32_t row = 0; row < rows; ++row)
      for (std::int32_t column = row == 0 ? 1 : 0; column < columns; ++column)
        maximum.take(load_floats<kVector>(corner + row * row_step + column * column_step),
                     place.first + row * place.row + column * place.column);
  }

  put_maximum<T, kVector, Place>(p, maximum, element(g, at.n, g.oh, g.ow, at.row, at.column, channel));
}

// Which of two comes out whatever the order in which they are met: the first of equal ones, the first NaN.
FASTCONV_DEVICE bool comes_before(float x, std::int32_t at, float best, std::int32_t place) {
  if (x != x) return best == best || at < place;
  return x > best || (x == best && at < place);
}

// Wide windows, of which there are few (global pooling): a block has one window and `lanes` accesses of its channels.
// Its threads take every slices-th tap each; then the slices are compared in pairs. Taps are numbered even where nobody
// asks for places: the number decides between equal ones.
template <class T, int kVector, class Place>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
max_pool2d_forward_wide(FASTCONV_GRID_CONSTANT const MaxPoolForwardParams<T> p) {
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t slices = kPoolThreads / p.lanes, slice = thread_x() / p.lanes;
  const PixelItem at = pixel_item(p.items, block_x());  // its access is a chunk
  const std::int32_t channel = (at.access * p.lanes + thread_x() % p.lanes) * kVector;
  const PoolWindow window(g, at.row, at.column);
  const std::int32_t rows = window.rows.count(), columns = window.columns.count();
  const std::int32_t h = window.h + window.rows.begin * g.dilation_h,
                     w = window.w + window.columns.begin * g.dilation_w;
  const PlaceSteps<std::conditional_t<kHasPlaces<Place>, Place, std::int32_t>> place(g, window, h, w);

  Maximum<kVector> maximum;
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) maximum.best.at[i] = detail::from_bits(0xff800000), maximum.place[i] = INT32_MAX;
  const auto take = [&](const Pack<float, kVector>& x, const auto& place_of) {
    FASTCONV_UNROLL
    for (int i = 0; i < kVector; ++i)
      if (comes_before(x.at[i], place_of(i), maximum.best.at[i], maximum.place[i]))
        maximum.best.at[i] = x.at[i], maximum.place[i] = place_of(i);
  };
  if (channel < g.channels) {
    const T* corner = p.input + element(g, at.n, g.ih, g.iw, h, w, channel);
    const std::int64_t row_step = static_cast<std::int64_t>(g.dilation_h) * g.iw * g.channels;
    const std::int64_t column_step = static_cast<std::int64_t>(g.dilation_w) * g.channels;
    std::int32_t row = slice / columns, column = slice % columns;
    while (row < rows) {
      const std::int32_t here = place.first + row * place.row + column * place.column;
      take(load_floats<kVector>(corner + row * row_step + column * column_step), [&](int) { return here; });
      for (column += slices; column >= columns; column -= columns) ++row;
    }
  }
  auto* const all = shared<Maximum<kVector>>();
  all[thread_x()] = maximum;
  for (std::int32_t half = slices / 2; half > 0; half /= 2) {
    sync();
    if (slice < half) {
      const Maximum<kVector> other = all[thread_x() + half * p.lanes];
      take(other.best, [&](int i) { return other.place[i]; });
      all[thread_x()] = maximum;
    }
  }
  if (slice == 0 && channel < g.channels)
    put_maximum<T, kVector, Place>(p, maximum, element(g, at.n, g.oh, g.ow, at.row, at.column, channel));
}

// One input pixel: adds up what the windows over it have for it, row by row. Nobody else writes there, so that nothing
// is atomic and sums have one order. Places that no tap of the window has take no part.
template <class T, int kVector, class Place>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
max_pool2d_backward_gather(FASTCONV_GRID_CONSTANT const MaxPoolBackwardParams<T> p) {
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t number = block_x() * kPoolThreads + thread_x();
  if (number >= p.items.items) return;
  const PixelItem at = pixel_item(p.items, number);
  const std::int32_t channel = at.access * kVector;
  const std::int32_t h = at.row + g.pad_top, w = at.column + g.pad_left;
  const Range rows = windows_over(h, (g.kh - 1) * g.dilation_h + 1, g.by_stride_h, g.stride_h, g.oh);
  const Range columns = windows_over(w, (g.kw - 1) * g.dilation_w + 1, g.by_stride_w, g.stride_w, g.ow);

  Pack<float, kVector> sum = {};
  for (std::int32_t oh = rows.begin; oh < rows.end; ++oh) {
    const std::int32_t tap_h = g.by_dilation_h.quotient(h - oh * g.stride_h);
    if (g.by_dilation_h.remainder(h - oh * g.stride_h, tap_h) != 0) continue;
    for (std::int32_t ow = columns.begin; ow < columns.end; ++ow) {
      const std::int32_t tap_w = g.by_dilation_w.quotient(w - ow * g.stride_w);
      if (g.by_dilation_w.remainder(w - ow * g.stride_w, tap_w) != 0) continue;
      const std::int64_t from = element(g, at.n, g.oh, g.ow, oh, ow, channel);
      const auto places = load<Pack<Place, kVector>>(static_cast<const Place*>(p.places) + from);
      const auto gradient = load_floats<kVector>(p.grad_output + from);
      const std::int32_t here = kIsFlat<Place> ? at.row * g.iw + at.column : tap_h * g.kw + tap_w;
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i)
        if (places.at[i] == here) sum.at[i] += gradient.at[i];
    }
  }
  store_floats(p.grad_input + element(g, at.n, g.ih, g.iw, at.row, at.column, channel), sum);
}

// Windows that do not overlap: a thread reads one of them once and writes its cell of stride_h x stride_w pixels, zeros
// where there is no tap. The cells of an image are those of its padded rows and columns, as far as they meet the image.
template <class T, int kVector, class Place>
FASTCONV_BOUNDED_KERNEL(kPoolThreads, 4)
max_pool2d_backward_cells(FASTCONV_GRID_CONSTANT const MaxPoolBackwardParams<T> p) {
  const Pool2dGeometry& g = p.geometry;
  const std::int32_t number = block_x() * kPoolThreads + thread_x();
  if (number >= p.items.items) return;
  const PixelItem at = pixel_item(p.items, number);
  const std::int32_t channel = at.access * kVector;
  Pack<float, kVector> gradient = {};
  std::int32_t places[kVector];
  FASTCONV_UNROLL
  for (int i = 0; i < kVector; ++i) places[i] = -1;
  if (at.row < g.oh && at.column < g.ow) {
    const std::int64_t from = element(g, at.n, g.oh, g.ow, at.row, at.column, channel);
    gradient = load_floats<kVector>(p.grad_output + from);
    const auto there = load<Pack<Place, kVector>>(static_cast<const Place*>(p.places) + from);
    FASTCONV_UNROLL
    for (int i = 0; i < kVector; ++i) places[i] = there.at[i];
  }
  for (std::int32_t tap_h = 0; tap_h < g.stride_h; ++tap_h) {
    const std::int32_t h = at.row * g.stride_h - g.pad_top + tap_h;
    if (h < 0 || h >= g.ih) continue;
    for (std::int32_t tap_w = 0; tap_w < g.stride_w; ++tap_w) {
      const std::int32_t w = at.column * g.stride_w - g.pad_left + tap_w;
      if (w < 0 || w >= g.iw) continue;
      const bool covered = tap_h < g.kh && tap_w < g.kw;
      const std::int32_t here = kIsFlat<Place> ? h * g.iw + w : tap_h * g.kw + tap_w;
      Pack<float, kVector> pixel = {};
      FASTCONV_UNROLL
      for (int i = 0; i < kVector; ++i)
        if (covered && places[i] == here) pixel.at[i] += gradient.at[i];
      store_floats(p.grad_input + element(g, at.n, g.ih, g.iw, h, w, channel), pixel);
    }
  }
}

}  // namespace cuda
}  // namespace fastconv
