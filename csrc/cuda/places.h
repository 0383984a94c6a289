// Maxima of bins, and values at places: flat numbers of pixels in a plane, int32. Device pointers, images (n, h, w, c).
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// Bin o of an axis reaches from floor(o in / out) up to ceil((o + 1) in / out), as PyTorch's adaptive pooling.
struct AdaptiveMaxPool2d {
  const float* input;    // (n, ih, iw, c); backward: the gradient of the output
  float* output;         // (n, oh, ow, c); backward: the gradient of the input
  std::int32_t* places;  // of the output's shape: read backward
  std::int64_t n, c;
  std::int32_t ih, iw, oh, ow;
};
void adaptive_max_pool2d(const AdaptiveMaxPool2d& p, Stream stream);
void adaptive_max_pool2d_backward(const AdaptiveMaxPool2d& p, Stream stream);

// `small` has `pixels` places of a plane of `plane` pixels; places outside of it take no part.
struct PlaneCopy {
  float *small, *large;
  const std::int32_t* places;
  std::int64_t n, c, pixels, plane;
};
void gather_planes(const PlaneCopy& p, Stream stream);   // small = large at the places, 0 for those outside
void scatter_planes(const PlaneCopy& p, Stream stream);  // large = small at the places, the last of equal ones, else 0

}  // namespace cuda
}  // namespace fastconv
