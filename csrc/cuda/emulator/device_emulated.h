// The device layer under g++: every call asks the emulator. device.h says what each does.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "cuda/emulator/accesses.h"
#include "cuda/emulator/grid.h"

namespace fastconv {
namespace cuda {

inline int thread_x() { return emulator::thread->index; }
inline int block_x() { return emulator::block->index; }
inline int block_x_anew() { return block_x(); }
inline int thread_x_anew() { return thread_x(); }
inline int block_threads() { return emulator::block->threads; }
inline int blocks() { return emulator::block->blocks; }
inline int lane() { return thread_x() % 32; }
inline int warp() { return thread_x() / 32; }

template <class T>
T* shared() {
  return reinterpret_cast<T*>(emulator::block->shared);
}

// Unlike the hardware this does not forgive threads that have already returned: the others wait for ever.
inline void sync() {
  emulator::Block& b = *emulator::block;
  const auto barrier = b.barriers;
  emulator::made_progress();
  if (++b.at_barrier == b.threads) {
    b.at_barrier = 0;
    ++b.barriers;
  }
  emulator::wait_until([&] { return b.barriers != barrier; });
}

inline void sync_warp() { emulator::exchange(0); }
inline unsigned ballot(bool condition) {
  const emulator::Slot* all = emulator::exchange(static_cast<std::uint64_t>(condition));
  unsigned bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<unsigned>(all[i].words[0]) << i;
  return bits;
}
template <class T>
T shuffle(T value, int from_lane) {
  T result;
  std::memcpy(&result, &emulator::exchange(value)[from_lane % 32], sizeof(T));
  return result;
}
template <class T>
T shuffle_xor(T value, int mask) {
  return shuffle(value, lane() ^ mask);
}

inline void check_aligned(const void* p, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) emulator::fail("misaligned address");
}
// The last two arguments are the caller's: whose access it is.
inline void touch(const void* p, std::size_t bytes, emulator::AccessKind kind, const char* file, int line) {
  check_aligned(p, bytes);
  if (emulator::counting_accesses) emulator::count_access(p, static_cast<int>(bytes), kind, file, line);
}
template <class P, class T>
P load(const T* from, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  touch(from, sizeof(P), emulator::AccessKind::load, file, line);
  P pack;
  std::memcpy(&pack, from, sizeof(P));
  return pack;
}
template <class P, class T>
void store(T* to, const P& pack, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  touch(to, sizeof(P), emulator::AccessKind::store, file, line);
  std::memcpy(to, &pack, sizeof(P));
}

inline float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
template <class T>
T root(T x) {
  return std::sqrt(x);
}
inline float exponential(float x) { return std::exp(x); }
inline float exponential_minus_one(float x) { return std::expm1(x); }
inline float logarithm_of_one_plus(float x) { return std::log1p(x); }
inline float hyperbolic_tangent(float x) { return std::tanh(x); }
inline float error_complement(float x) { return std::erfc(x); }
inline double logarithm(double x) { return std::log(x); }
inline double power(double x, double y) { return std::pow(x, y); }
inline float not_a_number() { return std::numeric_limits<float>::quiet_NaN(); }

namespace emulator {
inline void land(const Copy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  else
    std::memset(copy.to, 0, static_cast<std::size_t>(copy.bytes));
}
}  // namespace emulator

template <int bytes>
void cp_async(void* to, const void* from, bool valid, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "what the instruction can copy");
  touch(to, bytes, emulator::AccessKind::store, file, line);
  check_aligned(from, bytes);
  if (valid) touch(from, bytes, emulator::AccessKind::load, file, line);
  const emulator::Copy copy{to, valid ? from : nullptr, bytes};
  if (emulator::mode().late_landing)
    emulator::thread->landing.back().push_back(copy);
  else
    emulator::land(copy);
}
inline void cp_async_commit() { emulator::thread->landing.emplace_back(); }
template <int groups_on_the_way>
void cp_async_wait() {
  auto& groups = emulator::thread->landing;  // the last one is still open and does not count
  while (groups.size() > groups_on_the_way + 1) {
    for (const emulator::Copy& copy : groups.front()) emulator::land(copy);
    groups.erase(groups.begin());
  }
}

}  // namespace cuda
}  // namespace fastconv
