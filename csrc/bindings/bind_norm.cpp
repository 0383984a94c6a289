// Batch, group, layer and local response normalisation.
#include <pybind11/stl.h>

#include "bindings/array.h"
#include "cpu/norm.h"

namespace fastconv {
namespace bindings {

namespace {

using Sizes = std::vector<std::int64_t>;

[[noreturn]] void refuse(const char* op, const std::string& rule, const Sizes& shape) {
  throw std::invalid_argument(std::string(op) + ": " + rule + ", got shape " +
                              std::string(py::str(py::tuple(py::cast(shape)))));
}

// (N, C), or four dimensions in a layout; groups 0: batch norm, -1: layer norm of (rows, elements).
NormShape norm_shape(const char* op, const Sizes& shape, Layout layout, std::int64_t groups) {
  const bool rows = groups < 0;
  if (shape.size() != 2 && (shape.size() != 4 || rows)) refuse(op, "input must have 2 or 4 dimensions", shape);
  const bool planes = shape.size() == 4 && layout == Layout::nchw;
  NormShape s{shape[0], shape[1], 1, groups, planes};
  if (shape.size() == 4) {
    s.channels = planes ? shape[1] : shape[3];
    s.pixels = planes ? shape[2] * shape[3] : shape[1] * shape[2];
  }
  if (s.channels < 1 || s.pixels < 1) refuse(op, "sizes other than N must be positive", shape);
  if (rows) return {s.n, 1, s.channels, 1, true};
  if (groups > 0 && s.channels % groups) refuse(op, "channels must be a multiple of groups", shape);
  return s;
}

void check_optional(const char* op, const char* name, const OptionalArray& array, DType dtype, std::int64_t size) {
  if (array) check_array(op, name, *array, dtype, {size});
}

void check_optional_output(const char* op, const char* name, const OptionalArray& array, DType dtype,
                           std::int64_t size) {
  if (array) check_output(op, name, *array, dtype, {size});
}

void forward(const py::array& input, const OptionalArray& weight, const OptionalArray& bias, py::array output,
             py::array stats, OptionalArray running_mean, OptionalArray running_var, bool training, double momentum,
             double eps, std::int64_t groups, const std::string& activation, const std::string& layout) {
  const char* op = "norm_forward";
  const DType dtype = dtype_of(op, "input", input);
  const Sizes sizes = shape_of(input);
  const NormShape shape = norm_shape(op, sizes, parse_layout(op, layout), groups);
  const bool relu = parse_activation(op, activation) == Activation::relu;
  const std::int64_t affine = groups < 0 ? shape.pixels : shape.channels;
  check_array(op, "input", input, dtype, sizes);
  check_optional(op, "weight", weight, dtype, affine);
  check_optional(op, "bias", bias, dtype, affine);
  check_output(op, "output", output, dtype, sizes);
  check_output(op, "stats", stats, DType::float64, {shape.statistics(), 2});
  check_no_overlap(op, "output", output, "input", input, true);
  if (bool(running_mean) != bool(running_var) || (running_mean && groups) || (!training && !groups && !running_mean))
    throw std::invalid_argument(std::string(op) + ": running statistics belong to batch norm, and it needs both");
  check_optional_output(op, "running_mean", running_mean, dtype, shape.channels);
  check_optional_output(op, "running_var", running_var, dtype, shape.channels);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    NormForward<T> args{};
    args.input = data<T>(input);
    args.weight = data_or_null<T>(weight);
    args.bias = data_or_null<T>(bias);
    args.output = mutable_data<T>(output);
    args.stats = mutable_data<double>(stats);
    args.use_running = !training && groups == 0;
    args.running_mean = mutable_data_or_null<T>(running_mean);
    args.running_var = mutable_data_or_null<T>(running_var);
    args.momentum = momentum;
    args.eps = eps;
    args.relu = relu;
    args.column_affine = groups < 0;
    norm_forward(shape, args);
  });
}

void backward(const py::array& grad_output, const py::array& input, const py::array& stats, const OptionalArray& weight,
              const OptionalArray& bias, OptionalArray grad_input, OptionalArray grad_weight, OptionalArray grad_bias,
              bool training, std::int64_t groups, const std::string& activation, const std::string& layout,
              bool accumulate) {
  const char* op = "norm_backward";
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const Sizes sizes = shape_of(grad_output);
  const NormShape shape = norm_shape(op, sizes, parse_layout(op, layout), groups);
  const bool relu = parse_activation(op, activation) == Activation::relu;
  const std::int64_t affine = groups < 0 ? shape.pixels : shape.channels;
  check_array(op, "grad_output", grad_output, dtype, sizes);
  check_array(op, "input", input, dtype, sizes);
  check_array(op, "stats", stats, DType::float64, {shape.statistics(), 2});
  check_optional(op, "weight", weight, dtype, affine);
  check_optional(op, "bias", bias, dtype, affine);
  check_optional_output(op, "grad_weight", grad_weight, dtype, affine);
  check_optional_output(op, "grad_bias", grad_bias, dtype, affine);
  if (grad_input) {
    check_output(op, "grad_input", *grad_input, dtype, sizes);
    check_no_overlap(op, "grad_input", *grad_input, "grad_output", grad_output, true);
    check_no_overlap(op, "grad_input", *grad_input, "input", input, true);
  }
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    NormBackward<T> args{};
    args.grad_output = data<T>(grad_output);
    args.input = data<T>(input);
    args.stats = data<double>(stats);
    args.weight = data_or_null<T>(weight);
    args.bias = data_or_null<T>(bias);
    args.grad_input = mutable_data_or_null<T>(grad_input);
    args.grad_weight = mutable_data_or_null<T>(grad_weight);
    args.grad_bias = mutable_data_or_null<T>(grad_bias);
    args.constant_stats = !training && groups == 0;
    args.relu = relu;
    args.accumulate = accumulate;
    if (groups < 0)
      layer_norm_backward(shape, args);
    else
      norm_backward(shape, args);
  });
}

