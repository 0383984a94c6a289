// The device layer of hopper.h under nvcc. Only code for sm_90a has these instructions.
#pragma once

#include <cstdint>
#include <type_traits>

namespace fastconv {
namespace cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FASTCONV_ON_HOPPER(...) __VA_ARGS__
#else
#define FASTCONV_ON_HOPPER(...) no_such_instruction()
#endif

FASTCONV_DEVICE int warpgroup() { return thread_x() / kWarpgroup; }
FASTCONV_DEVICE std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

FASTCONV_DEVICE void barrier_init(Barrier& b, int arrivals) {
  FASTCONV_ON_HOPPER(
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(arrivals) : "memory"));
}
FASTCONV_DEVICE void barrier_init_done() {
  FASTCONV_ON_HOPPER(asm volatile("fence.mbarrier_init.release.cluster;" :: : "memory"));
}
FASTCONV_DEVICE void barrier_arrive(Barrier& b) {
  FASTCONV_ON_HOPPER(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory"));
}
FASTCONV_DEVICE void barrier_expect(Barrier& b, int bytes) {
  FASTCONV_ON_HOPPER(asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)),
                                  "r"(bytes) : "memory"));
}
FASTCONV_DEVICE void barrier_wait(Barrier& b, unsigned parity) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  unsigned over;
  do {
    asm volatile(
        "{\n.reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n}"
        : "=r"(over)
        : "r"(shared_address(&b)), "r"(parity)
        : "memory");
  } while (!over);
#else
  no_such_instruction();
#endif
}

FASTCONV_DEVICE void tma_load(void* to, const TensorMap& map, Barrier& b, std::int32_t c, std::int32_t tap,
                              std::int32_t column) {
  FASTCONV_ON_HOPPER(
      asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
                   "%3, %4}], [%5];" ::"r"(shared_address(to)),
                   "l"(&map), "r"(c), "r"(tap), "r"(column), "r"(shared_address(&b)) : "memory"));
}
FASTCONV_DEVICE void tma_load_im2col(void* to, const TensorMap& map, Barrier& b, std::int32_t c, std::int32_t w,
                                     std::int32_t h, std::int32_t n, std::int32_t tap_w, std::int32_t tap_h) {
  FASTCONV_ON_HOPPER(
      asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
                   "[%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(shared_address(to)),
                   "l"(&map), "r"(c), "r"(w), "r"(h), "r"(n), "r"(shared_address(&b)),
                   "h"(static_cast<std::uint16_t>(tap_w)), "h"(static_cast<std::uint16_t>(tap_h)) : "memory"));
}

template <int registers>
FASTCONV_DEVICE void registers_decrease() {
  FASTCONV_ON_HOPPER(asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers)));
}
template <int registers>
FASTCONV_DEVICE void registers_increase() {
  FASTCONV_ON_HOPPER(asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers)));
}

FASTCONV_DEVICE void fence_to_async() {
  FASTCONV_ON_HOPPER(asm volatile("fence.proxy.async.shared::cta;" :: : "memory"));
}
FASTCONV_DEVICE void wgmma_fence() { FASTCONV_ON_HOPPER(asm volatile("wgmma.fence.sync.aligned;" :: : "memory")); }
FASTCONV_DEVICE void wgmma_commit() {
  FASTCONV_ON_HOPPER(asm volatile("wgmma.commit_group.sync.aligned;" :: : "memory"));
}
template <int groups_on_the_way, int count>
FASTCONV_DEVICE void wgmma_wait(float (&sums)[count]) {
  FASTCONV_ON_HOPPER(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_on_the_way) : "memory"));
  FASTCONV_UNROLL_BY(128)
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(sums[i])::"memory");  // nothing of them moves before the wait
}

// The operands of an instruction, and its text: the sums come first, then both descriptors.
#define FASTCONV_SUMS_8(d, i)                                                                                 \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define FASTCONV_SUMS_32(d, i) \
  FASTCONV_SUMS_8(d, i), FASTCONV_SUMS_8(d, i + 8), FASTCONV_SUMS_8(d, i + 16), FASTCONV_SUMS_8(d, i + 24)
#define FASTCONV_NAMES_0                                                                                           \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define FASTCONV_NAMES_32                                                                                          \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define FASTCONV_NAMES_64                                                                                          \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
  "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define FASTCONV_NAMES_96                                                                                          \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, " \
  "%115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define FASTCONV_UP_TO_32 FASTCONV_NAMES_0
#define FASTCONV_UP_TO_64 FASTCONV_UP_TO_32 ", " FASTCONV_NAMES_32
#define FASTCONV_UP_TO_128 FASTCONV_UP_TO_64 ", " FASTCONV_NAMES_64 ", " FASTCONV_NAMES_96
// A scale of 1 for the old sums and for both operands; `rest` says which 16-bit operands lie turned.
#define FASTCONV_WGMMA(columns, types, registers, descriptors, rest, ...)                                    \
  asm volatile("{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\nwgmma.mma_async.sync.aligned.m64n" columns types \
               " {" registers "}, " descriptors ", add, 1, 1" rest ";\n}"                                    \
               : __VA_ARGS__                                                                                 \
               : "l"(a), "l"(b))
#define FASTCONV_WGMMA_SIZES(types, rest)                                                        \
  static_assert(count == 32 || count == 64 || count == 128, "64, 128 or 256 columns");           \
  if constexpr (count == 32)                                                                     \
    FASTCONV_WGMMA("64", types, FASTCONV_UP_TO_32, "%32, %33", rest, FASTCONV_SUMS_32(d, 0));    \
  else if constexpr (count == 64)                                                                \
    FASTCONV_WGMMA("128", types, FASTCONV_UP_TO_64, "%64, %65", rest, FASTCONV_SUMS_32(d, 0),    \
                   FASTCONV_SUMS_32(d, 32));                                                     \
  else                                                                                           \
    FASTCONV_WGMMA("256", types, FASTCONV_UP_TO_128, "%128, %129", rest, FASTCONV_SUMS_32(d, 0), \
                   FASTCONV_SUMS_32(d, 32), FASTCONV_SUMS_32(d, 64), FASTCONV_SUMS_32(d, 96))
#define FASTCONV_WGMMA_TURNS(types)        \
  if constexpr (turns_a) {                 \
    FASTCONV_WGMMA_SIZES(types, ", 1, 1"); \
  } else if constexpr (turns_b) {          \
    FASTCONV_WGMMA_SIZES(types, ", 0, 1"); \
  } else {                                 \
    FASTCONV_WGMMA_SIZES(types, ", 0, 0"); \
  }

template <class T, bool turns_a = false, bool turns_b = false, int count>
FASTCONV_DEVICE void wgmma(float (&d)[count], std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  static_assert(!turns_a || turns_b, "a alone is never turned here");
  if constexpr (std::is_same_v<T, BFloat16>) {
    FASTCONV_WGMMA_TURNS("k16.f32.bf16.bf16");
  } else if constexpr (std::is_same_v<T, Float16>) {
    FASTCONV_WGMMA_TURNS("k16.f32.f16.f16");
  } else {
    static_assert(std::is_same_v<T, float> && !turns_b, "an element of a tensor core; only 16-bit ones may be turned");
    FASTCONV_WGMMA_SIZES("k8.f32.tf32.tf32", "");
  }
#else
  no_such_instruction();
#endif
}

}  // namespace cuda
}  // namespace fastconv
