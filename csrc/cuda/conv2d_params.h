// From the checked 64-bit geometry to the 32-bit one of the kernels.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/checked_math.h"
#include "core/conv2d_shape.h"
#include "cuda/describe.h"
#include "cuda/kernels/conv2d_geometry.h"

namespace fastconv {
namespace cuda {

// Kernels count pixels and channels in 32 bits; offsets in memory are always 64.
inline std::int32_t to_int32(const char* op, std::int64_t value, std::int64_t most, const Conv2dShape& shape) {
  if (value > most)
    throw std::invalid_argument(std::string(op) + ": a size of " + std::to_string(value) +
                                " is too large for a GPU kernel, which takes at most " + std::to_string(most) + " (" +
                                describe(shape) + ")");
  return static_cast<std::int32_t>(value);
}

// The images that one launch takes: their output pixels, rounded up to tiles, are counted in 31 bits.
inline std::int64_t images_per_launch(const Conv2dShape& s) {
  constexpr std::int64_t kMostPixels = (std::int64_t{1} << 31) - 1024;
  return std::max<std::int64_t>(1, std::min(s.n, kMostPixels / (s.oh * s.ow)));
}

inline Conv2dGeometry conv2d_geometry(const char* op, const Conv2dShape& s, std::int64_t images) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const auto fit = [&](std::int64_t value) { return to_int32(op, value, kMost, s); };
  fit(s.ih + s.pad_top + s.pad_bottom), fit(s.iw + s.pad_left + s.pad_right);
  fit(checked_mul(s.kh * s.kw, s.icg(), op)), fit(s.oh * s.ow);
  Conv2dGeometry g{};
  g.ih = fit(s.ih), g.iw = fit(s.iw), g.ic = fit(s.ic);
  g.oh = fit(s.oh), g.ow = fit(s.ow), g.oc = fit(s.oc);
  g.icg = fit(s.icg()), g.ocg = fit(s.ocg());
  g.kh = fit(s.kh), g.kw = fit(s.kw);
  g.stride_h = fit(s.stride_h), g.stride_w = fit(s.stride_w);
  g.pad_top = fit(s.pad_top), g.pad_left = fit(s.pad_left);
  g.dilation_h = fit(s.dilation_h), g.dilation_w = fit(s.dilation_w);
  g.output_pixels = static_cast<std::int32_t>(images * s.oh * s.ow);
  g.by_plane = FastDivide(g.oh * g.ow), g.by_row = FastDivide(g.ow);
  g.by_icg = FastDivide(g.icg), g.by_kw = FastDivide(g.kw);
  return g;
}

}  // namespace cuda
}  // namespace fastconv
