// The two 16-bit float types, as bits that both compilers understand: float16 (1 sign, 5 exponent, 10 mantissa bits)
// and bfloat16 (1, 8, 7: the upper half of a float32). Conversions round to the nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/host_device.h"

namespace fastconv {
namespace cuda {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

namespace detail {
FASTCONV_HOST_DEVICE std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
FASTCONV_HOST_DEVICE float from_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
}  // namespace detail

FASTCONV_HOST_DEVICE float to_float(float x) { return x; }
FASTCONV_HOST_DEVICE float to_float(BFloat16 x) { return detail::from_bits(static_cast<std::uint32_t>(x.bits) << 16); }
FASTCONV_HOST_DEVICE float to_float(Float16 x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00) return detail::from_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);  // Inf, NaN
  // As a float32 with the exponent 112 too small; the product mends that, subnormal numbers included.
  return detail::from_bits(sign | detail::bits_of(detail::from_bits(magnitude << 13) * 0x1p112f));
#endif
}

template <class T>
FASTCONV_HOST_DEVICE T from_float(float x);

template <>
FASTCONV_HOST_DEVICE float from_float<float>(float x) {
  return x;
}
template <>
FASTCONV_HOST_DEVICE BFloat16 from_float<BFloat16>(float x) {
  const std::uint32_t bits = detail::bits_of(x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};  // stays NaN without its lower bits
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <>
FASTCONV_HOST_DEVICE Float16 from_float<Float16>(float x) {
#if defined(__CUDA_ARCH__)
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return {bits};
#else
  const std::uint32_t bits = detail::bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  std::uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;  // NaN
  } else if (magnitude >= 0x477ff000) {
    half = 0x7c00;  // from 65520 on: Inf
  } else if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the multiples of 2^-24 in the lowest bits, rounded by the addition itself.
    half = detail::bits_of(detail::from_bits(magnitude) + 0.5f) - 0x3f000000;
  } else {
    half = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
#endif
}

}  // namespace cuda
}  // namespace fastconv
