// Elementary functions over Vec<T>, as activations and their gradients need them: a few ulp over the whole range
// (bounds and how they were measured: docs/numerics.md), NaN stays NaN, results below the smallest normal number come
// out as denormals. The polynomials were fitted at Chebyshev nodes in 50 digits.
//
// e^x: x = n ln 2 + r, |r| <= ln(2) / 2, with ln 2 in two parts (Cody and Waite 1980); e^r - 1 = r + r^2 P(r).
// log(1 + z) = 2 artanh(z / (2 + z)). The normal distribution's tail is e^(-a^2 / 2) w Q(w), w = 1 / (a + k) (the form
// of Shepherd and Laframboise 1981 for erfc), with a^2 in two parts so that its rounding is not magnified.
#pragma once

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr float kRound = 0x1.8p23f;  // added and taken off again: the nearest integer
  static constexpr float kBias = 127;
  static constexpr float kLift = 64, kUnlift = 0x1p-64f;  // keeps 2^n normal where e^x is not
  static constexpr float kLeastExp = -110, kLeastExpm1 = -30;
  static constexpr float kLog2e = 0x1.715476p+0f;
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;  // n * high is exact
  static constexpr float kExp[] = {0.5f, 0.166665763f, 0.0416665538f, 0.00836329275f, 0.00139263256f};
  static constexpr float kLog1p[] = {0.666666673f, 0.399997063f, 0.28592358f, 0.217065758f, 0.232243292f};
  static constexpr float kTailEnd = 16;            // the tail from here on is 0
  static constexpr float kHalfSquare = 0x1.8p16f;  // rounds to 2^-7, so that the square is exact
  static constexpr float kTailPole = 4, kTailSlope = -2.5f;
  static constexpr float kTail[] = {0.893940923f,    0.629695873f,    0.328995593f,     0.12145203f,    0.0267902447f,
                                    0.000686980968f, -0.00141994479f, -0.000228487816f, 6.93351261e-5f, 1.7464721e-5f};
};

template <>
struct MathConstants<double> {
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kBias = 1023;
  static constexpr double kLift = 128, kUnlift = 0x1p-128;
  static constexpr double kLeastExp = -760, kLeastExpm1 = -50;
  static constexpr double kLog2e = 0x1.71547652b82fep+0;
  static constexpr double kLn2High = 0x1.62e42fefap-1, kLn2Low = 0x1.cf79abc9e3b3ap-40;
  static constexpr double kExp[] = {0.5000000000000001,    0.16666666666666667,   0.041666666666623477,
                                    0.0083333333333300118, 0.0013888888917538296, 0.00019841269863303223,
                                    2.4801520792572693e-5, 2.7557268072890098e-6, 2.7620327428268238e-7,
                                    2.5100569275813683e-8};
  static constexpr double kLog1p[] = {
      0.66666666666666659, 0.40000000000014583, 0.28571428567108757, 0.22222222717427863,  0.18181789436132858,
      0.15385570064958623, 0.13314144209654936, 0.12001072809590713, 0.088007384861446739, 0.16164045611943532};
  static constexpr double kTailEnd = 40;
  static constexpr double kHalfSquare = 0x1.8p32;
  static constexpr double kTailPole = 6, kTailSlope = -2.3;
  static constexpr double kTail[] = {
      0.87946995338602616,    0.75928608013813788,     0.57620139380693612,    0.38357154683712175,
      0.22261328307739069,    0.11132026480717083,     0.046966622140235687,   0.016069907550424307,
      0.0040802822340895208,  0.00056099031992207352,  -7.3804705669789478e-5, -5.9760064042330818e-5,
      -1.0192652818354731e-5, 2.244662124529222e-6,    1.2716345613290093e-6,  3.0288680726160347e-8,
      -1.074616351043636e-7,  -1.5714093676983459e-8,  8.49694808981896e-9,    1.9858022507812218e-9,
      -6.648369020114808e-10, -1.4217847301628211e-10, 3.9702681152942567e-11};
};

template <class T>
inline Vec<T> constant(T x) {
  return Vec<T>::broadcast(x);
}

