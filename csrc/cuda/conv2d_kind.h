// Convolutions that have kernels of their own, whatever the pass: chosen by the geometry alone.
#pragma once

#include <string>

#include "core/conv2d_shape.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

enum class Conv2dKind { general, depthwise, stem };

// depthwise: a group for every input channel. There is no sum over channels, so that a matrix product would fill most
// of its tile with nothing.
// stem: images of 1 to 4 channels. A matrix product would copy every pixel once per tap, a few bytes at a time. The
// gradient of the weight looks for itself (stem_conv2d_backward_weight_takes), that of the input is general.
inline Conv2dKind conv2d_kind(const Conv2dShape& s) {
  if (s.groups == s.ic && s.groups > 1) return Conv2dKind::depthwise;
  if (stem_conv2d_takes(s)) return Conv2dKind::stem;
  return Conv2dKind::general;
}

// Says which kind of kernel is taken, and why.
std::string explain_conv2d_kind(const Conv2dShape& shape);

}  // namespace cuda
}  // namespace fastconv
