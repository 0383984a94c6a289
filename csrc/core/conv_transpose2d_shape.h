// The geometry of a transposed convolution: that of the convolution whose gradient of the input it computes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/conv2d_shape.h"

namespace fastconv {

// A convolution with stride s makes the same size of s neighbouring ones, so a transposed one has s sizes to choose
// from: (in - 1) * stride - padding + (kernel - 1) * dilation + 1 + output_padding, 0 <= output_padding < stride.
struct ConvTranspose2dOptions {
  Conv2dOptions conv;
  std::array<std::int64_t, 2> output_padding{0, 0};
  std::optional<std::array<std::int64_t, 2>> output_size;
};

// input (N, C, H, W) and weight (C, OC/groups, KH, KW) of the transposed convolution; its output is the result's
// input_shape(). Throws std::invalid_argument "<op>: <argument> <rule>, got <value>" for whatever is wrong.
Conv2dShape make_conv_transpose2d_shape(const std::string& op, const Shape4& input, const Shape4& weight,
                                        const ConvTranspose2dOptions& options);

}  // namespace fastconv
