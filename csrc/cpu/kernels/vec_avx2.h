// Vec<T> on AVX2 + FMA: eight floats or four doubles, sixteen registers.
#pragma once

#include <immintrin.h>

namespace fastconv {
namespace FASTCONV_ISA {

template <class T>
struct Vec;

namespace {

// Lane mask for maskload/maskstore: the first n of eight 32-bit (or four 64-bit) lanes.
alignas(64) const int kLaneMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
alignas(64) const long long kLaneMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

inline int clamp_lanes(int n, int size) { return n < 0 ? 0 : (n > size ? size : n); }

inline __m256i first_lanes32(int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask32 + 8 - clamp_lanes(n, 8)));
}
inline __m256i first_lanes64(int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask64 + 4 - clamp_lanes(n, 4)));
}

}  // namespace

template <>
struct Vec<float> {
  static constexpr int kSize = 8;
  static constexpr int kRegisters = 16;
  using Mask = __m256;
  __m256 v;

  static Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int n) { return {_mm256_maskload_ps(p, first_lanes32(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  // Past the caches: p is aligned to the vector, and fence() comes before another thread reads.
  void stream(float* p) const { _mm256_stream_ps(p, v); }
  static void fence() { _mm_sfence(); }
  void store_partial(float* p, int n) const { _mm256_maskstore_ps(p, first_lanes32(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  friend Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  // The bits moved up by the width of the mantissa: an integer in its lowest bits becomes the exponent.
  friend Vec mantissa_to_exponent(Vec a) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.v), 23))};
  }
  // a0 b0 a1 b1 ...: its first half to low, its second to high.
  friend void interleave(Vec a, Vec b, Vec& low, Vec& high) {
    const auto even = _mm256_unpacklo_ps(a.v, b.v), odd = _mm256_unpackhi_ps(a.v, b.v);
    low.v = _mm256_permute2f128_ps(even, odd, 0x20);
    high.v = _mm256_permute2f128_ps(even, odd, 0x31);
  }
  friend Mask not_less_equal(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_NLE_UQ); }
  friend Vec select(Mask m, Vec if_true, Vec if_false) { return {_mm256_blendv_ps(if_false.v, if_true.v, m)}; }
  friend Mask beats(Vec x, Vec best) {
    return _mm256_and_ps(not_less_equal(x, best), _mm256_cmp_ps(best.v, best.v, _CMP_ORD_Q));
  }
  // The instruction returns its second operand where the two are equal or one is NaN.
  friend Vec max_or_nan(Vec x, Vec best) {
    return {_mm256_blendv_ps(_mm256_max_ps(x.v, best.v), x.v, _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q))};
  }
  // The even elements of a, then the odd ones of b: every second element of memory when b is loaded from p + kSize - 1.
  friend Vec even_odd(Vec a, Vec b) {
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(3, 1, 2, 0)));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(pairs, _MM_SHUFFLE(3, 1, 2, 0)))};
  }
  // The other way round than interleave: the even elements of a and b, and the odd ones.
  friend void deinterleave(Vec a, Vec b, Vec& even, Vec& odd) {
    const __m256d evens = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(2, 0, 2, 0)));
    const __m256d odds = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(3, 1, 3, 1)));
    even.v = _mm256_castpd_ps(_mm256_permute4x64_pd(evens, _MM_SHUFFLE(3, 1, 2, 0)));
    odd.v = _mm256_castpd_ps(_mm256_permute4x64_pd(odds, _MM_SHUFFLE(3, 1, 2, 0)));
  }
};

template <>
struct Vec<double> {
  static constexpr int kSize = 4;
  static constexpr int kRegisters = 16;
  using Mask = __m256d;
  __m256d v;

  static Vec broadcast(double x) { return {_mm256_set1_pd(x)}; }
  static Vec zero() { return {_mm256_setzero_pd()}; }
  static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Vec load_partial(const double* p, int n) { return {_mm256_maskload_pd(p, first_lanes64(n))}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  // Past the caches: p is aligned to the vector, and fence() comes before another thread reads.
  void stream(double* p) const { _mm256_stream_pd(p, v); }
  static void fence() { _mm_sfence(); }
  void store_partial(double* p, int n) const { _mm256_maskstore_pd(p, first_lanes64(n), v); }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v)}; }
  friend Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  friend Vec sqrt(Vec a) { return {_mm256_sqrt_pd(a.v)}; }
  // The bits moved up by the width of the mantissa: an integer in its lowest bits becomes the exponent.
  friend Vec mantissa_to_exponent(Vec a) {
    return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a.v), 52))};
  }
  // a0 b0 a1 b1 ...: its first half to low, its second to high.
  friend void interleave(Vec a, Vec b, Vec& low, Vec& high) {
    const auto even = _mm256_unpacklo_pd(a.v, b.v), odd = _mm256_unpackhi_pd(a.v, b.v);
    low.v = _mm256_permute2f128_pd(even, odd, 0x20);
    high.v = _mm256_permute2f128_pd(even, odd, 0x31);
  }
  friend Mask not_less_equal(Vec a, Vec b) { return _mm256_cmp_pd(a.v, b.v, _CMP_NLE_UQ); }
  friend Vec select(Mask m, Vec if_true, Vec if_false) { return {_mm256_blendv_pd(if_false.v, if_true.v, m)}; }
  friend Mask beats(Vec x, Vec best) {
    return _mm256_and_pd(not_less_equal(x, best), _mm256_cmp_pd(best.v, best.v, _CMP_ORD_Q));
  }
  // The instruction returns its second operand where the two are equal or one is NaN.
  friend Vec max_or_nan(Vec x, Vec best) {
    return {_mm256_blendv_pd(_mm256_max_pd(x.v, best.v), x.v, _mm256_cmp_pd(x.v, x.v, _CMP_UNORD_Q))};
  }
  friend Vec even_odd(Vec a, Vec b) {
    return {_mm256_permute4x64_pd(_mm256_shuffle_pd(a.v, b.v, 0xa), _MM_SHUFFLE(3, 1, 2, 0))};
  }
  friend void deinterleave(Vec a, Vec b, Vec& even, Vec& odd) {
    even.v = _mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), _MM_SHUFFLE(3, 1, 2, 0));
    odd.v = _mm256_permute4x64_pd(_mm256_unpackhi_pd(a.v, b.v), _MM_SHUFFLE(3, 1, 2, 0));
  }
};

