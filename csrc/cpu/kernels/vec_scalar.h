// The portable vector: two or four lanes (16 bytes) in the vector type of GCC and Clang, which is SSE2 or NEON code.
// Every vec_<isa>.h defines the same type Vec<T> in its own namespace, so kernel bodies are written once.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {

template <class T>
struct Vec {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRegisters = 16;
  typedef T Lanes __attribute__((vector_size(16)));
  Lanes lane;

  struct Mask {
    decltype(Lanes{} <= Lanes{}) lane;  // all bits set where true
  };

  static Vec broadcast(T x) {
    Vec r;
    for (int i = 0; i < kSize; ++i) r.lane[i] = x;
    return r;
  }
  static Vec zero() { return {Lanes{}}; }
  static Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.lane, p, sizeof(Lanes));
    return r;
  }
  // Lanes from n on are zero and their memory is not touched.
  static Vec load_partial(const T* p, int n) {
    Vec r = zero();
    for (int i = 0; i < kSize && i < n; ++i) r.lane[i] = p[i];
    return r;
  }
  void store(T* p) const { __builtin_memcpy(p, &lane, sizeof(Lanes)); }
  void stream(T* p) const { store(p); }
  static void fence() {}
  void store_partial(T* p, int n) const {
    for (int i = 0; i < kSize && i < n; ++i) p[i] = lane[i];
  }

  friend Vec operator+(Vec a, Vec b) { return {a.lane + b.lane}; }
  friend Vec operator-(Vec a, Vec b) { return {a.lane - b.lane}; }
  friend Vec operator*(Vec a, Vec b) { return {a.lane * b.lane}; }
  friend Vec operator/(Vec a, Vec b) { return {a.lane / b.lane}; }
  // a * b + c; the baseline has no fused instruction and rounds twice.
  friend Vec fma(Vec a, Vec b, Vec c) { return {a.lane * b.lane + c.lane}; }
  friend Vec sqrt(Vec a) {
    for (int i = 0; i < kSize; ++i)
      a.lane[i] = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(a.lane[i])))
                                 : static_cast<T>(__builtin_sqrt(static_cast<double>(a.lane[i])));
    return a;
  }
  // The bits moved up by the width of the mantissa: an integer in its lowest bits becomes the exponent.
  friend Vec mantissa_to_exponent(Vec a) {
    typedef decltype(Mask::lane) Words;
    return {reinterpret_cast<Lanes>(reinterpret_cast<Words>(a.lane) << (sizeof(T) == 4 ? 23 : 52))};
  }
  // a0 b0 a1 b1 ...: its first half to low, its second to high.
  friend void interleave(Vec a, Vec b, Vec& low, Vec& high) {
    low = high = a;
    for (int i = 0; i < kSize / 2; ++i) {
      low.lane[2 * i] = a.lane[i], low.lane[2 * i + 1] = b.lane[i];
      high.lane[2 * i] = a.lane[kSize / 2 + i], high.lane[2 * i + 1] = b.lane[kSize / 2 + i];
    }
  }
  // True where a > b or either is NaN: the comparison that lets NaN through ReLU and max pooling.
  friend Mask not_less_equal(Vec a, Vec b) { return {~(a.lane <= b.lane)}; }
  friend Vec select(Mask m, Vec if_true, Vec if_false) { return {m.lane ? if_true.lane : if_false.lane}; }
  // Max pooling: x takes the place of best if it is greater, or the first NaN; of equals the first stays.
  friend Mask beats(Vec x, Vec best) { return {~(x.lane <= best.lane) & (best.lane == best.lane)}; }
  // The greater, of equals `best`, NaN if either is.
  friend Vec max_or_nan(Vec x, Vec best) { return {((x.lane > best.lane) | (x.lane != x.lane)) ? x.lane : best.lane}; }
  // The even elements of a, then the odd ones of b: every second element of memory when b is loaded from p + kSize - 1.
  friend Vec even_odd(Vec a, Vec b) {
    Vec r;
    for (int i = 0; i < kSize; ++i) r.lane[i] = 2 * i < kSize ? a.lane[2 * i] : b.lane[2 * i - kSize + 1];
    return r;
  }
  // The other way round than interleave: the even elements of a and b, and the odd ones.
  friend void deinterleave(Vec a, Vec b, Vec& even, Vec& odd) {
    even = odd = a;
    for (int i = 0; i < kSize / 2; ++i) {
      even.lane[i] = a.lane[2 * i], even.lane[kSize / 2 + i] = b.lane[2 * i];
      odd.lane[i] = a.lane[2 * i + 1], odd.lane[kSize / 2 + i] = b.lane[2 * i + 1];
    }
  }
};

