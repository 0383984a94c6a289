#pragma once

#include <cstdint>

namespace fastconv {
namespace cuda {

// Threads of a block side by side in the channels of one pixel, of which an access takes one or four: a power of two,
// at most a warp.
inline std::int32_t lanes_for(std::int64_t accesses) {
  std::int32_t lanes = 1;
  while (lanes < 32 && lanes < accesses) lanes *= 2;
  return lanes;
}

}  // namespace cuda
}  // namespace fastconv
