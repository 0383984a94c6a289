// Which kernel a depthwise convolution takes.
#pragma once

#include "core/conv2d_shape.h"

namespace fastconv {
namespace cuda {

// Filters whose loops are written out.
inline bool depthwise_unrolled(const Conv2dShape& s) {
  return s.kh == s.kw && (s.kh == 3 || s.kh == 5) && s.stride_h == s.stride_w && s.stride_h <= 2 && s.dilation_h == 1 &&
         s.dilation_w == 1;
}

// Channels in fours need one input channel for each output channel.
inline bool depthwise_in_fours(const Conv2dShape& s) { return s.oc == s.ic && s.ic % 4 == 0; }

}  // namespace cuda
}  // namespace fastconv
