// Vec<T> on AVX-512 (F, DQ, BW, VL): sixteen floats or eight doubles, thirty-two registers, masks for tails.
#pragma once

#include <immintrin.h>

namespace fastconv {
namespace FASTCONV_ISA {

template <class T>
struct Vec;

namespace {

inline __mmask16 first_lanes16(int n) {
  return n >= 16 ? __mmask16(0xffff) : n <= 0 ? __mmask16(0) : __mmask16((1u << n) - 1u);
}
inline __mmask8 first_lanes8(int n) {
  return n >= 8 ? __mmask8(0xff) : n <= 0 ? __mmask8(0) : __mmask8((1u << n) - 1u);
}

}  // namespace

template <>
struct Vec<float> {
  static constexpr int kSize = 16;
  static constexpr int kRegisters = 32;
  using Mask = __mmask16;
  __m512 v;

  static Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes16(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  // Past the caches: p is aligned to the vector, and fence() comes before another thread reads.
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  static void fence() { _mm_sfence(); }
  void store_partial(float* p, int n) const { _mm512_mask_storeu_ps(p, first_lanes16(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend Vec sqrt(Vec a) { return {_mm512_maskz_sqrt_ps(first_lanes16(16), a.v)}; }
  // The bits moved up by the width of the mantissa: an integer in its lowest bits becomes the exponent.
  friend Vec mantissa_to_exponent(Vec a) {
    return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(first_lanes16(16), _mm512_castps_si512(a.v), 23))};
  }
  // a0 b0 a1 b1 ...: its first half to low, its second to high.
  friend void interleave(Vec a, Vec b, Vec& low, Vec& high) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    low.v = _mm512_permutex2var_ps(a.v, first, b.v);
    high.v = _mm512_permutex2var_ps(a.v, second, b.v);
  }
  friend Mask not_less_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLE_UQ); }
  friend Vec select(Mask m, Vec if_true, Vec if_false) { return {_mm512_mask_blend_ps(m, if_false.v, if_true.v)}; }
  friend Mask beats(Vec x, Vec best) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(best.v, best.v, _CMP_ORD_Q), x.v, best.v, _CMP_NLE_UQ);
  }
  // The instruction returns its second operand where the two are equal or one is NaN.
  friend Vec max_or_nan(Vec x, Vec best) {
    return {_mm512_mask_max_ps(x.v, _mm512_cmp_ps_mask(x.v, x.v, _CMP_ORD_Q), x.v, best.v)};
  }
  // The even elements of a, then the odd ones of b: every second element of memory when b is loaded from p + kSize - 1.
  friend Vec even_odd(Vec a, Vec b) {
    const __m512i from = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.v, from, b.v)};
  }
  // The other way round than interleave: the even elements of a and b, and the odd ones.
  friend void deinterleave(Vec a, Vec b, Vec& even, Vec& odd) {
    const __m512i from = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    even.v = _mm512_permutex2var_ps(a.v, from, b.v);
    odd.v = _mm512_permutex2var_ps(a.v, _mm512_add_epi32(from, _mm512_set1_epi32(1)), b.v);
  }
};

template <>
struct Vec<double> {
  static constexpr int kSize = 8;
  static constexpr int kRegisters = 32;
  using Mask = __mmask8;
  __m512d v;

  static Vec broadcast(double x) { return {_mm512_set1_pd(x)}; }
  static Vec zero() { return {_mm512_setzero_pd()}; }
  static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Vec load_partial(const double* p, int n) { return {_mm512_maskz_loadu_pd(first_lanes8(n), p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  // Past the caches: p is aligned to the vector, and fence() comes before another thread reads.
  void stream(double* p) const { _mm512_stream_pd(p, v); }
  static void fence() { _mm_sfence(); }
  void store_partial(double* p, int n) const { _mm512_mask_storeu_pd(p, first_lanes8(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  friend Vec sqrt(Vec a) { return {_mm512_maskz_sqrt_pd(first_lanes8(8), a.v)}; }
  // The bits moved up by the width of the mantissa: an integer in its lowest bits becomes the exponent.
  friend Vec mantissa_to_exponent(Vec a) {
    return {_mm512_castsi512_pd(_mm512_maskz_slli_epi64(first_lanes8(8), _mm512_castpd_si512(a.v), 52))};
  }
  // a0 b0 a1 b1 ...: its first half to low, its second to high.
  friend void interleave(Vec a, Vec b, Vec& low, Vec& high) {
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_add_epi64(first, _mm512_set1_epi64(4));
    low.v = _mm512_permutex2var_pd(a.v, first, b.v);
    high.v = _mm512_permutex2var_pd(a.v, second, b.v);
  }
  friend Mask not_less_equal(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_NLE_UQ); }
  friend Vec select(Mask m, Vec if_true, Vec if_false) { return {_mm512_mask_blend_pd(m, if_false.v, if_true.v)}; }
  friend Mask beats(Vec x, Vec best) {
    return _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(best.v, best.v, _CMP_ORD_Q), x.v, best.v, _CMP_NLE_UQ);
  }
  // The instruction returns its second operand where the two are equal or one is NaN.
  friend Vec max_or_nan(Vec x, Vec best) {
    return {_mm512_mask_max_pd(x.v, _mm512_cmp_pd_mask(x.v, x.v, _CMP_ORD_Q), x.v, best.v)};
  }
  friend Vec even_odd(Vec a, Vec b) {
    return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 9, 11, 13, 15), b.v)};
  }
  friend void deinterleave(Vec a, Vec b, Vec& even, Vec& odd) {
    even.v = _mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b.v);
    odd.v = _mm512_permutex2var_pd(a.v, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b.v);
  }
};

