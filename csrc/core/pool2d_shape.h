// The geometry of 2-D pooling, judged once; every pass and every device takes this struct.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/window.h"

namespace fastconv {

// Window (oh, ow) covers input[oh*stride_h - pad_top + kh*dilation_h][ow*stride_w - pad_left + kw*dilation_w] for
// 0 <= kh < KH, 0 <= kw < KW; taps outside the image take no part. Every window has a tap inside it.
struct Pool2dShape {
  std::int64_t n, c, ih, iw;
  std::int64_t oh, ow;
  std::int64_t kh, kw;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_top, pad_bottom, pad_left, pad_right;
  std::int64_t dilation_h, dilation_w;
  bool ceil_mode;

  Shape4 input_shape() const { return {n, c, ih, iw}; }
  Shape4 output_shape() const { return {n, c, oh, ow}; }
};

struct Pool2dOptions {
  std::array<std::int64_t, 2> kernel_size{1, 1};
  std::array<std::int64_t, 2> stride{1, 1};
  std::array<std::int64_t, 4> padding{0, 0, 0, 0};  // top, bottom, left, right
  std::array<std::int64_t, 2> dilation{1, 1};
  bool ceil_mode = false;
};

// Throws std::invalid_argument "<op>: <argument> <rule>, got <value>" for whatever is wrong.
Pool2dShape make_pool2d_shape(const std::string& op, const Shape4& input, const Pool2dOptions& options);

// Throws unless every pixel of a plane has an index that fits 32 bits.
void check_pool2d_indices(const std::string& op, const Pool2dShape& shape);

}  // namespace fastconv
