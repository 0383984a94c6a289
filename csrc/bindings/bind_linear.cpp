// The dense layer, run by the convolution drivers as a 1x1 convolution over a row of samples.
#include "bindings/array.h"
#include "bindings/packed_weight.h"
#include "cpu/conv2d.h"
#include "cpu/linear.h"

namespace fastconv {
namespace bindings {

namespace {

// (rows, features) of a 2-D array.
std::array<std::int64_t, 2> matrix(const char* op, const char* argument, const py::array& array) {
  if (array.ndim() != 2)
    throw std::invalid_argument(std::string(op) + ": " + argument + " must have 2 dimensions, got " +
                                std::to_string(array.ndim()));
  if (array.shape(1) < 1)
    throw std::invalid_argument(std::string(op) + ": " + argument + " must have at least one feature, got 0");
  return {static_cast<std::int64_t>(array.shape(0)), static_cast<std::int64_t>(array.shape(1))};
}

void forward(const py::array& input, const py::array& weight, const OptionalArray& bias, py::array& output,
             const std::string& activation_name, const OptionalArray& packed_weight) {
  const char* op = "linear";
  const Activation activation = parse_activation(op, activation_name);
  const DType dtype = dtype_of(op, "input", input);
  const auto [rows, in_features] = matrix(op, "input", input);
  const std::int64_t out_features = matrix(op, "weight", weight)[0];
  if (out_features < 1) throw std::invalid_argument(std::string(op) + ": weight must have at least one row, got 0");
  const Conv2dShape shape = linear_shape(rows, in_features, out_features);
  check_array(op, "input", input, dtype, {rows, in_features});
  check_array(op, "weight", weight, dtype, {out_features, in_features});
  if (bias) check_array(op, "bias", *bias, dtype, {out_features});
  check_output(op, "output", output, dtype, {rows, out_features});
  check_no_overlap(op, "output", output, "input", input);
  check_no_overlap(op, "output", output, "weight", weight);
  if (bias) check_no_overlap(op, "output", output, "bias", *bias);
  const void *in = input.data(), *w = weight.data(), *b = bias ? bias->data() : nullptr;
  void* out = output.mutable_data();
  const void* packed = check_packed(op, packed_weight, shape, Pass::forward, Algorithm::automatic, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_forward(shape, static_cast<const T*>(in), static_cast<const T*>(w), static_cast<const T*>(b),
                   static_cast<T*>(out), Layout::nhwc, activation, false, Algorithm::automatic,
                   static_cast<const T*>(packed));
  });
}

void backward_input(const py::array& weight, const py::array& grad_output, py::array& grad_input,
                    const OptionalArray& packed_weight) {
  const char* op = "linear_backward_input";
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto [out_features, in_features] = matrix(op, "weight", weight);
  const std::int64_t rows = matrix(op, "grad_output", grad_output)[0];
  const Conv2dShape shape = linear_shape(rows, in_features, out_features);
  check_array(op, "weight", weight, dtype, {out_features, in_features});
  check_array(op, "grad_output", grad_output, dtype, {rows, out_features});
  check_output(op, "grad_input", grad_input, dtype, {rows, in_features});
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output);
  check_no_overlap(op, "grad_input", grad_input, "weight", weight);
  const void *w = weight.data(), *g = grad_output.data();
  void* out = grad_input.mutable_data();
  const void* packed = check_packed(op, packed_weight, shape, Pass::backward_input, Algorithm::automatic, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_input<T>(shape, static_cast<const T*>(w), static_cast<const T*>(g), nullptr, static_cast<T*>(out),
                             Layout::nhwc, Activation::none, Algorithm::automatic, static_cast<const T*>(packed));
  });
}

void backward_weight(const py::array& input, const py::array& grad_output, py::array& grad_weight, bool accumulate) {
  const char* op = "linear_backward_weight";
  const DType dtype = dtype_of(op, "input", input);
  const auto [rows, in_features] = matrix(op, "input", input);
  const std::int64_t out_features = matrix(op, "grad_output", grad_output)[1];
  const Conv2dShape shape = linear_shape(rows, in_features, out_features);
  check_array(op, "input", input, dtype, {rows, in_features});
  check_array(op, "grad_output", grad_output, dtype, {rows, out_features});
  check_output(op, "grad_weight", grad_weight, dtype, {out_features, in_features});
  check_no_overlap(op, "grad_weight", grad_weight, "input", input);
  check_no_overlap(op, "grad_weight", grad_weight, "grad_output", grad_output);
  const void *in = input.data(), *g = grad_output.data();
  void* out = grad_weight.mutable_data();
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_weight(shape, static_cast<const T*>(in), static_cast<const T*>(g), static_cast<T*>(out),
                           Layout::nhwc, Algorithm::automatic, accumulate);
  });
}

void backward_bias(const py::array& grad_output, py::array& grad_bias, bool accumulate) {
  const char* op = "linear_backward_bias";
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto [rows, features] = matrix(op, "grad_output", grad_output);
  check_array(op, "grad_output", grad_output, dtype, {rows, features});
  check_output(op, "grad_bias", grad_bias, dtype, {features});
  check_no_overlap(op, "grad_bias", grad_bias, "grad_output", grad_output);
  const Shape4 shape{rows, features, 1, 1};
  const void* g = grad_output.data();
  void* out = grad_bias.mutable_data();
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_bias(shape, static_cast<const T*>(g), static_cast<T*>(out), Layout::nhwc, accumulate);
  });
}

py::array pack(const py::array& weight, const std::string& pass_name) {
  const char* op = "linear_pack_weight";
  const Pass pass = parse_pass(op, pass_name);
  if (pass == Pass::backward_weight)
    throw std::invalid_argument(std::string(op) +
                                ": pass must be 'forward' or 'backward_input', got 'backward_weight'");
  const DType dtype = dtype_of(op, "weight", weight);
  const auto [out_features, in_features] = matrix(op, "weight", weight);
  check_array(op, "weight", weight, dtype, {out_features, in_features});
  const Conv2dShape shape = linear_shape(1, in_features, out_features);
  return pack_weight_array(shape, weight, pass, Algorithm::automatic, dtype);
}

}  // namespace

void bind_linear(py::module_& m) {
  m.def("linear_forward", &forward, py::arg("input"), py::arg("weight"), py::arg("bias").none(true), py::arg("output"),
        py::kw_only(), py::arg("activation") = "none", py::arg("packed_weight") = py::none());
  m.def("linear_backward_input", &backward_input, py::arg("weight"), py::arg("grad_output"), py::arg("grad_input"),
        py::kw_only(), py::arg("packed_weight") = py::none());
  m.def("linear_backward_weight", &backward_weight, py::arg("input"), py::arg("grad_output"), py::arg("grad_weight"),
        py::kw_only(), py::arg("accumulate") = false);
  m.def("linear_backward_bias", &backward_bias, py::arg("grad_output"), py::arg("grad_bias"), py::kw_only(),
        py::arg("accumulate") = false);
  m.def("linear_pack_weight", &pack, py::arg("weight"), py::arg("pass_name"));
}

}  // namespace bindings
}  // namespace fastconv
