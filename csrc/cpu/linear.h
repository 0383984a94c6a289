// A dense layer is a 1x1 convolution over an image of one row whose pixels are the batch.
#pragma once

#include "core/conv2d_shape.h"

namespace fastconv {

inline Conv2dShape linear_shape(std::int64_t rows, std::int64_t in_features, std::int64_t out_features) {
  Conv2dShape s{};
  s.n = rows > 0 ? 1 : 0;
  s.ic = in_features, s.ih = 1, s.iw = rows;
  s.oc = out_features, s.oh = 1, s.ow = rows;
  s.kh = s.kw = s.stride_h = s.stride_w = s.dilation_h = s.dilation_w = s.groups = 1;
  return s;
}

}  // namespace fastconv
