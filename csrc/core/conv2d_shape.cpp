#include "core/conv2d_shape.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "core/checked_math.h"

namespace fastconv {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

// A weight whose axes were permuted (HWIO, OHWI) is the usual mistake: say so when the permuted shape would fit and
// have a square kernel, since nearly any shape fits somehow.
std::string permutation_hint(const Shape4& w, std::int64_t icg) {
  if (w[2] == icg && w[0] == w[1])
    return "; this looks like (KH, KW, IC, OC): transpose it with weight.transpose(3, 2, 0, 1)";
  if (w[3] == icg && w[1] == w[2])
    return "; this looks like (OC, KH, KW, IC): transpose it with weight.transpose(0, 3, 1, 2)";
  if (w[0] == icg && w[2] == w[3])
    return "; this looks like (IC, OC, KH, KW): transpose it with weight.transpose(1, 0, 2, 3)";
  return "";
}

}  // namespace

std::int64_t Conv2dShape::flops() const {
  long double f = 2.0L * n * oc * oh * ow;
  f *= static_cast<long double>(icg()) * kh * kw;
  const long double most = static_cast<long double>(std::numeric_limits<std::int64_t>::max());
  return f >= most ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(f);
}

Conv2dShape make_conv2d_shape(const std::string& op, const Shape4& input, const Shape4& weight,
                              const Conv2dOptions& options) {
  check_data_shape(op, "input", input);
  for (int i = 0; i < 4; ++i)
    if (weight[static_cast<std::size_t>(i)] < 1)
      refuse(op + ": weight must have every size of (OC, IC/groups, KH, KW) >= 1, got " + to_string(weight));
  const std::int64_t groups = options.groups;
  if (groups < 1) refuse(op + ": groups must be >= 1, got " + std::to_string(groups));
  const std::int64_t ic = input[1], oc = weight[0];
  if (ic % groups != 0)
    refuse(op + ": groups must divide the input channels, got IC=" + std::to_string(ic) +
           ", groups=" + std::to_string(groups));
  if (weight[1] != ic / groups)
    refuse(op + ": weight must have shape (OC, IC/groups, KH, KW) with IC=" + std::to_string(ic) +
           ", groups=" + std::to_string(groups) + ", got " + to_string(weight) + permutation_hint(weight, ic / groups));
  if (oc % groups != 0)
    refuse(op + ": groups must divide the output channels, got OC=" + std::to_string(oc) +
           ", groups=" + std::to_string(groups));

  Axis h{"height",           input[2],           weight[2], options.stride[0], options.dilation[0],
         options.padding[0], options.padding[1], 0};
  Axis w{"width", input[3], weight[3], options.stride[1], options.dilation[1], options.padding[2], options.padding[3],
         0};
  resolve_axis(op, h, options.padding_mode, false);
  resolve_axis(op, w, options.padding_mode, false);

  Conv2dShape s{};
  s.n = input[0], s.ic = ic, s.ih = input[2], s.iw = input[3];
  s.oc = oc, s.oh = h.out, s.ow = w.out;
  s.kh = weight[2], s.kw = weight[3];
  s.pad_top = h.pad_begin, s.pad_bottom = h.pad_end, s.pad_left = w.pad_begin, s.pad_right = w.pad_end;
  // A step beyond the padded image is never taken. Clamped, it overflows no offset that a driver computes with it.
  const std::int64_t padded_h = s.ih + s.pad_top + s.pad_bottom, padded_w = s.iw + s.pad_left + s.pad_right;
  s.stride_h = std::min(h.stride, padded_h), s.stride_w = std::min(w.stride, padded_w);
  s.dilation_h = std::min(h.dilation, padded_h), s.dilation_w = std::min(w.dilation, padded_w);
  s.groups = groups;
  check_data_shape(op, "output", s.output_shape());
  check_data_shape(op, "weight", s.weight_shape());
  // The padded image must be addressable too: drivers step through it with 64-bit offsets.
  check_data_shape(
      op, "padded input",
      {std::max<std::int64_t>(s.n, 1), s.ic, s.ih + s.pad_top + s.pad_bottom, s.iw + s.pad_left + s.pad_right});
  return s;
}

}  // namespace fastconv
