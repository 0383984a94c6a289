#include "core/pool2d_shape.h"

#include <limits>
#include <stdexcept>

#include "core/checked_math.h"

namespace fastconv {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

std::string pair_text(std::int64_t a, std::int64_t b) {
  return "(" + std::to_string(a) + ", " + std::to_string(b) + ")";
}

// PyTorch's rule; with it a window of neighbouring pixels always meets the image.
void check_padding(const std::string& op, const Axis& axis) {
  const std::int64_t most = axis.kernel / 2;
  if (axis.pad_begin > most || axis.pad_end > most)
    refuse(op + ": padding must be at most half of the kernel size along " + axis.name + ", that is " +
           std::to_string(axis.kernel) + " / 2 = " + std::to_string(most) + ", got " +
           pair_text(axis.pad_begin, axis.pad_end));
}

// A dilated window may still step over a small image: only those that begin in the padding can.
void check_windows(const std::string& op, const Axis& axis) {
  for (std::int64_t o = 0; o < axis.out && o * axis.stride < axis.pad_begin; ++o) {
    const std::int64_t start = o * axis.stride - axis.pad_begin;
    const std::int64_t first = ceil_div(-start, axis.dilation);  // the first tap at or after pixel 0
    if (first >= axis.kernel || start + first * axis.dilation >= axis.in)
      refuse(op + ": every window must cover a pixel along " + axis.name + ", got window " + std::to_string(o) +
             " from " + std::to_string(start) + " with kernel " + std::to_string(axis.kernel) + " and dilation " +
             std::to_string(axis.dilation) + " over " + std::to_string(axis.in) + " pixels");
  }
}

void resolve(const std::string& op, Axis& axis, bool ceil_mode) {
  resolve_axis(op, axis, PaddingMode::explicit_, ceil_mode);
  check_padding(op, axis);
  check_windows(op, axis);
}

}  // namespace

Pool2dShape make_pool2d_shape(const std::string& op, const Shape4& input, const Pool2dOptions& options) {
  check_data_shape(op, "input", input);
  Axis h{
      "height",           input[2], options.kernel_size[0], options.stride[0], options.dilation[0], options.padding[0],
      options.padding[1], 0};
  Axis w{"width",
         input[3],
         options.kernel_size[1],
         options.stride[1],
         options.dilation[1],
         options.padding[2],
         options.padding[3],
         0};
  resolve(op, h, options.ceil_mode);
  resolve(op, w, options.ceil_mode);
  checked_mul(h.kernel, w.kernel, op + ": kernel size");  // what an average divides by

  Pool2dShape s{};
  s.n = input[0], s.c = input[1], s.ih = input[2], s.iw = input[3];
  s.oh = h.out, s.ow = w.out;
  s.kh = h.kernel, s.kw = w.kernel;
  s.stride_h = h.stride, s.stride_w = w.stride;
  s.pad_top = h.pad_begin, s.pad_bottom = h.pad_end, s.pad_left = w.pad_begin, s.pad_right = w.pad_end;
  s.dilation_h = h.dilation, s.dilation_w = w.dilation;
  s.ceil_mode = options.ceil_mode;
  check_data_shape(op, "output", s.output_shape());
  return s;
}

void check_pool2d_indices(const std::string& op, const Pool2dShape& shape) {
  if (shape.ih > std::numeric_limits<std::int32_t>::max() / shape.iw)
    refuse(op + ": indices must fit 32 bits: the input must have fewer than 2147483648 pixels, got H*W = " +
           std::to_string(shape.ih) + " * " + std::to_string(shape.iw));
}

}  // namespace fastconv
