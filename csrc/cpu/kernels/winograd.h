// The transforms of Winograd's minimal filtering (Winograd 1980; Lavin and Gray 2016) in the Toom-Cook view: outputs
// and filter are polynomials, evaluated at the points 0, +-p, +-q, infinity; a product of polynomials is a product at
// the points. The transposed statement gives the correlation: input by B^T, filter by G, results by A^T. Points +-3/4,
// +-3/2 have squares that are exact and near 1, which keeps the rounding error below that of +-1, +-2.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "cpu/kernels/winograd_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// The finite points other than 0 come in pairs +-value.
template <int Edge>
struct WinogradPoints;
template <>
struct WinogradPoints<4> {
  static constexpr int kPairs = 1;
  static constexpr double kPair[1] = {1.0};
  static constexpr double kScale[2] = {-1.0, 0.5};  // 1 / product of (point - other points): of 0, of each pair
};
template <>
struct WinogradPoints<6> {
  static constexpr int kPairs = 2;
  static constexpr double kPair[2] = {0.75, 1.5};
  static constexpr double a2 = kPair[0] * kPair[0], b2 = kPair[1] * kPair[1];
  static constexpr double kScale[3] = {1 / (a2 * b2), 1 / (2 * a2 * (a2 - b2)), 1 / (2 * b2 * (b2 - a2))};
};

constexpr double power(double x, int n) { return n == 0 ? 1.0 : x * power(x, n - 1); }

inline Vec<float> constant(double x) { return Vec<float>::broadcast(static_cast<float>(x)); }

// values[i] = the polynomial with L coefficients at point i; at infinity its leading coefficient.
template <int Edge, int L>
inline void evaluate(const Vec<float>* coefficient, Vec<float>* value) {
  using P = WinogradPoints<Edge>;
  value[0] = coefficient[0];
#pragma GCC unroll 2
  for (int k = 0; k < P::kPairs; ++k) {
    Vec<float> even = coefficient[0];
#pragma GCC unroll 3
    for (int j = 2; j < L; j += 2) even = fma(coefficient[j], constant(power(P::kPair[k], j)), even);
    Vec<float> odd = coefficient[1] * constant(P::kPair[k]);
#pragma GCC unroll 3
    for (int j = 3; j < L; j += 2) odd = fma(coefficient[j], constant(power(P::kPair[k], j)), odd);
    value[2 * k + 1] = even + odd;
    value[2 * k + 2] = even - odd;
  }
  value[Edge - 1] = coefficient[L - 1];
}

// The transpose: result[j] = sum over points of value * point^j.
template <int Edge, int L>
inline void gather_powers(const Vec<float>* value, Vec<float>* result) {
  using P = WinogradPoints<Edge>;
  Vec<float> even[P::kPairs], odd[P::kPairs];
#pragma GCC unroll 2
  for (int k = 0; k < P::kPairs; ++k) {
    even[k] = value[2 * k + 1] + value[2 * k + 2];
    odd[k] = value[2 * k + 1] - value[2 * k + 2];
  }
#pragma GCC unroll 5
  for (int j = 0; j < L; ++j) {
    const Vec<float>* terms = j % 2 == 0 ? even : odd;
    Vec<float> sum = terms[0] * constant(power(P::kPair[0], j));
    if (P::kPairs > 1) sum = fma(terms[P::kPairs - 1], constant(power(P::kPair[P::kPairs - 1], j)), sum);
    if (j == 0) sum = sum + value[0];
    if (j == L - 1) sum = sum + value[Edge - 1];
    result[j] = sum;
  }
}

template <int Edge>
inline void scale_points(Vec<float>* value) {
  using P = WinogradPoints<Edge>;
  value[0] = value[0] * constant(P::kScale[0]);
#pragma GCC unroll 2
  for (int k = 0; k < P::kPairs; ++k) {
    value[2 * k + 1] = value[2 * k + 1] * constant(P::kScale[k + 1]);
    value[2 * k + 2] = value[2 * k + 2] * constant(P::kScale[k + 1]);
  }
}

// B^T: row i holds the coefficients of the product of (x - other finite points).
template <int Edge>
inline void transform_input(const Vec<float>* d, Vec<float>* value) {
  using P = WinogradPoints<Edge>;
  if constexpr (Edge == 4) {
    value[0] = d[2] - d[0];
    value[1] = d[2] + d[1];
    value[2] = d[2] - d[1];
    value[3] = d[3] - d[1];
  } else {
    constexpr double a2 = P::a2, b2 = P::b2;
    value[0] = fma(d[0], constant(a2 * b2), fma(d[2], constant(-(a2 + b2)), d[4]));
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const Vec<float> other = constant(k == 0 ? -b2 : -a2), point = constant(P::kPair[k]);
      const Vec<float> even = fma(d[2], other, d[4]), odd = fma(d[1], other, d[3]) * point;
      value[2 * k + 1] = even + odd;
      value[2 * k + 2] = even - odd;
    }
    value[5] = fma(d[1], constant(a2 * b2), fma(d[3], constant(-(a2 + b2)), d[5]));
  }
}

