// The gradients of depthwise convolution, and which kind of kernel a convolution takes.
#include "cuda/bindings/buffers.h"
#include "cuda/conv2d_kind.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/elementwise.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }

void check_depthwise(const char* op, const Conv2dShape& shape) {
  if (conv2d_kind(shape) != Conv2dKind::depthwise)
    throw std::invalid_argument(std::string(op) +
                                ": groups must be the input channels, and more than one, got groups " +
                                std::to_string(shape.groups) + " and " + std::to_string(shape.ic) + " channels");
}

void backward_input(const Conv2dShape& shape, Address weight, Address grad_output, Address mask, Address grad_input,
                    Address stream) {
  const char* op = "conv2d_backward_input";
  check_depthwise(op, shape);
  const Buffer w = buffer<float>(op, "weight", weight, count(shape.weight_shape()));
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count(shape.output_shape()));
  const std::int64_t inputs = count(shape.input_shape());
  const Buffer bits = buffer<std::uint32_t>(op, "mask", mask, mask ? mask_words(inputs) : 0);
  const Buffer gx = buffer<float>(op, "grad_input", grad_input, inputs);
  for (const Buffer& read : {w, gy, bits}) check_no_overlap(op, gx, read);
  const py::gil_scoped_release release;
  depthwise_conv2d_backward_input(shape, pointer<float>(w), pointer<float>(gy), pointer<std::uint32_t>(bits),
                                  pointer<float>(gx), as_stream(stream));
}

void backward_weight(const Conv2dShape& shape, Address input, Address grad_output, Address grad_weight,
                     Address workspace, Address stream) {
  const char* op = "conv2d_backward_weight";
  check_depthwise(op, shape);
  const Buffer x = buffer<float>(op, "input", input, count(shape.input_shape()));
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count(shape.output_shape()));
  const Buffer gw = buffer<float>(op, "grad_weight", grad_weight, count(shape.weight_shape()));
  const Buffer scratch =
      buffer<float>(op, "workspace", workspace, depthwise_conv2d_backward_weight_workspace(shape) / 4);
  for (const Buffer& read : {x, gy}) check_no_overlap(op, gw, read), check_no_overlap(op, scratch, read);
  check_no_overlap(op, scratch, gw);
  const py::gil_scoped_release release;
  depthwise_conv2d_backward_weight(shape, pointer<float>(x), pointer<float>(gy), pointer<float>(gw),
                                   pointer<void>(scratch), as_stream(stream));
}

}  // namespace

void bind_depthwise_conv2d(py::module_& m) {
  m.def("explain_conv2d_kind", &explain_conv2d_kind, py::arg("shape"));
  m.def("depthwise_conv2d_backward_input", &backward_input, py::arg("shape"), py::arg("weight"), py::arg("grad_output"),
        py::arg("mask"), py::arg("grad_input"), py::kw_only(), py::arg("stream"));
  m.def("depthwise_conv2d_backward_weight_workspace", &depthwise_conv2d_backward_weight_workspace, py::arg("shape"));
  m.def("depthwise_conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"),
        py::arg("grad_output"), py::arg("grad_weight"), py::arg("workspace"), py::kw_only(), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
