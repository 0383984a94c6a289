// What TMA knows of an array in global memory: opaque on a GPU, readable in the emulator. tensor_map.h makes them.
#pragma once

#if defined(__CUDACC__)
#include <cuda.h>  // the type alone; nothing of libcuda is linked
#else
#include <cstdint>
#endif

namespace fastconv {
namespace cuda {

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
struct TensorMap {
  const unsigned char* address;
  std::int64_t dims[4], strides[4];  // in elements, the innermost first; strides in bytes
  std::int32_t rank, element_bytes;
  bool im2col, to_tf32;
  std::int32_t box[3];                      // tiled: elements in every dimension
  std::int32_t channels, pixels, steps[2];  // im2col: of a box; strides of the convolution (w, h)
  std::int32_t lower[2], upper[2];          // corners (w, h)
};
#endif

}  // namespace cuda
}  // namespace fastconv
