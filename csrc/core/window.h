// One spatial axis of a sliding window (convolution or pooling): the only place that computes an output size.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace fastconv {

using Shape4 = std::array<std::int64_t, 4>;  // (N, C, H, W) for data, (OC, IC/groups, KH, KW) for weights

std::string to_string(const Shape4& shape);

// Padding as the user gives it; `same` puts the odd pixel at the end (ONNX SAME_UPPER), `same_lower` at the start.
enum class PaddingMode { explicit_, valid, same, same_lower };

PaddingMode parse_padding_mode(const std::string& op, const std::string& text);

struct Axis {
  const char* name;  // "height" or "width", for messages
  std::int64_t in, kernel, stride, dilation;
  std::int64_t pad_begin, pad_end;
  std::int64_t out;
};

// Checks kernel, stride, dilation and padding, resolves `same`, and sets `out`:
//   out = floor((in + pad_begin + pad_end - extent) / stride) + 1,  extent = (kernel - 1) * dilation + 1
// ceil_mode rounds up instead, without windows that would start in the end padding (PyTorch's rule).
void resolve_axis(const std::string& op, Axis& axis, PaddingMode mode, bool ceil_mode);

// Throws unless the data shape is positive everywhere but N (N = 0 is legal) and its bytes can be addressed.
void check_data_shape(const std::string& op, const char* argument, const Shape4& shape);

}  // namespace fastconv