// Lane numbers for permute(): lane l of the result is lane lanes[l] of the argument.
template <class T>
struct Permutation;

template <>
struct Permutation<float> {
  __m512i v;
  static Permutation load(const int* lanes) { return {_mm512_loadu_si512(lanes)}; }
  friend Permutation next_lane(Permutation p) { return {_mm512_add_epi32(p.v, _mm512_set1_epi32(1))}; }
  friend Vec<float> permute(Vec<float> x, Permutation p) {
    return {_mm512_maskz_permutexvar_ps(first_lanes16(16), p.v, x.v)};
  }
};

template <>
struct Permutation<double> {
  __m512i v;
  static Permutation load(const int* lanes) {
    return {_mm512_maskz_cvtepi32_epi64(first_lanes8(8), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)))};
  }
  friend Permutation next_lane(Permutation p) { return {_mm512_add_epi64(p.v, _mm512_set1_epi64(1))}; }
  friend Vec<double> permute(Vec<double> x, Permutation p) {
    return {_mm512_maskz_permutexvar_pd(first_lanes8(8), p.v, x.v)};
  }
};

template <class T>
struct VecIndex;

template <>
struct VecIndex<float> {
  __m512i v;

  static VecIndex broadcast(int x) { return {_mm512_set1_epi32(x)}; }
  static VecIndex ramp(int step) {  // 0, step, 2 * step, ...
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return {_mm512_mullo_epi32(lane, _mm512_set1_epi32(step))};
  }
  static VecIndex load(const int* p) { return {_mm512_loadu_si512(p)}; }
  static VecIndex load_partial(const int* p, int n) { return {_mm512_maskz_loadu_epi32(first_lanes16(n), p)}; }
  void store(int* p) const { _mm512_storeu_si512(p, v); }
  void store_partial(int* p, int n) const { _mm512_mask_storeu_epi32(p, first_lanes16(n), v); }
  // Bytes: values from 0 to 255. (The masked forms spare GCC's warnings about its own undefined registers.)
  static VecIndex load(const unsigned char* p) {
    return {_mm512_maskz_cvtepu8_epi32(first_lanes16(16), _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static VecIndex load_partial(const unsigned char* p, int n) {
    return {_mm512_maskz_cvtepu8_epi32(first_lanes16(16), _mm_maskz_loadu_epi8(first_lanes16(n), p))};
  }
  void store(unsigned char* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(first_lanes16(16), v));
  }
  void store_partial(unsigned char* p, int n) const {
    _mm_mask_storeu_epi8(p, first_lanes16(n), _mm512_maskz_cvtepi32_epi8(first_lanes16(16), v));
  }

  friend VecIndex operator+(VecIndex a, VecIndex b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend __mmask16 equal(VecIndex a, VecIndex b) { return _mm512_cmpeq_epi32_mask(a.v, b.v); }
  friend VecIndex select(__mmask16 m, VecIndex if_true, VecIndex if_false) {
    return {_mm512_mask_blend_epi32(m, if_false.v, if_true.v)};
  }
};

template <>
struct VecIndex<double> {
  __m256i v;

  static VecIndex broadcast(int x) { return {_mm256_set1_epi32(x)}; }
  static VecIndex ramp(int step) {
    return {_mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(step))};
  }
  static VecIndex load(const int* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static VecIndex load_partial(const int* p, int n) { return {_mm256_maskz_loadu_epi32(first_lanes8(n), p)}; }
  void store(int* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store_partial(int* p, int n) const { _mm256_mask_storeu_epi32(p, first_lanes8(n), v); }
  static VecIndex load(const unsigned char* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  static VecIndex load_partial(const unsigned char* p, int n) {
    return {_mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes8(n), p))};
  }
  void store(unsigned char* p) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_maskz_cvtepi32_epi8(first_lanes8(8), v));
  }
  void store_partial(unsigned char* p, int n) const {
    _mm_mask_storeu_epi8(p, first_lanes8(n), _mm256_maskz_cvtepi32_epi8(first_lanes8(8), v));
  }

  friend VecIndex operator+(VecIndex a, VecIndex b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend __mmask8 equal(VecIndex a, VecIndex b) { return _mm256_cmpeq_epi32_mask(a.v, b.v); }
  friend VecIndex select(__mmask8 m, VecIndex if_true, VecIndex if_false) {
    return {_mm256_mask_blend_epi32(m, if_false.v, if_true.v)};
  }
};

}  // namespace FASTCONV_ISA
}  // namespace fastconv