// The same transform along columns, then along rows: In x In values to Out x Out.
template <int In, int Out, class Line, class Load, class Store>
inline __attribute__((always_inline)) void along_both(Line&& line, Load&& load, Store&& store) {
  Vec<float> half[In][Out];  // [column][result row]
#pragma GCC unroll 6
  for (int j = 0; j < In; ++j) {
    Vec<float> column[In];
#pragma GCC unroll 6
    for (int i = 0; i < In; ++i) column[i] = load(i, j);
    line(column, half[j]);
  }
#pragma GCC unroll 6
  for (int i = 0; i < Out; ++i) {
    Vec<float> row[In], result[Out];
#pragma GCC unroll 6
    for (int j = 0; j < In; ++j) row[j] = half[j][i];
    line(row, result);
#pragma GCC unroll 6
    for (int j = 0; j < Out; ++j) store(i, j, result[j]);
  }
}

// A square of places in memory, by value: what a lambda holds by reference would be read again after every store.
template <class T>
struct Square {
  T* first;
  std::int64_t row, column;

  T* at(int i, int j) const { return first + i * row + j * column; }
  Square shifted(std::int64_t c) const { return {first + c, row, column}; }
};

// Pixels to points, shared by input and output gradient: they differ in the transform of a line.
// The first kOverlap columns of the next tile are the last ones of this.
template <int In, int Edge, int kOverlap, class Line>
inline void to_points(const WinogradToPoints& a, Line&& line) {
  constexpr int kSize = Vec<float>::kSize;
  const std::int64_t ahead = a.prefetch;
  const Square<const float> pixels{a.pixels, a.row, a.pixel};
  const Square<float> points{a.points, Edge * a.point, a.point};
  const std::int64_t channels = a.channels;
  std::int64_t c = 0;
  if (a.row0 == 0 && a.column0 == 0 && a.row1 == In && a.column1 == In)
    for (; c + kSize <= channels; c += kSize) {
      const auto from = pixels.shifted(c);
      const auto to = points.shifted(c);
      along_both<In, Edge>(
          line,
          [=](int i, int j) {
            if (j >= kOverlap) __builtin_prefetch(from.at(i, j) + ahead);
            return Vec<float>::load(from.at(i, j));
          },
          [=](int i, int j, Vec<float> x) { x.store(to.at(i, j)); });
    }
  if (c >= channels) return;
  // At the border, places outside read one vector of zeros, whatever the channel.
  alignas(64) static constexpr float kZeros[kSize] = {};
  const float* place[In][In];
  std::int64_t step[In][In];  // -1: all bits of the channel
  for (int i = 0; i < In; ++i)
    for (int j = 0; j < In; ++j) {
      const bool inside = i >= a.row0 && i < a.row1 && j >= a.column0 && j < a.column1;
      place[i][j] = inside ? pixels.at(i, j) : kZeros;
      step[i][j] = inside ? -1 : 0;
    }
  for (; c < channels; c += kSize) {
    const int lanes = lanes_from(c, channels, kSize);
    const auto to = points.shifted(c);
    const auto store = [=](int i, int j, Vec<float> x) { x.store(to.at(i, j)); };
    if (lanes == kSize)
      along_both<In, Edge>(line, [&](int i, int j) { return Vec<float>::load(place[i][j] + (c & step[i][j])); }, store);
    else
      along_both<In, Edge>(
          line, [&](int i, int j) { return Vec<float>::load_partial(place[i][j] + (c & step[i][j]), lanes); }, store);
  }
}

template <int M, int R>
void winograd_input(const WinogradToPoints& a) {
  constexpr int kEdge = M + R - 1;
  to_points<kEdge, kEdge, R - 1>(a, [](const Vec<float>* in, Vec<float>* out) { transform_input<kEdge>(in, out); });
}

template <int M, int R>
void winograd_gradient(const WinogradToPoints& a) {
  constexpr int kEdge = M + R - 1;
  to_points<M, kEdge, 0>(a, [](const Vec<float>* in, Vec<float>* out) { evaluate<kEdge, M>(in, out); });
}

// x * 0 is 0 for a finite x and NaN for any other.
inline bool all_zero(Vec<float> check) {
  float lane[Vec<float>::kSize];
  check.store(lane);
  bool zero = true;
  for (float x : lane) zero = zero && x == 0.0f;
  return zero;
}

