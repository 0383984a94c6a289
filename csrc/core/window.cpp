#include "core/window.h"

#include <stdexcept>

#include "core/checked_math.h"

namespace fastconv {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

void check_at_least(const std::string& op, const char* argument, const Axis& axis, std::int64_t value,
                    std::int64_t least) {
  if (value < least)
    refuse(op + ": " + argument + " must be at least " + std::to_string(least) + " along " + axis.name + ", got " +
           std::to_string(value));
}

}  // namespace

std::string to_string(const Shape4& s) {
  return "(" + std::to_string(s[0]) + ", " + std::to_string(s[1]) + ", " + std::to_string(s[2]) + ", " +
         std::to_string(s[3]) + ")";
}

PaddingMode parse_padding_mode(const std::string& op, const std::string& text) {
  if (text == "valid") return PaddingMode::valid;
  if (text == "same") return PaddingMode::same;
  if (text == "same_lower") return PaddingMode::same_lower;
  refuse(op +
         ": padding must be an int, (h, w), ((top, bottom), (left, right)), 'valid', 'same' or 'same_lower', got '" +
         text + "'");
}

void resolve_axis(const std::string& op, Axis& axis, PaddingMode mode, bool ceil_mode) {
  check_at_least(op, "kernel size", axis, axis.kernel, 1);
  check_at_least(op, "stride", axis, axis.stride, 1);
  check_at_least(op, "dilation", axis, axis.dilation, 1);
  const std::string what = op + ": " + axis.name;
  const std::int64_t extent = checked_add(checked_mul(axis.kernel - 1, axis.dilation, what), 1, what);

  if (mode == PaddingMode::valid) axis.pad_begin = axis.pad_end = 0;
  if (mode == PaddingMode::same || mode == PaddingMode::same_lower) {
    const std::int64_t out = (axis.in - 1) / axis.stride + 1;
    const std::int64_t last = checked_add(checked_mul(out - 1, axis.stride, what), extent, what);
    const std::int64_t total = last > axis.in ? last - axis.in : 0;
    axis.pad_begin = mode == PaddingMode::same ? total / 2 : total - total / 2;
    axis.pad_end = total - axis.pad_begin;
  }
  if (axis.pad_begin < 0 || axis.pad_end < 0)
    refuse(op + ": padding must be >= 0 along " + axis.name + " (slice the input to crop it), got (" +
           std::to_string(axis.pad_begin) + ", " + std::to_string(axis.pad_end) + ")");

  const std::int64_t padded = checked_add(checked_add(axis.in, axis.pad_begin, what), axis.pad_end, what);
  if (padded < extent)
    refuse(op + ": kernel must fit the padded input along " + axis.name + ": " + "(kernel - 1) * dilation + 1 = (" +
           std::to_string(axis.kernel) + " - 1) * " + std::to_string(axis.dilation) +
           " + 1 = " + std::to_string(extent) + " must be <= input + padding = " + std::to_string(axis.in) + " + " +
           std::to_string(axis.pad_begin) + " + " + std::to_string(axis.pad_end) + " = " + std::to_string(padded));
  const std::int64_t room = padded - extent;
  axis.out = room / axis.stride + 1;
  if (ceil_mode && room % axis.stride != 0) {
    // One more window, unless it would begin in the end padding.
    const std::int64_t start = checked_mul(axis.out, axis.stride, what);
    if (start < axis.in + axis.pad_begin) axis.out += 1;
  }
}

void check_data_shape(const std::string& op, const char* argument, const Shape4& shape) {
  static const char* const kLetters[4] = {"N", "C", "H", "W"};
  for (int i = 0; i < 4; ++i) {
    const std::int64_t least = i == 0 ? 0 : 1;
    if (shape[static_cast<std::size_t>(i)] < least)
      refuse(op + ": " + argument + " must have " + kLetters[i] + " >= " + std::to_string(least) + ", got shape " +
             to_string(shape) + " (N, C, H, W)");
  }
  const std::string what = op + ": " + argument + " of shape " + to_string(shape);
  std::int64_t bytes = 8;
  for (int i = 3; i >= 0; --i) {
    const std::int64_t size = shape[static_cast<std::size_t>(i)];
    bytes = checked_mul(bytes, size == 0 ? 1 : size, what);
  }
}

}  // namespace fastconv
