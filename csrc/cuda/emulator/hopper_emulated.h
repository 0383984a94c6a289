// The device layer of hopper.h under g++. hopper.cpp has what happens; hopper.h says what it means.
//
// Copies by TMA land when they are asked for; or, with late landing, one after another while everybody waits, and
// backwards one at random whenever somebody waits for a barrier. Until then the place holds NaN. Products read shared
// memory at the last moment, when they are waited for, if copies land early and threads run forwards; at once with one
// of the two the other way round, and by chance with both. Sums that are on the way are NaN.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/emulator/grid.h"

namespace fastconv {
namespace cuda {

inline int warpgroup() { return thread_x() / kWarpgroup; }

namespace emulator {
enum class Operand { kBFloat16, kFloat16, kTf32 };

// Shared memory begins here: not on a multiple of 1024, as nobody promises that.
constexpr std::uint32_t kSharedWindow = 1024 + 128;

void start_product(Operand type, bool turns_a, bool turns_b, float* sums, int count, std::uint64_t a, std::uint64_t b);
void wait_products(int groups_on_the_way);
void load_box(void* to, const TensorMap& map, Barrier& b, const std::int32_t (&at)[4], std::int32_t tap_w,
              std::int32_t tap_h);
}  // namespace emulator

std::uint32_t shared_address(const void* p);
void barrier_init(Barrier& b, int arrivals);
void barrier_init_done();
void barrier_arrive(Barrier& b);
void barrier_expect(Barrier& b, int bytes);
void barrier_wait(Barrier& b, unsigned parity);

inline void tma_load(void* to, const TensorMap& map, Barrier& b, std::int32_t c, std::int32_t tap,
                     std::int32_t column) {
  emulator::load_box(to, map, b, {c, tap, column, 0}, 0, 0);
}
inline void tma_load_im2col(void* to, const TensorMap& map, Barrier& b, std::int32_t c, std::int32_t w, std::int32_t h,
                            std::int32_t n, std::int32_t tap_w, std::int32_t tap_h) {
  emulator::load_box(to, map, b, {c, w, h, n}, tap_w, tap_h);
}

template <int registers>
void registers_decrease() {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "what the instruction can say");
}
template <int registers>
void registers_increase() {
  registers_decrease<registers>();
}

inline void fence_to_async() {}  // here there is one way to memory
void wgmma_fence();
void wgmma_commit();
template <int groups_on_the_way, int count>
void wgmma_wait(float (&)[count]) {
  emulator::wait_products(groups_on_the_way);
}
template <class T, bool turns_a = false, bool turns_b = false, int count>
void wgmma(float (&sums)[count], std::uint64_t a, std::uint64_t b) {
  static_assert(count == 32 || count == 64 || count == 128, "64, 128 or 256 columns");
  static_assert(sizeof(T) == 2 || !(turns_a || turns_b), "only 16-bit operands may be turned");
  constexpr auto type = std::is_same_v<T, BFloat16>  ? emulator::Operand::kBFloat16
                        : std::is_same_v<T, Float16> ? emulator::Operand::kFloat16
                                                     : emulator::Operand::kTf32;
  emulator::start_product(type, turns_a, turns_b, sums, count, a, b);
}

}  // namespace cuda
}  // namespace fastconv
