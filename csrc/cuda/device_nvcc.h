// The device layer under nvcc: thin names for intrinsics and PTX. device.h says what each does.
#pragma once

#include <cuda_runtime.h>

namespace fastconv {
namespace cuda {

FASTCONV_DEVICE int thread_x() { return static_cast<int>(threadIdx.x); }
FASTCONV_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
FASTCONV_DEVICE int block_x_anew() {
  int block;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
  return block;
}
FASTCONV_DEVICE int thread_x_anew() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}
FASTCONV_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
FASTCONV_DEVICE int blocks() { return static_cast<int>(gridDim.x); }
FASTCONV_DEVICE int lane() { return thread_x() % 32; }
FASTCONV_DEVICE int warp() { return thread_x() / 32; }

template <class T>
FASTCONV_DEVICE T* shared() {
  extern __shared__ __align__(128) unsigned char fastconv_shared[];
  return reinterpret_cast<T*>(fastconv_shared);
}

FASTCONV_DEVICE void sync() { __syncthreads(); }
FASTCONV_DEVICE void sync_warp() { __syncwarp(); }
FASTCONV_DEVICE unsigned ballot(bool condition) { return __ballot_sync(~0u, condition); }
template <class T>
FASTCONV_DEVICE T shuffle(T value, int from_lane) {
  return __shfl_sync(~0u, value, from_lane);
}
template <class T>
FASTCONV_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(~0u, value, mask);
}

template <class P, class T>
FASTCONV_DEVICE P load(const T* from) {
  return *reinterpret_cast<const P*>(from);
}
template <class P, class T>
FASTCONV_DEVICE void store(T* to, const P& pack) {
  *reinterpret_cast<P*>(to) = pack;
}

FASTCONV_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
FASTCONV_HOST_DEVICE float root(float x) { return sqrtf(x); }
FASTCONV_HOST_DEVICE double root(double x) { return sqrt(x); }
FASTCONV_DEVICE float exponential(float x) { return expf(x); }
FASTCONV_DEVICE float exponential_minus_one(float x) { return expm1f(x); }
FASTCONV_DEVICE float logarithm_of_one_plus(float x) { return log1pf(x); }
FASTCONV_DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
FASTCONV_DEVICE float error_complement(float x) { return erfcf(x); }
FASTCONV_DEVICE double logarithm(double x) { return log(x); }
FASTCONV_DEVICE double power(double x, double y) { return pow(x, y); }
FASTCONV_DEVICE float not_a_number() { return __int_as_float(0x7fc00000); }

// Before sm_80 the copy goes through a register and lands at once: correct wherever the pipelined one is.
template <int bytes>
FASTCONV_DEVICE void cp_async(void* to, const void* from, bool valid) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "what the instruction can copy");
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto to_shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const auto from_global = __cvta_generic_to_global(from);
  const int read = valid ? bytes : 0;  // the rest of the bytes becomes zero
  if constexpr (bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to_shared), "l"(from_global), "r"(read)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to_shared), "l"(from_global), "n"(bytes),
                 "r"(read)
                 : "memory");
  }
#else
  using Word = Pack<unsigned, bytes / 4>;
  store(static_cast<unsigned*>(to), valid ? load<Word>(static_cast<const unsigned*>(from)) : Word{});
#endif
}
FASTCONV_DEVICE void cp_async_commit() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int groups_on_the_way>
FASTCONV_DEVICE void cp_async_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_on_the_way) : "memory");
#endif
}

}  // namespace cuda
}  // namespace fastconv