// Clamping that lets NaN through.
template <class T>
inline Vec<T> at_least(Vec<T> x, T low) {
  return select(not_less_equal(x, constant(low)), x, constant(low));
}
template <class T>
inline Vec<T> at_most(Vec<T> x, T high) {
  return select(not_less_equal(constant(high), x), x, constant(high));
}
// -|x|
template <class T>
inline Vec<T> minus_abs(Vec<T> x) {
  return select(not_less_equal(x, Vec<T>::zero()), Vec<T>::zero() - x, x);
}
// if_negative where x < 0 or NaN.
template <class T>
inline Vec<T> by_sign(Vec<T> x, Vec<T> if_negative, Vec<T> otherwise) {
  return select(not_less_equal(Vec<T>::zero(), x), if_negative, otherwise);
}

template <class T, int N>
inline __attribute__((always_inline)) Vec<T> polynomial(const T (&coefficients)[N], Vec<T> x) {
  Vec<T> sum = constant(coefficients[N - 1]);
#pragma GCC unroll 32
  for (int i = N - 2; i >= 0; --i) sum = fma(sum, x, constant(coefficients[i]));
  return sum;
}

// e^x = 2^n (1 + rest) with scale = 2^(n + lift); x must be in range.
template <class T>
struct SplitExp {
  Vec<T> scale, rest;

  explicit SplitExp(Vec<T> x, Vec<T> low, T lift) {
    using K = MathConstants<T>;
    const Vec<T> round = constant(K::kRound + K::kBias + lift);
    const Vec<T> shifted = fma(x + low, constant(K::kLog2e), round);
    const Vec<T> n = shifted - round;
    const Vec<T> r = fma(n, constant(-K::kLn2Low), fma(n, constant(-K::kLn2High), x)) + low;
    scale = mantissa_to_exponent(shifted);
    rest = fma(r * r, polynomial(K::kExp, r), r);
  }
};

// e^(x + low) for x <= 0; |low| is small against 1.
template <class T>
inline Vec<T> exp_negative(Vec<T> x, Vec<T> low = Vec<T>::zero()) {
  using K = MathConstants<T>;
  const SplitExp<T> e(at_least(x, K::kLeastExp), low, K::kLift);
  return fma(e.scale, e.rest, e.scale) * constant(K::kUnlift);
}

// e^x - 1 for x up to 40; the sign of zero is lost.
template <class T>
inline Vec<T> expm1(Vec<T> x) {
  const SplitExp<T> e(at_least(x, MathConstants<T>::kLeastExpm1), Vec<T>::zero(), T(0));
  return fma(e.scale, e.rest, e.scale - constant(T(1)));
}

// log(1 + z) for 0 <= z <= 1.
template <class T>
inline Vec<T> log1p(Vec<T> z) {
  const Vec<T> s = z / (z + constant(T(2))), square = s * s;
  return fma(s * square, polynomial(MathConstants<T>::kLog1p, square), s + s);
}

template <class T>
inline Vec<T> tanh(Vec<T> x) {
  const Vec<T> t = expm1(at_most(x + x, T(40)));
  return select(not_less_equal(x * x, Vec<T>::zero()), t / (t + constant(T(2))), x);  // tiny ones are their own
}

// 1 / (1 + e^-x) and 1 / (1 + e^x), both exact to a few ulp however small.
template <class T>
struct Sigmoid {
  Vec<T> value, complement;

  explicit Sigmoid(Vec<T> x) {
    const Vec<T> e = exp_negative(minus_abs(x));
    const Vec<T> larger = constant(T(1)) / (constant(T(1)) + e), smaller = e * larger;
    value = by_sign(x, smaller, larger);
    complement = by_sign(x, larger, smaller);
  }
};

// The standard normal distribution: its density at x, and what lies below x, (1 + erf(x / sqrt(2))) / 2.
template <class T>
struct Normal {
  Vec<T> below, density;

  explicit Normal(Vec<T> x) {
    using K = MathConstants<T>;
    const Vec<T> a = at_most(Vec<T>::zero() - minus_abs(x), K::kTailEnd);
    const Vec<T> head = (a + constant(K::kHalfSquare)) - constant(K::kHalfSquare);
    const Vec<T> minus_half = constant(T(-0.5));
    const Vec<T> e = exp_negative(minus_half * head * head, minus_half * (a - head) * (a + head));
    const Vec<T> w = constant(T(1)) / (a + constant(K::kTailPole));
    // The polynomial runs over [-1, 1]; written so, its argument is exact near x = 0.
    const Vec<T> tail = e * (w * polynomial(K::kTail, fma(constant(K::kTailSlope) * a, w, constant(T(1)))));
    below = by_sign(x, tail, constant(T(1)) - tail);
    density = e * constant(T(0.39894228040143268));
  }
};

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
