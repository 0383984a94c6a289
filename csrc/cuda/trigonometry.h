// Two functions of the device layer that one kernel wants; see device.h.
#pragma once

#include <cmath>

#include "cuda/host_device.h"

namespace fastconv {
namespace cuda {

#if defined(__CUDACC__)
FASTCONV_DEVICE float sine(float x) { return sinf(x); }
FASTCONV_DEVICE float cosine(float x) { return cosf(x); }
#else
inline float sine(float x) { return std::sin(x); }
inline float cosine(float x) { return std::cos(x); }
#endif

}  // namespace cuda
}  // namespace fastconv
