// Which algorithm computes a pass. The one place that knows; drivers, packing and explain() ask here. It reads
// geometry, options and instruction set, never threads or data, and the batch size only for the gradient of the weight,
// which sums over it: so the batch of the other passes may be split without changing a bit.
#pragma once

#include <array>

#include "core/conv2d_shape.h"
#include "cpu/conv2d.h"
#include "cpu/kernels/winograd_kernels.h"

namespace fastconv {

enum class Method { direct, grouped, fold, pixel_lanes, channel_lanes, winograd };

struct Candidate {
  Method method;
  WinogradTile tile;    // where the method is winograd
  const char* refusal;  // null where it can compute this pass
  double cost;          // estimated vector multiply-adds for one image
};

struct Conv2dChoice {
  std::array<Candidate, 5 + kWinogradTiles> candidates;
  int chosen;

  Method method() const { return candidates[chosen].method; }
  WinogradTile tile() const { return candidates[chosen].tile; }
};

template <class T>
Conv2dChoice choose_conv2d(const Conv2dShape& shape, Pass pass, Algorithm algorithm);

// A pointwise gradient of the weight, the direct method, is a product of two matrices: input and grad_output change
// places where that fills more lanes, or packs the one with fewer channels, whose vectors meet all channels of the
// other.
bool pointwise(const Conv2dShape& shape);
template <class T>
bool exchanges(const Conv2dShape& shape);

const char* method_name(const Candidate& candidate);

}  // namespace fastconv
