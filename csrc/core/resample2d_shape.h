// The geometry of operations that treat rows and columns apart: upsampling, and pooling over PyTorch's adaptive bins.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/window.h"

namespace fastconv {

// One axis of a linear map: out[o] = sum over k of weight[start[o] + k] * in[first[o] + k], k < start[o+1] - start[o].
// No weight is zero, so that an Inf or NaN goes where it is read and nowhere else.
struct AxisMap {
  std::int64_t in, out;
  std::vector<std::int64_t> first, start;
  std::vector<double> weight;

  std::int64_t count(std::int64_t o) const {
    return start[static_cast<std::size_t>(o) + 1] - start[static_cast<std::size_t>(o)];
  }
};

enum class Resampling { nearest, linear, bins };

Resampling parse_resampling(const std::string& op, const std::string& name);  // "nearest", "bilinear", "bins"

// rows and columns map the input to the output; their transposes map a gradient back.
struct Resample2dShape {
  std::int64_t n, c, ih, iw, oh, ow;
  AxisMap rows, columns, rows_back, columns_back;

  Shape4 input_shape() const { return {n, c, ih, iw}; }
  Shape4 output_shape() const { return {n, c, oh, ow}; }
};

// scales: of the output to the input as the caller gave them; 0: the quotient of the sizes.
// nearest: floor(o / scale). linear: (o + 0.5) / scale - 0.5, not below 0, or o * (in - 1) / (out - 1) with
// align_corners. bins: the mean from floor(o * in / out) up to ceil((o + 1) * in / out). Throws std::invalid_argument
// "<op>: <argument> <rule>, got <value>" for whatever is wrong.
Resample2dShape make_resample2d_shape(const std::string& op, const Shape4& input,
                                      const std::array<std::int64_t, 2>& output_size, Resampling mode,
                                      bool align_corners, const std::array<double, 2>& scales);

}  // namespace fastconv
