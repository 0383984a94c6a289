// ReLU and addition: arrays of any shape; the output may be the very array that goes in.
#include <pybind11/stl.h>

#include "bindings/array.h"
#include "cpu/elementwise.h"

namespace fastconv {
namespace bindings {

namespace {

void relu(const py::array& input, py::array output) {
  const char* op = "relu_forward";
  const DType dtype = dtype_of(op, "input", input);
  const auto shape = shape_of(input);
  check_array(op, "input", input, dtype, shape);
  check_output(op, "output", output, dtype, shape);
  check_no_overlap(op, "output", output, "input", input, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    relu_forward(data<T>(input), input.size(), mutable_data<T>(output));
  });
}

void relu_gradient(const py::array& grad_output, const py::array& output, py::array grad_input) {
  const char* op = "relu_backward";
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto shape = shape_of(grad_output);
  check_array(op, "grad_output", grad_output, dtype, shape);
  check_array(op, "output", output, dtype, shape);
  check_output(op, "grad_input", grad_input, dtype, shape);
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output, true);
  check_no_overlap(op, "grad_input", grad_input, "output", output, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    relu_backward(data<T>(grad_output), data<T>(output), grad_output.size(), mutable_data<T>(grad_input));
  });
}

void add_arrays(const py::array& a, const py::array& b, py::array output) {
  const char* op = "add";
  const DType dtype = dtype_of(op, "a", a);
  const auto shape = shape_of(a);
  check_array(op, "a", a, dtype, shape);
  check_array(op, "b", b, dtype, shape);
  check_output(op, "output", output, dtype, shape);
  check_no_overlap(op, "output", output, "a", a, true);
  check_no_overlap(op, "output", output, "b", b, true);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    add(data<T>(a), data<T>(b), a.size(), mutable_data<T>(output));
  });
}

void copy_array(const py::array& input, py::array output, bool stream) {
  const char* op = "copy";
  const DType dtype = dtype_of(op, "input", input);
  const auto shape = shape_of(input);
  check_array(op, "input", input, dtype, shape);
  check_output(op, "output", output, dtype, shape);
  check_no_overlap(op, "output", output, "input", input);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    copy(data<T>(input), input.size(), mutable_data<T>(output), stream);
  });
}

}  // namespace

void bind_elementwise(py::module_& m) {
  m.def("relu_forward", &relu, py::arg("input"), py::arg("output"));
  m.def("relu_backward", &relu_gradient, py::arg("grad_output"), py::arg("output"), py::arg("grad_input"));
  m.def("add", &add_arrays, py::arg("a"), py::arg("b"), py::arg("output"));
  m.def("copy", &copy_array, py::arg("input"), py::arg("output"), py::kw_only(), py::arg("stream") = false);
}

}  // namespace bindings
}  // namespace fastconv
