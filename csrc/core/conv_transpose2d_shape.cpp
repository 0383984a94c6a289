#include "core/conv_transpose2d_shape.h"

#include <algorithm>
#include <stdexcept>

#include "core/checked_math.h"

namespace fastconv {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

// "7, 8 or 9"; of many sizes the first and the last.
std::string sizes_text(std::int64_t least, std::int64_t most) {
  if (most - least > 7) return std::to_string(least) + " to " + std::to_string(most);
  std::string text;
  for (std::int64_t size = least; size <= most; ++size)
    text += (size == least ? "" : size == most ? " or " : ", ") + std::to_string(size);
  return text;
}

std::int64_t output_size(const std::string& op, std::size_t axis, std::int64_t in, std::int64_t kernel,
                         const ConvTranspose2dOptions& options) {
  const std::string name = axis == 0 ? "height" : "width", what = op + ": " + name;
  const std::int64_t stride = options.conv.stride[axis], dilation = options.conv.dilation[axis];
  const std::int64_t begin = options.conv.padding[2 * axis], end = options.conv.padding[2 * axis + 1];
  const std::int64_t extra = options.output_padding[axis];
  for (const auto& [argument, value] : {std::pair{"stride", stride}, std::pair{"dilation", dilation}})
    if (value < 1)
      refuse(op + ": " + argument + " must be at least 1 along " + name + ", got " + std::to_string(value));
  if (begin < 0 || end < 0)
    refuse(op + ": padding must be >= 0 along " + name + ", got (" + std::to_string(begin) + ", " +
           std::to_string(end) + ")");
  if (extra < 0 || extra >= stride)
    refuse(op + ": output_padding must be at least 0 and less than the stride along " + name + ", that is " +
           std::to_string(stride) + ", got " + std::to_string(extra));
  const bool same =
      options.conv.padding_mode == PaddingMode::same || options.conv.padding_mode == PaddingMode::same_lower;
  const std::int64_t steps = checked_mul(in - 1, stride, what);
  const std::int64_t extent = checked_add(checked_mul(kernel - 1, dilation, what), 1, what);
  std::int64_t least = checked_add(steps, 1, what);
  std::string formula =
      "(input - 1) * stride + 1 = (" + std::to_string(in) + " - 1) * " + std::to_string(stride) + " + 1";
  if (!same) {
    const bool padded = options.conv.padding_mode == PaddingMode::explicit_;
    const std::int64_t padding = padded ? checked_add(begin, end, what) : 0;
    least = checked_add(steps, extent, what) - padding;
    formula = "(input - 1) * stride + (kernel - 1) * dilation + 1 - padding = (" + std::to_string(in) + " - 1) * " +
              std::to_string(stride) + " + (" + std::to_string(kernel) + " - 1) * " + std::to_string(dilation) +
              " + 1 - " + std::to_string(padding);
  }
  const std::int64_t most = checked_add(least, stride - 1, what);
  if (most < 1)
    refuse(op + ": output must have a positive " + name + ", got " + formula + " = " + std::to_string(least));
  std::int64_t size = same ? most : least + extra;
  if (options.output_size) size = (*options.output_size)[axis];
  const std::int64_t reachable = std::max<std::int64_t>(least, 1);
  if (size < reachable || size > most)
    refuse(op + ": " + (options.output_size ? "output_size" : "output") + " must be " + sizes_text(reachable, most) +
           " along " + name + ", from " + formula + ", got " + std::to_string(size));
  return size;
}

}  // namespace

Conv2dShape make_conv_transpose2d_shape(const std::string& op, const Shape4& input, const Shape4& weight,
                                        const ConvTranspose2dOptions& options) {
  check_data_shape(op, "input", input);
  for (const std::int64_t size : weight)
    if (size < 1) refuse(op + ": weight must have every size of (C, OC/groups, KH, KW) >= 1, got " + to_string(weight));
  const std::int64_t groups = options.conv.groups;
  if (groups < 1) refuse(op + ": groups must be >= 1, got " + std::to_string(groups));
  if (input[1] % groups != 0)
    refuse(op + ": groups must divide the input channels, got C=" + std::to_string(input[1]) +
           ", groups=" + std::to_string(groups));
  if (weight[0] != input[1])
    refuse(op + ": weight must have shape (C, OC/groups, KH, KW) with C=" + std::to_string(input[1]) + ", got " +
           to_string(weight) +
           (weight[1] == input[1] ? "; this looks like (OC, C, KH, KW): transpose it with weight.transpose(1, 0, 2, 3)"
                                  : ""));
  const bool adds = options.output_padding[0] != 0 || options.output_padding[1] != 0;
  const bool same =
      options.conv.padding_mode == PaddingMode::same || options.conv.padding_mode == PaddingMode::same_lower;
  if (adds && (options.output_size || same))
    refuse(op + ": output_padding must be 0 where " + (same ? "padding is 'same'" : "output_size is given") +
           ", got (" + std::to_string(options.output_padding[0]) + ", " + std::to_string(options.output_padding[1]) +
           ")");
  const Shape4 output{input[0], checked_mul(weight[1], groups, op + ": output channels"),
                      output_size(op, 0, input[2], weight[2], options),
                      output_size(op, 1, input[3], weight[3], options)};
  check_data_shape(op, "output", output);
  return make_conv2d_shape(op, output, weight, options.conv);
}

}  // namespace fastconv