// Whole: every output is valid, and so is every lane.
template <int M, int R, bool MaxPool, bool Whole>
inline Vec<float> from_points(const WinogradFromPoints& a, std::int64_t c, int lanes) {
  constexpr int kEdge = M + R - 1;
  const Vec<float> zero = Vec<float>::zero();
  const Vec<float> bias = a.bias ? load_lanes(a.bias + c, lanes) : zero;
  const bool relu = a.activation == Activation::relu, stream = a.stream;
  const int rows = a.rows, columns = a.columns;
  const Square<const float> points{a.points + c, kEdge * a.point, a.point};
  const Square<float> pixels{a.pixels + c, a.row, a.pixel};
  const auto store = [=](int i, int j, Vec<float> x) {
    if (stream)
      x.stream(pixels.at(i, j));
    else if (Whole)
      x.store(pixels.at(i, j));
    else
      store_lanes(x, pixels.at(i, j), lanes);
  };
  Vec<float> check = zero;
  Vec<float> largest[M / 2] = {};  // of the windows that the present row of outputs belongs to
  along_both<kEdge, M>([](const Vec<float>* in, Vec<float>* out) { gather_powers<kEdge, M>(in, out); },
                       [=](int i, int j) { return Vec<float>::load(points.at(i, j)); },
                       [&](int i, int j, Vec<float> x) {
                         if (!Whole && (i >= rows || j >= columns)) return;
                         x = x + bias;
                         check = fma(x, zero, check);
                         if (relu) x = select(not_less_equal(x, zero), x, zero);
                         if constexpr (!MaxPool) {
                           store(i, j, x);
                         } else {
                           largest[j / 2] = i % 2 == 0 && j % 2 == 0 ? x : max_or_nan(x, largest[j / 2]);
                           if (i % 2 == 1 && j % 2 == 1) store(i / 2, j / 2, largest[j / 2]);
                         }
                       });
  return check;
}

template <int M, int R, bool MaxPool>
bool winograd_output(const WinogradFromPoints& a) {
  constexpr int kSize = Vec<float>::kSize;
  const bool whole = a.rows == M && a.columns == M;
  Vec<float> check = Vec<float>::zero();
  for (std::int64_t c = 0; c < a.channels; c += kSize) {
    const int lanes = lanes_from(c, a.channels, kSize);
    check = check + (whole && lanes == kSize ? from_points<M, R, MaxPool, true>(a, c, lanes)
                                             : from_points<M, R, MaxPool, false>(a, c, lanes));
  }
  return all_zero(check);
}

template <int M, int R>
void winograd_filters(const WinogradFilters& f, const float* taps, float* points) {
  constexpr int kEdge = M + R - 1, kSize = Vec<float>::kSize;
  for (std::int64_t c = 0; c < f.inputs * f.lanes; c += kSize) {
    const Square<const float> from{taps + c, R * f.tap, f.tap};
    const Square<float> to{points + c, kEdge * f.point, f.point};
    along_both<R, kEdge>(
        [](const Vec<float>* in, Vec<float>* out) {
          evaluate<kEdge, R>(in, out);
          scale_points<kEdge>(out);
        },
        [=](int i, int j) { return Vec<float>::load(from.at(i, j)); },
        [=](int i, int j, Vec<float> x) { x.store(to.at(i, j)); });
  }
}

template <int M, int R>
bool winograd_filter_gradient(const WinogradFilters& f, const float* points, float* taps) {
  constexpr int kEdge = M + R - 1, kSize = Vec<float>::kSize;
  const Vec<float> zero = Vec<float>::zero();
  Vec<float> check = zero;
  for (std::int64_t c = 0; c < f.inputs * f.lanes; c += kSize) {
    const Square<const float> from{points + c, kEdge * f.point, f.point};
    const Square<float> to{taps + c, R * f.tap, f.tap};
    along_both<kEdge, R>(
        [](const Vec<float>* in, Vec<float>* out) {
          Vec<float> scaled[kEdge];
#pragma GCC unroll 6
          for (int i = 0; i < kEdge; ++i) scaled[i] = in[i];
          scale_points<kEdge>(scaled);
          gather_powers<kEdge, R>(scaled, out);
        },
        [=](int i, int j) { return Vec<float>::load(from.at(i, j)); },
        [&check, zero, to](int i, int j, Vec<float> x) {
          check = fma(x, zero, check);
          x.store(to.at(i, j));
        });
  }
  return all_zero(check);
}

template <WinogradTile Tile>
constexpr void fill_winograd_tile(WinogradKernels& kernels) {
  constexpr int index = static_cast<int>(Tile), m = winograd_size(Tile).outputs, r = winograd_size(Tile).taps;
  kernels.input[index] = &winograd_input<m, r>;
  kernels.output[0][index] = &winograd_output<m, r, false>;
  kernels.output[1][index] = &winograd_output<m, r, true>;
  kernels.filters[index] = &winograd_filters<m, r>;
  kernels.gradient[index] = &winograd_gradient<m, r>;
  kernels.filter_gradient[index] = &winograd_filter_gradient<m, r>;
}

constexpr WinogradKernels make_winograd_kernels() {
  WinogradKernels kernels{};
  fill_winograd_tile<WinogradTile::f2x2_3x3>(kernels);
  fill_winograd_tile<WinogradTile::f4x4_3x3>(kernels);
  fill_winograd_tile<WinogradTile::f2x2_5x5>(kernels);
  return kernels;
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