// Lane numbers for permute(): lane l of the result is lane lanes[l] of the argument.
template <class T>
struct Permutation {
  int lanes[Vec<T>::kSize];
  static Permutation load(const int* lanes) {
    Permutation r;
    for (int i = 0; i < Vec<T>::kSize; ++i) r.lanes[i] = lanes[i];
    return r;
  }
  friend Permutation next_lane(Permutation p) {
    for (int i = 0; i < Vec<T>::kSize; ++i) ++p.lanes[i];
    return p;
  }
  friend Vec<T> permute(Vec<T> x, const Permutation& p) {
    Vec<T> r;
    for (int i = 0; i < Vec<T>::kSize; ++i) r.lane[i] = x.lane[p.lanes[i] & (Vec<T>::kSize - 1)];
    return r;
  }
};

// 32-bit indices that travel with the lanes of a Vec<T>.
template <class T>
struct VecIndex {
  static constexpr int kSize = Vec<T>::kSize;
  std::int32_t lane[kSize];

  static VecIndex broadcast(std::int32_t x) {
    VecIndex r;
    for (int i = 0; i < kSize; ++i) r.lane[i] = x;
    return r;
  }
  static VecIndex ramp(std::int32_t step) {  // 0, step, 2 * step, ...
    VecIndex r;
    for (int i = 0; i < kSize; ++i) r.lane[i] = wrapping(std::uint32_t(i) * std::uint32_t(step));
    return r;
  }
  // From and to 32-bit integers, or bytes (values from 0 to 255).
  template <class I>
  static VecIndex load(const I* p) {
    return load_partial(p, kSize);
  }
  template <class I>
  static VecIndex load_partial(const I* p, int n) {
    VecIndex r;
    for (int i = 0; i < kSize; ++i) r.lane[i] = i < n ? p[i] : 0;
    return r;
  }
  template <class I>
  void store(I* p) const {
    store_partial(p, kSize);
  }
  template <class I>
  void store_partial(I* p, int n) const {
    for (int i = 0; i < kSize; ++i)
      if (i < n) p[i] = static_cast<I>(lane[i]);
  }
  friend VecIndex operator+(VecIndex a, VecIndex b) {
    for (int i = 0; i < kSize; ++i) a.lane[i] = wrapping(std::uint32_t(a.lane[i]) + std::uint32_t(b.lane[i]));
    return a;
  }
  friend typename Vec<T>::Mask equal(VecIndex a, VecIndex b) {
    typename Vec<T>::Mask m;
    for (int i = 0; i < kSize; ++i) m.lane[i] = a.lane[i] == b.lane[i] ? -1 : 0;
    return m;
  }
  friend VecIndex select(typename Vec<T>::Mask m, VecIndex if_true, VecIndex if_false) {
    for (int i = 0; i < kSize; ++i) if_false.lane[i] = m.lane[i] ? if_true.lane[i] : if_false.lane[i];
    return if_false;
  }

 private:
  // Lanes that nobody asked for may wrap.
  static std::int32_t wrapping(std::uint32_t x) { return static_cast<std::int32_t>(x); }
};

}  // namespace FASTCONV_ISA
}  // namespace fastconv
