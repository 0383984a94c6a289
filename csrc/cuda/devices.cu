#include "cuda/devices.h"

#include "cuda/error.h"
#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda/emulator/grid.h"
#endif

namespace fastconv {
namespace cuda {

#if defined(__CUDACC__)

namespace {
std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  throw CudaError(std::string(what) + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error));
}
}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

std::string driver_status() {
  int driver = 0, runtime = 0, count = 0;
  cudaRuntimeGetVersion(&runtime);
  const std::string built = "built with CUDA " + version(runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "off: no NVIDIA driver; " + built;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error != cudaSuccess)
    return std::string("off: ") + cudaGetErrorString(error) + "; driver for CUDA " + version(driver) + ", " + built;
  return "on: " + std::to_string(count) + " devices, driver for CUDA " + version(driver) + ", " + built;
}

DeviceProperties device_properties(int device) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, device), "device_properties");
  return {p.name, p.major * 10 + p.minor, p.multiProcessorCount, static_cast<std::int64_t>(p.totalGlobalMem)};
}

int current_compute_capability() {
  int device = 0, major = 0, minor = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "compute capability");
  return major * 10 + minor;
}

int current_multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  return count;
}

#else

int device_count() { return 2; }  // so that tests can mix them up
std::string driver_status() { return "emulated on the CPU, for tests"; }
DeviceProperties device_properties(int device) {
  if (device < 0 || device > 1)
    throw CudaError("device_properties: the emulator has devices 0 and 1, got " + std::to_string(device));
  return {"emulator", 90, 132, std::int64_t{1} << 33};
}
int current_multiprocessors() { return emulator::mode().multiprocessors; }
int current_compute_capability() { return emulator::mode().compute_capability; }

#endif

}  // namespace cuda
}  // namespace fastconv
