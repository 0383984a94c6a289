// The geometry of a 2-D convolution (cross-correlation), judged once; every pass and every device takes this struct.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/window.h"

namespace fastconv {

// out[n][oc][oh][ow] = bias[oc] + sum over (ic, kh, kw) of
//   input[n][g*icg + ic][oh*stride_h - pad_top + kh*dilation_h][ow*stride_w - pad_left + kw*dilation_w] *
//   weight[oc][ic][kh][kw]
// with g = oc / ocg, the group of the output channel, and zero outside the image.
struct Conv2dShape {
  std::int64_t n, ic, ih, iw;
  std::int64_t oc, oh, ow;
  std::int64_t kh, kw;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_top, pad_bottom, pad_left, pad_right;
  std::int64_t dilation_h, dilation_w;
  std::int64_t groups;

  std::int64_t icg() const { return ic / groups; }  // input channels of one group
  std::int64_t ocg() const { return oc / groups; }  // output channels of one group
  bool depthwise() const { return groups == ic && groups == oc; }
  Shape4 input_shape() const { return {n, ic, ih, iw}; }
  Shape4 weight_shape() const { return {oc, icg(), kh, kw}; }
  Shape4 output_shape() const { return {n, oc, oh, ow}; }
  // Multiplications and additions of the definition, padding taps counted; saturates at the largest int64.
  std::int64_t flops() const;
};

struct Conv2dOptions {
  std::array<std::int64_t, 2> stride{1, 1};
  PaddingMode padding_mode = PaddingMode::explicit_;
  std::array<std::int64_t, 4> padding{0, 0, 0, 0};  // top, bottom, left, right
  std::array<std::int64_t, 2> dilation{1, 1};
  std::int64_t groups = 1;
};

// Throws std::invalid_argument "<op>: <argument> <rule>, got <value>" for whatever is wrong.
Conv2dShape make_conv2d_shape(const std::string& op, const Shape4& input, const Shape4& weight,
                              const Conv2dOptions& options);

}  // namespace fastconv
