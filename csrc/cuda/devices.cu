#include "cuda/devices.h"

#include <atomic>

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

namespace {

int attribute(int device, cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "an attribute of the device");
  return value;
}

// What never changes is asked for once: every call wants it.
template <class Ask>
int of_current_device(std::atomic<int>* known, int devices, Ask&& ask) {
  int device = 0;
  check(cudaGetDevice(&device), "current device");
  if (device >= devices) return ask(device);
  int value = known[device].load(std::memory_order_relaxed);
  if (value == 0) known[device].store(value = ask(device), std::memory_order_relaxed);
  return value;
}

constexpr int kDevices = 64;

}  // namespace

int current_compute_capability() {
  static std::atomic<int> known[kDevices];
  return of_current_device(known, kDevices, [](int device) {
    return attribute(device, cudaDevAttrComputeCapabilityMajor) * 10 +
           attribute(device, cudaDevAttrComputeCapabilityMinor);
  });
}

int current_multiprocessors() {
  static std::atomic<int> known[kDevices];
  return of_current_device(known, kDevices,
                           [](int device) { return attribute(device, cudaDevAttrMultiProcessorCount); });
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
