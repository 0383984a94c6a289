// Which GPUs there are. Without a driver there are none, which is no error.
#pragma once

#include <cstdint>
#include <string>

namespace fastconv {
namespace cuda {

struct DeviceProperties {
  std::string name;
  int compute_capability;  // 90 is 9.0
  int multiprocessors;
  std::int64_t memory_bytes;
};

int device_count();
std::string driver_status();  // one sentence for people: the driver and how many devices, or why there are none
DeviceProperties device_properties(int device);
int current_multiprocessors();     // likewise
int current_compute_capability();  // of the current device; quick enough for every call

}  // namespace cuda
}  // namespace fastconv
