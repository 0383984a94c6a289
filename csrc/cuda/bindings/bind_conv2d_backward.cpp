// Gradients of convolution: activations (N, H, W, C), weights (O, KH, KW, C/groups), all of one element type.
#include "core/checked_math.h"
#include "cuda/bindings/buffers.h"
#include "cuda/conv2d_backward_mma.h"

namespace fastconv {
namespace cuda {

namespace {

Buffer of_type(ElementType type, const char* op, const char* name, Address at, const Shape4& s) {
  const std::int64_t count = s[0] * s[1] * s[2] * s[3];
  return type == ElementType::kFloat32 ? buffer<float>(op, name, at, count)
                                       : buffer<std::uint16_t>(op, name, at, count);
}

// A bit for each of so many elements, or nothing.
Buffer mask_buffer(const char* op, Address mask, std::int64_t elements) {
  return buffer<std::uint32_t>(op, "mask", mask, mask ? ceil_div(elements, 32) : 0);
}

void backward_input(const Conv2dShape& shape, Address weight, Address grad_output, Address mask, Address grad_input,
                    const std::string& dtype, const std::string& precision, Address stream) {
  const char* op = "conv2d_backward_input";
  const ElementType type = parse_element_type(op, dtype);
  const Precision how = parse_precision(op, type, precision);
  const Buffer w = of_type(type, op, "weight", weight, shape.weight_shape());
  const Buffer gy = of_type(type, op, "grad_output", grad_output, shape.output_shape());
  const Buffer gx = of_type(type, op, "out", grad_input, shape.input_shape());
  const Buffer bits = mask_buffer(op, mask, shape.n * shape.ih * shape.iw * shape.ic);
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

}  // namespace

void bind_conv2d_backward(py::module_& m) {
  m.def("conv2d_backward_input", &backward_input, py::arg("shape"), py::arg("weight"), py::arg("grad_output"),
        py::arg("mask"), py::arg("grad_input"), py::kw_only(), py::arg("dtype") = "float32",
        py::arg("precision") = "", py::arg("stream"));
  m.def("conv2d_backward_input_choice", &input_choice, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("aligned"), py::arg("compute_capability"));
}

}  // namespace cuda
}  // namespace fastconv
