// Tensor cores under g++: the lanes of a warp show each other what they hold, and each computes its own results. mma.h
// says what each does.
//
// Products are exact and so, nearly, is their sum; the result is then cut off, not rounded, as measured on GPUs (Fasi,
// Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 2021).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/emulator/grid.h"

namespace fastconv {
namespace cuda {

constexpr int kCompiledFor = 1000;
inline void no_such_instruction() { emulator::fail("an instruction that this GPU does not have"); }

namespace emulator {

// What a lane holds of both operands, as numbers.
struct __attribute__((may_alias)) Fragments {
  float a[8], b[4];
};

inline float cut_off(double x) {
  const auto y = static_cast<float>(x);
  return std::isfinite(y) && std::fabs(static_cast<double>(y)) > std::fabs(x) ? std::nextafter(y, 0.0F) : y;
}

// d += a * b. A word holds `elements` neighbours of depth, and a row of four words is followed by the next.
__attribute__((noinline)) inline void multiply_fragments(float (&d)[4], const Fragments& own, int depth, int elements) {
  const Slot* all = exchange(own);
  const auto shown = [&](int from) { return reinterpret_cast<const Fragments*>(&all[from]); };
  const int words = 4 * elements;
  for (int i = 0; i < 4; ++i) {
    const int half = i / 2, row = lane() / 4, column = lane() % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < depth; ++k) {
      const int holder = k % words / elements, part = k % elements, second = k / words;
      const float a = shown(row * 4 + holder)->a[(half + second * 2) * elements + part];
      const float b = shown(column * 4 + holder)->b[second * elements + part];
      sum += static_cast<double>(a) * b;
    }
    d[i] = cut_off(sum);
  }
}

template <class T>
__attribute__((noinline)) void unpack(float* to, const std::uint32_t* words, int count) {
  for (int i = 0; i < count; ++i) {
    to[2 * i] = to_float(T{static_cast<std::uint16_t>(words[i])});
    to[2 * i + 1] = to_float(T{static_cast<std::uint16_t>(words[i] >> 16)});
  }
}

}  // namespace emulator

inline std::uint32_t round_tf32(float x) {
  if (x != x) return 0x7fffffff;
  const std::uint32_t bits = detail::bits_of(x);
  return std::isinf(x) ? bits : (bits + 0x1000) & ~0x1fffu;
}

inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emulator::Fragments own{};
  for (int i = 0; i < 4; ++i) own.a[i] = detail::from_bits(a[i] & ~0x1fffu);  // the lower bits do not count
  for (int i = 0; i < 2; ++i) own.b[i] = detail::from_bits(b[i] & ~0x1fffu);
  emulator::multiply_fragments(d, own, 8, 1);
}

template <class T>
void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emulator::Fragments own;
  emulator::unpack<T>(own.a, a, 4), emulator::unpack<T>(own.b, b, 2);
  emulator::multiply_fragments(d, own, 16, 2);
}

inline void mma_float16_half(float (&d)[4], const std::uint32_t (&a)[2], std::uint32_t b) {
  emulator::Fragments own{};
  emulator::unpack<Float16>(own.a, a, 2), emulator::unpack<Float16>(own.b, &b, 1);
  emulator::multiply_fragments(d, own, 8, 2);
}

__attribute__((noinline)) inline void load_matrices(std::uint32_t (&m)[4], const void* row,
                                                    const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  touch(row, 16, emulator::AccessKind::load, file, line);
  const emulator::Slot* all = emulator::exchange(row);
  for (int i = 0; i < 4; ++i) {
    const unsigned char* from;
    std::memcpy(&from, &all[8 * i + lane() / 4], sizeof(from));
    std::memcpy(&m[i], from + lane() % 4 * 4, sizeof(m[i]));
  }
}

__attribute__((noinline)) inline void load_matrices_turned(std::uint32_t (&m)[4], const void* row,
                                                           const char* file = __builtin_FILE(),
                                                           int line = __builtin_LINE()) {
  touch(row, 16, emulator::AccessKind::load, file, line);
  const emulator::Slot* all = emulator::exchange(row);
  for (int i = 0; i < 4; ++i) {
    std::uint16_t parts[2];
    for (int k = 0; k < 2; ++k) {
      const unsigned char* from;
      std::memcpy(&from, &all[8 * i + lane() % 4 * 2 + k], sizeof(from));
      std::memcpy(&parts[k], from + lane() / 4 * 2, sizeof(parts[k]));
    }
    m[i] = parts[0] | static_cast<std::uint32_t>(parts[1]) << 16;
  }
}

}  // namespace cuda
}  // namespace fastconv
