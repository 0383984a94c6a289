// Activations by name, on arrays of any shape, and softmax; the output may be the very array that goes in.
#include <pybind11/stl.h>

#include "bindings/array.h"
#include "cpu/activation.h"
#include "cpu/softmax.h"

namespace fastconv {
namespace bindings {

namespace {

struct Curve {
  Pointwise function;
  double a, b;
};

// The two parameters mean what activation_kernels.h says; of SiLU and GELU they are fixed here.
Curve parse_curve(const char* op, const std::string& name, double a, double b) {
  constexpr double kTwoRootTwoOverPi = 1.5957691216057308;
  if (name == "leaky_relu") return {Pointwise::leaky_relu, a, 0};
  if (name == "elu") return {Pointwise::elu, a, 0};
  if (name == "sigmoid") return {Pointwise::sigmoid, 0, 0};
  if (name == "tanh") return {Pointwise::tanh, 0, 0};
  if (name == "silu") return {Pointwise::swish, 1, 0};
  if (name == "gelu") return {Pointwise::gelu, 0, 0};
  if (name == "gelu_tanh") return {Pointwise::swish, kTwoRootTwoOverPi, 0.044715 * kTwoRootTwoOverPi};
  if (name == "softplus") return {Pointwise::softplus, a, b};
  throw std::invalid_argument(std::string(op) +
                              ": function must be one of 'leaky_relu', 'elu', 'sigmoid', 'tanh', 'silu', 'gelu', "
                              "'gelu_tanh', 'softplus', got '" +
                              name + "'");
}

void forward(const std::string& function, const py::array& input, py::array output, double a, double b) {
  const char* op = "activation_forward";
  const Curve curve = parse_curve(op, function, a, b);
  const DType dtype = dtype_of(op, "input", input);
  const auto shape = shape_of(input);
  check_array(op, "input", input, dtype, shape);
  check_output(op, "output", output, dtype, shape);
  check_no_overlap(op, "output", output, "input", input, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    activation_forward(curve.function, static_cast<T>(curve.a), static_cast<T>(curve.b), data<T>(input), input.size(),
                       mutable_data<T>(output));
  });
}

void backward(const std::string& function, const py::array& grad_output, const py::array& saved, py::array grad_input,
              double a, double b) {
  const char* op = "activation_backward";
  const Curve curve = parse_curve(op, function, a, b);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto shape = shape_of(grad_output);
  check_array(op, "grad_output", grad_output, dtype, shape);
  check_array(op, "saved", saved, dtype, shape);
  check_output(op, "grad_input", grad_input, dtype, shape);
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output, true);
  check_no_overlap(op, "grad_input", grad_input, "saved", saved, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    activation_backward(curve.function, static_cast<T>(curve.a), static_cast<T>(curve.b), data<T>(grad_output),
                        data<T>(saved), grad_output.size(), mutable_data<T>(grad_input));
  });
}

// (outer, C), or (outer, C, inner), with at least one class.
std::vector<std::int64_t> check_classes(const char* op, const char* argument, const py::array& array, DType dtype) {
  std::vector<std::int64_t> shape = shape_of(array);
  if ((shape.size() != 2 && shape.size() != 3) || shape[1] < 1)
    throw std::invalid_argument(std::string(op) + ": " + argument +
                                " must have shape (N, C) or (N, C, inner) with C >= 1, got " +
                                std::string(py::str(array.attr("shape"))));
  check_array(op, argument, array, dtype, shape);
  return shape;
}

void softmax(const py::array& input, py::array output) {
  const char* op = "softmax_forward";
  const DType dtype = dtype_of(op, "input", input);
  const auto shape = check_classes(op, "input", input, dtype);
  check_output(op, "output", output, dtype, shape);
  check_no_overlap(op, "output", output, "input", input, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    softmax_forward(data<T>(input), shape[0], shape[1], shape.size() == 3 ? shape[2] : 1, mutable_data<T>(output));
  });
}

void softmax_gradient(const py::array& grad_output, const py::array& output, py::array grad_input) {
  const char* op = "softmax_backward";
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto shape = check_classes(op, "grad_output", grad_output, dtype);
  check_array(op, "output", output, dtype, shape);
  check_output(op, "grad_input", grad_input, dtype, shape);
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output, true);
  check_no_overlap(op, "grad_input", grad_input, "output", output, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    softmax_backward(data<T>(grad_output), data<T>(output), shape[0], shape[1], shape.size() == 3 ? shape[2] : 1,
                     mutable_data<T>(grad_input));
  });
}

}  // namespace

void bind_activation(py::module_& m) {
  m.def("activation_forward", &forward, py::arg("function"), py::arg("input"), py::arg("output"), py::kw_only(),
        py::arg("a") = 0.0, py::arg("b") = 0.0);
  m.def("activation_backward", &backward, py::arg("function"), py::arg("grad_output"), py::arg("saved"),
        py::arg("grad_input"), py::kw_only(), py::arg("a") = 0.0, py::arg("b") = 0.0);
  m.def("softmax_forward", &softmax, py::arg("input"), py::arg("output"));
  m.def("softmax_backward", &softmax_gradient, py::arg("grad_output"), py::arg("output"), py::arg("grad_input"));
}

}  // namespace bindings
}  // namespace fastconv
