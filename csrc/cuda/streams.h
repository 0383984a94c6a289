// The device a call runs on, the order between streams, and where memory lies.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// Makes `device` current and returns the one that was. A stream of another device is an invalid_argument.
int enter_device(int device, Stream stream);
void set_device(int device);

// What comes on `then` from now on waits for all that is on `first`, on the GPU; the host waits for nothing.
void order_streams(int device_of_first, Stream first, Stream then);

// The device whose memory this is; -1: the host's, or nobody's.
int pointer_device(std::uintptr_t address);

}  // namespace cuda
}  // namespace fastconv
