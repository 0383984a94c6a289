// Convolutions that have kernels of their own, whatever the pass: chosen by the geometry alone.
#pragma once

#include <string>

#include "core/conv2d_shape.h"

namespace fastconv {
namespace cuda {

enum class Conv2dKind { general, depthwise };

// depthwise: a group for every input channel. There is no sum over channels, so that a matrix product would fill most
// of its tile with nothing.
inline Conv2dKind conv2d_kind(const Conv2dShape& s) {
  if (s.groups == s.ic && s.groups > 1) return Conv2dKind::depthwise;
  return Conv2dKind::general;
}

// Says which kind of kernel is taken, and why.
std::string explain_conv2d_kind(const Conv2dShape& shape);

}  // namespace cuda
}  // namespace fastconv
