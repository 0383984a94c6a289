#include "cuda/streams.h"

#include <stdexcept>
#include <string>

#include "cuda/error.h"
#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "cuda/devices.h"
#include "cuda/emulator/streams.h"
#endif

namespace fastconv {
namespace cuda {

namespace {
[[noreturn]] void refuse_stream(int of, int device) {
  throw std::invalid_argument("the stream belongs to device " + std::to_string(of) + ", the arrays to device " +
                              std::to_string(device));
}
}  // namespace

#if defined(__CUDACC__)

namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  throw CudaError(std::string(what) + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error));
}

// Those of no device in particular: the default stream, and the names of the legacy and the per-thread one.
bool is_default(Stream stream) { return reinterpret_cast<std::uintptr_t>(stream) <= 2; }

}  // namespace

void set_device(int device) { check(cudaSetDevice(device), "set_device"); }

int enter_device(int device, Stream stream) {
  int previous = 0;
  check(cudaGetDevice(&previous), "the current device");
  if (previous != device) set_device(device);
#if CUDART_VERSION >= 12080
  int of = device;
  if (!is_default(stream) && cudaStreamGetDevice(static_cast<cudaStream_t>(stream), &of) != cudaSuccess) {
    cudaGetLastError();  // an older driver; the launch tells
    of = device;
  }
  if (of != device) {
    if (previous != device) set_device(previous);
    refuse_stream(of, device);
  }
#endif
  return previous;
}

void order_streams(int device_of_first, Stream first, Stream then) {
  int previous = 0;
  check(cudaGetDevice(&previous), "the current device");
  if (previous != device_of_first) set_device(device_of_first);
  cudaEvent_t event = nullptr;
  cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (error == cudaSuccess) error = cudaEventRecord(event, static_cast<cudaStream_t>(first));
  if (error == cudaSuccess) error = cudaStreamWaitEvent(static_cast<cudaStream_t>(then), event, 0);
  if (event) cudaEventDestroy(event);  // the driver keeps it until it was waited for
  if (previous != device_of_first) set_device(previous);
  check(error, "a stream that waits for another");
}

int pointer_device(std::uintptr_t address) {
  cudaPointerAttributes found{};
  const cudaError_t error = cudaPointerGetAttributes(&found, reinterpret_cast<const void*>(address));
  if (error != cudaSuccess) cudaGetLastError();
  const bool on_device = found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
  return error == cudaSuccess && on_device ? found.device : -1;
}

#else

void set_device(int device) {
  device_properties(device);  // throws if there is no such device
  emulator::current_device() = device;
}

int enter_device(int device, Stream stream) {
  const int previous = emulator::current_device(), of = emulator::stream_device(stream, device);
  device_properties(device);
  if (of != device) refuse_stream(of, device);
  emulator::current_device() = device;
  return previous;
}

void order_streams(int, Stream first, Stream then) { emulator::stream_orders().emplace_back(first, then); }

int pointer_device(std::uintptr_t) { return 0; }

#endif

}  // namespace cuda
}  // namespace fastconv
