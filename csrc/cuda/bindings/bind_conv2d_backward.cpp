// Gradients of convolution: activations (N, H, W, C), weights (O, KH, KW, C/groups), all of one element type.
#include "core/checked_math.h"
#include "cuda/bindings/buffers.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_backward_mma.h"

namespace fastconv {
namespace cuda {

namespace {

Buffer of_type(ElementType type, const char* op, const char* name, Address at, std::int64_t count) {
  return type == ElementType::kFloat32 ? buffer<float>(op, name, at, count)
                                       : buffer<std::uint16_t>(op, name, at, count);
}

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }

// A bit for each of so many elements, or nothing.
Buffer mask_buffer(const char* op, Address mask, std::int64_t elements) {
  return buffer<std::uint32_t>(op, "mask", mask, mask ? ceil_div(elements, 32) : 0);
}

// A workspace of at least so many bytes.
Buffer workspace_buffer(const char* op, Address workspace, std::int64_t bytes, std::int64_t needed) {
  if (bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(bytes));
  return buffer<float>(op, "workspace", workspace, ceil_div(needed, static_cast<std::int64_t>(sizeof(float))));
}

void backward_input(const Conv2dShape& shape, Address weight, Address grad_output, Address mask, Address grad_input,
                    const std::string& dtype, const std::string& precision, Address stream) {
  const char* op = "conv2d_backward_input";
  const ElementType type = parse_element_type(op, dtype);
  const Precision how = parse_precision(op, type, precision);
  const Buffer w = of_type(type, op, "weight", weight, count(shape.weight_shape()));
  const Buffer gy = of_type(type, op, "grad_output", grad_output, count(shape.output_shape()));
  const Buffer gx = of_type(type, op, "out", grad_input, count(shape.input_shape()));
  const Buffer bits = mask_buffer(op, mask, count(shape.input_shape()));
  for (const Buffer& read : {w, gy, bits}) check_no_overlap(op, gx, read);
  const py::gil_scoped_release release;
  conv2d_backward_input_mma(shape, type, how, pointer<void>(w), pointer<void>(gy), pointer<std::uint32_t>(bits),
                            pointer<void>(gx), as_stream(stream));
}

std::string input_choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool aligned,
                         int compute_capability) {
  const char* op = "conv2d_backward_input";
  const ElementType type = parse_element_type(op, dtype);
  return choose_conv2d_backward_input(shape, type, parse_precision(op, type, precision), aligned, compute_capability)
      .name();
}

std::int64_t weight_workspace_bytes(const Conv2dShape& shape, const std::string& dtype, const std::string& precision) {
  const char* op = "conv2d_backward_weight";
  const ElementType type = parse_element_type(op, dtype);
  return conv2d_backward_weight_mma_workspace_bytes(shape, type, parse_precision(op, type, precision));
}

void backward_weight(const Conv2dShape& shape, Address input, Address grad_output, Address grad_weight,
                     Address workspace, std::int64_t workspace_bytes, const std::string& dtype,
                     const std::string& precision, bool wide, bool accumulate, Address stream) {
  const char* op = "conv2d_backward_weight";
  const ElementType type = parse_element_type(op, dtype), result = wide ? ElementType::kFloat32 : type;
  const Precision how = parse_precision(op, type, precision);
  const Buffer x = of_type(type, op, "input", input, count(shape.input_shape()));
  const Buffer gy = of_type(type, op, "grad_output", grad_output, count(shape.output_shape()));
  const Buffer gw = of_type(result, op, "out", grad_weight, count(shape.weight_shape()));
  const Buffer work =
      workspace_buffer(op, workspace, workspace_bytes, conv2d_backward_weight_mma_workspace_bytes(shape, type, how));
  for (const Buffer& read : {x, gy}) check_no_overlap(op, gw, read), check_no_overlap(op, work, read);
  check_no_overlap(op, work, gw);
  const py::gil_scoped_release release;
  conv2d_backward_weight_mma(shape, type, how, pointer<void>(x), pointer<void>(gy), pointer<void>(gw), wide,
                             pointer<void>(work), accumulate, as_stream(stream));
}

std::string weight_choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision,
                          bool aligned, int compute_capability) {
  const char* op = "conv2d_backward_weight";
  const ElementType type = parse_element_type(op, dtype);
  return choose_conv2d_backward_weight(shape, type, parse_precision(op, type, precision), aligned, compute_capability)
      .name();
}

