// Words for functions that kernels call, and that both compilers understand.
#pragma once

#if defined(__CUDACC__)
#define FASTCONV_KERNEL __global__ void
// A kernel with a promise: so many threads a block, and registers for so many blocks side by side on an SM.
#define FASTCONV_BOUNDED_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define FASTCONV_GRID_CONSTANT __grid_constant__  // parameters stay where they are, and can be pointed at
#define FASTCONV_DEVICE __device__ __forceinline__
#define FASTCONV_DEVICE_NOINLINE __device__ __noinline__  // for what hardly ever runs: it shall cost no registers
#define FASTCONV_HOST_DEVICE __host__ __device__ __forceinline__
#define FASTCONV_UNROLL _Pragma("unroll")
#define FASTCONV_PRAGMA(text) _Pragma(#text)
#define FASTCONV_UNROLL_BY(n) FASTCONV_PRAGMA(unroll(n))
#define FASTCONV_UNROLL_ON_GPU _Pragma("unroll")  // where the emulator waits for other things than for a loop
#else
#define FASTCONV_KERNEL void
#define FASTCONV_BOUNDED_KERNEL(threads, blocks) void
#define FASTCONV_GRID_CONSTANT
#define FASTCONV_DEVICE inline
#define FASTCONV_DEVICE_NOINLINE __attribute__((noinline)) inline
#define FASTCONV_HOST_DEVICE inline
#define FASTCONV_UNROLL _Pragma("GCC unroll 16")
#define FASTCONV_UNROLL_BY(n)
#define FASTCONV_UNROLL_ON_GPU
#endif
