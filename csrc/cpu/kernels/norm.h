// Normalisation: column sums, and rows scaled column by column. The mask of a ReLU is computed from x again, by the
// very operations of forward, so that backward need not read what forward wrote.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "cpu/kernels/norm_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// NV whole vectors of columns; NV = 1 also takes a part of one.
template <class T, int NV>
inline void moments_strip(const T* x, std::int64_t rows, std::int64_t pitch, int lanes, T* sum, T* square) {
  constexpr int kSize = Vec<T>::kSize;
  const int n = NV > 1 ? kSize : lanes;
  Vec<T> first[NV], s[NV], q[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    first[v] = load_lanes(x + v * kSize, n);
    s[v] = q[v] = Vec<T>::zero();
  }
  for (std::int64_t row = 1; row < rows; ++row) {
    const T* p = x + row * pitch;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      const Vec<T> d = load_lanes(p + v * kSize, n) - first[v];
      s[v] = s[v] + d;
      q[v] = fma(d, d, q[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    store_lanes(s[v], sum + v * kSize, n);
    store_lanes(q[v], square + v * kSize, n);
  }
}

template <class T>
void norm_moments(const T* x, std::int64_t rows, std::int64_t columns, T* sum, T* square) {
  constexpr int kSize = Vec<T>::kSize;
  std::int64_t c = 0;
  for (; c + 4 * kSize <= columns; c += 4 * kSize)
    moments_strip<T, 4>(x + c, rows, columns, kSize, sum + c, square + c);
  for (; c < columns; c += kSize)
    moments_strip<T, 1>(x + c, rows, columns, lanes_from(c, columns, kSize), sum + c, square + c);
}

// Below this an output is closed: a bound instead of a branch, so that each loop exists once.
template <class T>
inline Vec<T> lowest_output(const NormRows<T>& a) {
  return Vec<T>::broadcast(a.relu ? T(0) : -static_cast<T>(__builtin_inff()));
}

template <class T, int NV>
inline void grad_sums_strip(const NormRows<T>& a, std::int64_t c, int lanes, T* sum, T* product) {
  constexpr int kSize = Vec<T>::kSize;
  const int n = NV > 1 ? kSize : lanes;
  const Vec<T> lowest = lowest_output(a), zero = Vec<T>::zero();
  Vec<T> center[NV], scale[NV], shift[NV], s[NV], p[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    center[v] = load_lanes(a.center + c + v * kSize, n);
    scale[v] = load_lanes(a.scale + c + v * kSize, n);
    shift[v] = load_lanes(a.shift + c + v * kSize, n);
    s[v] = p[v] = zero;
  }
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t at = row * a.columns + c;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      const Vec<T> d = load_lanes(a.x + at + v * kSize, n) - center[v];
      const typename Vec<T>::Mask open = not_less_equal(fma(d, scale[v], shift[v]), lowest);
      const Vec<T> g = select(open, load_lanes(a.grad + at + v * kSize, n), zero);
      s[v] = s[v] + g;
      p[v] = fma(g, d, p[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    store_lanes(s[v], sum + c + v * kSize, n);
    store_lanes(p[v], product + c + v * kSize, n);
  }
}

template <class T>
void norm_grad_sums(const NormRows<T>& a, T* sum, T* product) {
  constexpr int kSize = Vec<T>::kSize;
  std::int64_t c = 0;
  for (; c + 2 * kSize <= a.columns; c += 2 * kSize) grad_sums_strip<T, 2>(a, c, kSize, sum, product);
  for (; c < a.columns; c += kSize) grad_sums_strip<T, 1>(a, c, lanes_from(c, a.columns, kSize), sum, product);
}

// output[row][c] = body(c, place, lanes) for all vectors. Only rows of whole aligned lines can be streamed.
template <class T, class Body>
inline __attribute__((always_inline)) void write_rows(const NormRows<T>& a, T* output, Body&& body) {
  constexpr int kSize = Vec<T>::kSize;
  const bool stream = a.stream && reinterpret_cast<std::uintptr_t>(output) % 64 == 0 && a.columns * sizeof(T) % 64 == 0;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t at = row * a.columns;
    std::int64_t c = 0;
    for (; c + kSize <= a.columns; c += kSize) {
      const Vec<T> y = body(c, at + c, kSize);
      if (stream)
        y.stream(output + at + c);
      else
        y.store(output + at + c);
    }
    if (c < a.columns) {
      const int lanes = static_cast<int>(a.columns - c);
      body(c, at + c, lanes).store_partial(output + at + c, lanes);
    }
  }
  if (stream) Vec<T>::fence();
}

template <class T>
void norm_apply(const NormRows<T>& args, T* y) {
  const NormRows<T> a = args;
  const Vec<T> lowest = lowest_output(a);
  write_rows(a, y, [=](std::int64_t c, std::int64_t at, int lanes) {
    const Vec<T> d = load_lanes(a.x + at, lanes) - load_lanes(a.center + c, lanes);
    const Vec<T> r = fma(d, load_lanes(a.scale + c, lanes), load_lanes(a.shift + c, lanes));
    return select(not_less_equal(r, lowest), r, lowest);
  });
}

template <class T>
void norm_backward(const NormRows<T>& args, T* grad_input) {
  const NormRows<T> a = args;
  const Vec<T> lowest = lowest_output(a), zero = Vec<T>::zero();
  write_rows(a, grad_input, [=](std::int64_t c, std::int64_t at, int lanes) {
    const Vec<T> scale = load_lanes(a.scale + c, lanes);
    const Vec<T> d = load_lanes(a.x + at, lanes) - load_lanes(a.center + c, lanes);
    const typename Vec<T>::Mask open = not_less_equal(fma(d, scale, load_lanes(a.shift + c, lanes)), lowest);
    const Vec<T> g = select(open, load_lanes(a.grad + at, lanes), zero);
    return fma(g, scale, fma(d, load_lanes(a.slope + c, lanes), load_lanes(a.offset + c, lanes)));
  });
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