std::int64_t bias_workspace_bytes(std::int64_t pixels, std::int64_t channels, const std::string& dtype) {
  const ElementType type = parse_element_type("conv2d_backward_bias", dtype);
  return conv2d_backward_bias_workspace_bytes(pixels, channels, bytes_of(type));
}

void backward_bias(std::int64_t pixels, std::int64_t channels, Address grad_output, Address mask, Address masked,
                   Address grad_bias, Address workspace, std::int64_t workspace_bytes, const std::string& dtype,
                   bool wide, bool accumulate, Address stream) {
  const char* op = "conv2d_backward_bias";
  if (pixels < 0 || channels < 1)
    throw std::invalid_argument(std::string(op) + ": pixels must be >= 0 and channels >= 1, got " +
                                std::to_string(pixels) + " and " + std::to_string(channels));
  if (masked && !mask) throw std::invalid_argument(std::string(op) + ": masked needs a mask, got none");
  const ElementType type = parse_element_type(op, dtype), result = wide ? ElementType::kFloat32 : type;
  const std::int64_t elements = checked_mul(pixels, channels, op);
  const Buffer gy = of_type(type, op, "grad_output", grad_output, elements);
  const Buffer bits = mask_buffer(op, mask, elements);
  const Buffer gz = of_type(type, op, "masked", masked, masked ? elements : 0);
  const Buffer gb = of_type(result, op, "out", grad_bias, channels);
  const Buffer work = workspace_buffer(op, workspace, workspace_bytes,
                                       conv2d_backward_bias_workspace_bytes(pixels, channels, bytes_of(type)));
  if (gz.address != gy.address) check_no_overlap(op, gz, gy);
  for (const Buffer& read : {gy, bits}) check_no_overlap(op, gb, read), check_no_overlap(op, work, read);
  check_no_overlap(op, gz, bits), check_no_overlap(op, gb, gz);
  check_no_overlap(op, work, gz), check_no_overlap(op, work, gb);
  const py::gil_scoped_release release;
  const auto run = [&](auto element) {
    using T = decltype(element);
    conv2d_backward_bias(pointer<const T>(gy), pixels, channels, pointer<std::uint32_t>(bits), pointer<T>(gz),
                         pointer<void>(gb), wide, pointer<void>(work), accumulate, as_stream(stream));
  };
  if (type == ElementType::kFloat32)
    run(float{});
  else if (type == ElementType::kFloat16)
    run(Float16{});
  else
    run(BFloat16{});
}

}  // namespace

void bind_conv2d_backward(py::module_& m) {
  m.def("conv2d_backward_input", &backward_input, py::arg("shape"), py::arg("weight"), py::arg("grad_output"),
        py::arg("mask"), py::arg("grad_input"), py::kw_only(), py::arg("dtype") = "float32", py::arg("precision") = "",
        py::arg("stream"));
  m.def("conv2d_backward_input_choice", &input_choice, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("aligned"), py::arg("compute_capability"));
  m.def("conv2d_backward_weight_workspace_bytes", &weight_workspace_bytes, py::arg("shape"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "");
  m.def("conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"), py::arg("grad_output"),
        py::arg("grad_weight"), py::arg("workspace"), py::arg("workspace_bytes"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "", py::arg("wide") = false, py::arg("accumulate"),
        py::arg("stream"));
  m.def("conv2d_backward_weight_choice", &weight_choice, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("aligned"), py::arg("compute_capability"));
  m.def("conv2d_backward_bias_workspace_bytes", &bias_workspace_bytes, py::arg("pixels"), py::arg("channels"),
        py::kw_only(), py::arg("dtype") = "float32");
  m.def("conv2d_backward_bias", &backward_bias, py::arg("pixels"), py::arg("channels"), py::arg("grad_output"),
        py::arg("mask"), py::arg("masked"), py::arg("grad_bias"), py::arg("workspace"), py::arg("workspace_bytes"),
        py::kw_only(), py::arg("dtype") = "float32", py::arg("wide") = false, py::arg("accumulate"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