std::int64_t scratch_bytes(const Sizes& sizes, std::int64_t groups, const std::string& dtype, const std::string& layout,
                           bool training, bool with_backward) {
  const char* op = "norm_scratch_bytes";
  const NormShape shape = norm_shape(op, sizes, parse_layout(op, layout), groups);
  const bool constant = !training && groups == 0;
  return parse_dtype(op, dtype) == DType::float32
             ? norm_scratch_bytes<float>(shape, constant, groups < 0, with_backward)
             : norm_scratch_bytes<double>(shape, constant, groups < 0, with_backward);
}

void lrn(const py::array& input, const OptionalArray& grad_output, py::array output, std::int64_t size, double alpha,
         double beta, double k, const std::string& layout_name) {
  const char* op = "local_response_norm";
  const DType dtype = dtype_of(op, "input", input);
  const Layout layout = parse_layout(op, layout_name);
  const Sizes s = shape_of(input);
  if (s.size() != 4 || s[1] < 1 || s[2] < 1 || s[3] < 1)
    refuse(op, "input must have 4 dimensions, all but N positive", s);
  if (size < 1) throw std::invalid_argument(std::string(op) + ": size must be positive, got " + std::to_string(size));
  check_array(op, "input", input, dtype, s);
  if (grad_output) {
    check_array(op, "grad_output", *grad_output, dtype, s);
    check_no_overlap(op, "output", output, "grad_output", *grad_output);
  }
  check_output(op, "output", output, dtype, s);
  check_no_overlap(op, "output", output, "input", input);
  const Shape4 shape = layout == Layout::nchw ? Shape4{s[0], s[1], s[2], s[3]} : Shape4{s[0], s[3], s[1], s[2]};
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    local_response_norm(shape, {size, alpha, beta, k}, data<T>(input), data_or_null<T>(grad_output),
                        mutable_data<T>(output), layout);
  });
}

}  // namespace

void bind_norm(py::module_& m) {
  using py::arg;
  m.def("norm_forward", &forward, arg("input"), arg("weight"), arg("bias"), arg("output"), arg("stats"), py::kw_only(),
        arg("running_mean") = py::none(), arg("running_var") = py::none(), arg("training") = true,
        arg("momentum") = 0.1, arg("eps") = 1e-5, arg("groups") = 0, arg("activation") = "none", arg("layout"));
  m.def("norm_backward", &backward, arg("grad_output"), arg("input"), arg("stats"), arg("weight"), arg("bias"),
        arg("grad_input"), arg("grad_weight"), arg("grad_bias"), py::kw_only(), arg("training") = true,
        arg("groups") = 0, arg("activation") = "none", arg("layout"), arg("accumulate") = false);
  m.def("norm_scratch_bytes", &scratch_bytes, arg("shape"), arg("groups"), arg("dtype"), py::kw_only(), arg("layout"),
        arg("training"), arg("backward"));
  m.def("local_response_norm", &lrn, arg("input"), arg("grad_output"), arg("output"), py::kw_only(), arg("size"),
        arg("alpha"), arg("beta"), arg("k"), arg("layout"));
}

}  // namespace bindings
}  // namespace fastconv
