// Arithmetic on sizes that refuses to wrap: every product and sum of user-given numbers goes through here.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace fastconv {

[[noreturn]] inline void throw_size_overflow(const std::string& what) {
  throw std::invalid_argument(what + ": sizes overflow 64-bit arithmetic");
}

inline std::int64_t checked_add(std::int64_t a, std::int64_t b, const std::string& what) {
  std::int64_t r = 0;
#if defined(__GNUC__) || defined(__clang__)
  if (__builtin_add_overflow(a, b, &r)) throw_size_overflow(what);
#else
  if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) throw_size_overflow(what);
  r = a + b;
#endif
  return r;
}

inline std::int64_t checked_mul(std::int64_t a, std::int64_t b, const std::string& what) {
  std::int64_t r = 0;
#if defined(__GNUC__) || defined(__clang__)
  if (__builtin_mul_overflow(a, b, &r)) throw_size_overflow(what);
#else
  if (a != 0 && b != 0) {
    const bool same_sign = (a > 0) == (b > 0);
    if (same_sign ? (a > 0 ? a > INT64_MAX / b : a < INT64_MAX / b) : (a > 0 ? b < INT64_MIN / a : a < INT64_MIN / b))
      throw_size_overflow(what);
  }
  r = a * b;
#endif
  return r;
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

}  // namespace fastconv
