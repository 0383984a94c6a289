// Parts of images, and images of another size. Pointers are device pointers; the last axis, channels, is contiguous.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// An (n, h, w, c) part of an array, with the steps between its images, rows and pixels in elements.
struct Part {
  std::int64_t n_step, h_step, w_step;
};

struct StridedCopy {
  const float* input;
  float* output;
  std::int64_t n, h, w, c;
  Part from, to;
};
void strided_copy(const StridedCopy& p, Stream stream);

// One axis of core/resample2d_shape.h in device memory: out[o] = sum over k of weight[start[o] + k] * in[first[o] + k].
struct AxisTable {
  const std::int32_t* first;
  const std::int32_t* start;
  const float* weight;
};

// (n, ih, iw, c) to (n, oh, ow, c); backward is the same with the transposed tables. No atomics.
struct Resample2d {
  const float* input;
  float* output;
  std::int64_t n, ih, iw, oh, ow, c;
  AxisTable rows, columns;
};
void resample2d(const Resample2d& p, Stream stream);

}  // namespace cuda
}  // namespace fastconv
