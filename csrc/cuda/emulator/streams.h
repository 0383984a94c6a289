// Streams of the emulator: names only, since its kernels run at once. It notes which was told to wait for which.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {
namespace emulator {

inline int& current_device() {
  static int device = 0;
  return device;
}

inline std::vector<std::pair<Stream, Stream>>& stream_orders() {
  static std::vector<std::pair<Stream, Stream>> orders;
  return orders;
}

// Device of each stream that was made; the first is number 16, far from the default ones.
inline std::vector<int>& stream_devices() {
  static std::vector<int> devices;
  return devices;
}
constexpr std::uintptr_t kFirstStream = 16;

inline int stream_device(Stream stream, int otherwise) {
  const auto number = reinterpret_cast<std::uintptr_t>(stream);
  if (number < kFirstStream || number - kFirstStream >= stream_devices().size()) return otherwise;
  return stream_devices()[number - kFirstStream];
}

}  // namespace emulator
}  // namespace cuda
}  // namespace fastconv
