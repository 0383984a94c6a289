// Which kernel a pooling takes: by its geometry alone.
#pragma once

#include <cstdint>

#include "core/pool2d_shape.h"

namespace fastconv {
namespace cuda {

// Windows of 2x2 and 3x3 have loops without counters.
inline int pool2d_side(const Pool2dShape& s) {
  return s.kh == s.kw && (s.kh == 2 || s.kh == 3) ? static_cast<int>(s.kh) : 0;
}

// Windows that do not overlap, small enough that a thread writes all pixels of one.
inline bool has_small_cells(const Pool2dShape& s) {
  constexpr std::int64_t kMostPixels = 16;
  const auto apart = [](std::int64_t kernel, std::int64_t stride, std::int64_t dilation) {
    return kernel <= stride && (dilation == 1 || kernel == 1);
  };
  return apart(s.kh, s.stride_h, s.dilation_h) && apart(s.kw, s.stride_w, s.dilation_w) && s.stride_h <= kMostPixels &&
         s.stride_w <= kMostPixels && s.stride_h * s.stride_w <= kMostPixels;
}

// Windows with so many taps that a block shares the work of one.
inline bool is_wide(const Pool2dShape& s) {
  constexpr std::int64_t kFewestTaps = 32;
  return s.kh * s.kw >= kFewestTaps;  // make_pool2d_shape has checked the product
}

}  // namespace cuda
}  // namespace fastconv