// Lane numbers for permute(): lane l of the result is lane lanes[l] of the argument.
template <class T>
struct Permutation;

template <>
struct Permutation<float> {
  __m256i v;
  static Permutation load(const int* lanes) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes))}; }
  friend Permutation next_lane(Permutation p) { return {_mm256_add_epi32(p.v, _mm256_set1_epi32(1))}; }
  friend Vec<float> permute(Vec<float> x, Permutation p) { return {_mm256_permutevar8x32_ps(x.v, p.v)}; }
};

// A lane of 64 bits is moved as its two halves, 2l and 2l + 1.
template <>
struct Permutation<double> {
  __m256i v;
  static Permutation load(const int* lanes) {
    const __m256i wide = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes)));
    const __m256i low = _mm256_slli_epi64(wide, 1);
    return {_mm256_or_si256(low, _mm256_slli_epi64(_mm256_add_epi64(low, _mm256_set1_epi64x(1)), 32))};
  }
  friend Permutation next_lane(Permutation p) { return {_mm256_add_epi32(p.v, _mm256_set1_epi32(2))}; }
  friend Vec<double> permute(Vec<double> x, Permutation p) {
    return {_mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(x.v), p.v))};
  }
};

template <class T>
struct VecIndex;

template <>
struct VecIndex<float> {
  __m256i v;

  static VecIndex broadcast(int x) { return {_mm256_set1_epi32(x)}; }
  static VecIndex ramp(int step) {  // 0, step, 2 * step, ...
    return {_mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(step))};
  }
  static VecIndex load(const int* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static VecIndex load_partial(const int* p, int n) { return {_mm256_maskload_epi32(p, first_lanes32(n))}; }
  void store(int* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store_partial(int* p, int n) const { _mm256_maskstore_epi32(p, first_lanes32(n), v); }
  // Bytes: values from 0 to 255.
  static VecIndex load(const unsigned char* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  static VecIndex load_partial(const unsigned char* p, int n) {
    unsigned char lane[8] = {};
    for (int i = 0; i < 8 && i < n; ++i) lane[i] = p[i];
    return load(lane);
  }
  void store(unsigned char* p) const {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  void store_partial(unsigned char* p, int n) const {
    unsigned char lane[8];
    store(lane);
    for (int i = 0; i < 8 && i < n; ++i) p[i] = lane[i];
  }

  friend VecIndex operator+(VecIndex a, VecIndex b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend __m256 equal(VecIndex a, VecIndex b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v)); }
  friend VecIndex select(__m256 m, VecIndex if_true, VecIndex if_false) {
    return {_mm256_blendv_epi8(if_false.v, if_true.v, _mm256_castps_si256(m))};
  }
};

template <>
struct VecIndex<double> {
  __m128i v;

  static VecIndex broadcast(int x) { return {_mm_set1_epi32(x)}; }
  static VecIndex ramp(int step) { return {_mm_mullo_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32(step))}; }
  static VecIndex load(const int* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
  static VecIndex load_partial(const int* p, int n) { return {_mm_maskload_epi32(p, first_lanes(n))}; }
  void store(int* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }
  void store_partial(int* p, int n) const { _mm_maskstore_epi32(p, first_lanes(n), v); }
  static VecIndex load(const unsigned char* p) {
    int bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    return {_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes))};
  }
  static VecIndex load_partial(const unsigned char* p, int n) {
    unsigned char lane[4] = {};
    for (int i = 0; i < 4 && i < n; ++i) lane[i] = p[i];
    return load(lane);
  }
  void store(unsigned char* p) const {
    const __m128i words = _mm_packus_epi32(v, v);
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    __builtin_memcpy(p, &bytes, sizeof(bytes));
  }
  void store_partial(unsigned char* p, int n) const {
    unsigned char lane[4];
    store(lane);
    for (int i = 0; i < 4 && i < n; ++i) p[i] = lane[i];
  }

  friend VecIndex operator+(VecIndex a, VecIndex b) { return {_mm_add_epi32(a.v, b.v)}; }
  friend __m256d equal(VecIndex a, VecIndex b) {
    return _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm_cmpeq_epi32(a.v, b.v)));
  }
  friend VecIndex select(__m256d m, VecIndex if_true, VecIndex if_false) {
    // One 32-bit half of each 64-bit lane of the mask.
    const __m128 low = _mm_castpd_ps(_mm256_castpd256_pd128(m)), high = _mm_castpd_ps(_mm256_extractf128_pd(m, 1));
    const __m128 narrow = _mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0));
    return {_mm_blendv_epi8(if_false.v, if_true.v, _mm_castps_si128(narrow))};
  }

 private:
  static __m128i first_lanes(int n) { return _mm256_castsi256_si128(first_lanes32(n)); }
};

}  // namespace FASTCONV_ISA
}  // namespace fastconv
