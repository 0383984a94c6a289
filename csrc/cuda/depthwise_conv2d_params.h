// What the drivers of depthwise convolution share.
#pragma once

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_params.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/depthwise_conv2d_choice.h"
#include "cuda/kernels/depthwise_conv2d.h"
#include "cuda/lanes.h"

namespace fastconv {
namespace cuda {

constexpr std::int64_t kMostTiles = (std::int64_t{1} << 31) - 1024;

// Threads side by side follow from the geometry, not from how wide an address lets an access be.
inline std::int32_t depthwise_lanes(const Conv2dShape& s, std::int64_t channels) {
  return lanes_for(channels / (depthwise_in_fours(s) ? 4 : 1));
}

inline DepthwiseGeometry depthwise_geometry(const char* op, const Conv2dShape& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 29;
  const auto fit = [&](std::int64_t value) { return to_int32(op, value, kMost, s); };
  const auto step = [&](std::int64_t value) { return static_cast<std::int32_t>(std::min(value, kMost)); };
  fit(s.ih + s.pad_top + s.pad_bottom), fit(s.iw + s.pad_left + s.pad_right), fit(checked_mul(s.kh, s.kw, op));
  DepthwiseGeometry g{};
  g.ih = fit(s.ih), g.iw = fit(s.iw), g.ic = fit(s.ic);
  g.oh = fit(s.oh), g.ow = fit(s.ow), g.oc = fit(s.oc);
  g.kh = fit(s.kh), g.kw = fit(s.kw);
  g.stride_h = step(s.stride_h), g.stride_w = step(s.stride_w);
  g.pad_top = fit(s.pad_top), g.pad_left = fit(s.pad_left);
  g.dilation_h = step(s.dilation_h), g.dilation_w = step(s.dilation_w);
  g.multiplier = fit(s.ocg());
  g.by_multiplier = FastDivide(g.multiplier);
  g.by_stride_h = FastDivide(g.stride_h), g.by_stride_w = FastDivide(g.stride_w);
  return g;
}

}  // namespace cuda
}  // namespace fastconv
