// Starting a kernel: one function for the GPU and for the emulator, with the same limits and the same errors.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "cuda/describe.h"
#include "cuda/error.h"
#include "cuda/stream.h"
#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda/emulator/grid.h"
#endif

namespace fastconv {
namespace cuda {

struct Launch {
  const char* kernel;  // its name, for errors
  std::int64_t blocks;
  int threads;  // of a block
  std::int64_t shared_bytes;
  Stream stream;
};

constexpr std::int64_t kMaxBlocks = std::numeric_limits<std::int32_t>::max();

template <class Geometry>
[[noreturn]] void fail_launch(const Launch& at, const Geometry& geometry, const std::string& why) {
  throw CudaError(std::string("kernel ") + at.kernel + " failed: " + why + " (" + describe(geometry) + "; " +
                  std::to_string(at.blocks) + " blocks of " + std::to_string(at.threads) + " threads, " +
                  std::to_string(at.shared_bytes) + " bytes of shared memory)");
}

// Puts the kernel on the stream and returns without waiting. No block, no launch.
template <class Params, class Geometry>
void launch(const Launch& at, void (*kernel)(Params), const Params& params, const Geometry& geometry) {
  if (at.blocks == 0) return;
  if (at.blocks > kMaxBlocks) fail_launch(at, geometry, "a grid has at most 2147483647 blocks");
#if defined(__CUDACC__)
  const auto function = reinterpret_cast<const void*>(kernel);
  cudaError_t error = cudaSuccess;
  constexpr std::int64_t kWithoutAsking = 48 << 10;
  if (at.shared_bytes > kWithoutAsking)
    error =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(at.shared_bytes));
  void* arguments[] = {const_cast<Params*>(&params)};
  if (error == cudaSuccess)
    error =
        cudaLaunchKernel(function, dim3(static_cast<unsigned>(at.blocks)), dim3(static_cast<unsigned>(at.threads)),
                         arguments, static_cast<std::size_t>(at.shared_bytes), static_cast<cudaStream_t>(at.stream));
  if (error != cudaSuccess) {
    cudaGetLastError();  // the next launch shall not find this error
    fail_launch(at, geometry, std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error));
  }
#else
  if (!emulator::mode().launches) return;
  std::string error = emulator::mode().launch_error;
  if (error.empty())
    error = emulator::run_grid(static_cast<int>(at.blocks), at.threads, at.shared_bytes, [&] { kernel(params); });
  if (!error.empty()) fail_launch(at, geometry, error);
#endif
}

}  // namespace cuda
}  // namespace fastconv
