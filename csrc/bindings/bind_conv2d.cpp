// Convolution: its geometry and its passes.
#include "bindings/array.h"
#include "bindings/packed_weight.h"
#include "core/conv_transpose2d_shape.h"
#include "cpu/conv2d.h"
#include "cpu/isa.h"

namespace fastconv {
namespace bindings {

namespace {

using Pair = std::array<std::int64_t, 2>;
using PaddingPairs = std::array<Pair, 2>;

Conv2dOptions make_options(const Pair& stride, const py::object& padding, const Pair& dilation, std::int64_t groups,
                           const std::string& op) {
  Conv2dOptions options;
  options.stride = stride;
  options.dilation = dilation;
  options.groups = groups;
  if (py::isinstance<py::str>(padding)) {
    options.padding_mode = parse_padding_mode(op, padding.cast<std::string>());
  } else {
    const auto pairs = padding.cast<PaddingPairs>();
    options.padding = {pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]};
  }
  return options;
}

Conv2dShape make_shape(const py::tuple& input_shape, const py::tuple& weight_shape, const Pair& stride,
                       const py::object& padding, const Pair& dilation, std::int64_t groups, const std::string& op) {
  return make_conv2d_shape(op, shape4_of(op.c_str(), "input", input_shape),
                           shape4_of(op.c_str(), "weight", weight_shape),
                           make_options(stride, padding, dilation, groups, op));
}

Conv2dShape make_transposed(const py::tuple& input_shape, const py::tuple& weight_shape, const Pair& stride,
                            const py::object& padding, const Pair& dilation, std::int64_t groups,
                            const Pair& output_padding, const std::optional<Pair>& output_size, const std::string& op) {
  return make_conv_transpose2d_shape(
      op, shape4_of(op.c_str(), "input", input_shape), shape4_of(op.c_str(), "weight", weight_shape),
      {make_options(stride, padding, dilation, groups, op), output_padding, output_size});
}

py::tuple as_tuple(const Shape4& s) { return py::make_tuple(s[0], s[1], s[2], s[3]); }

bool can_max_pool(const Conv2dShape& shape, DType dtype, Algorithm algorithm) {
  return dtype == DType::float32 ? fuses_max_pool<float>(shape, algorithm) : fuses_max_pool<double>(shape, algorithm);
}

void forward(const Conv2dShape& shape, const py::array& input, const py::array& weight, const OptionalArray& bias,
             py::array& output, const std::string& layout_name, const std::string& activation_name,
             const std::string& algo, const OptionalArray& packed_weight, bool max_pool) {
  const char* op = "conv2d";
  const Layout layout = parse_layout(op, layout_name);
  const Activation activation = parse_activation(op, activation_name);
  const Algorithm algorithm = parse_algorithm(op, algo);
  const DType dtype = dtype_of(op, "input", input);
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_array(op, "weight", weight, dtype, data_shape(shape.weight_shape(), Layout::nchw));
  if (bias) check_array(op, "bias", *bias, dtype, {shape.oc});
  if (max_pool && !can_max_pool(shape, dtype, algorithm))
    throw std::invalid_argument(std::string(op) +
                                ": max_pool must be False where the algorithm does not fuse it, got True");
  const Shape4 result = max_pool ? max_pooled_shape(shape) : shape.output_shape();
  check_output(op, "output", output, dtype, data_shape(result, layout));
  check_no_overlap(op, "output", output, "input", input);
  check_no_overlap(op, "output", output, "weight", weight);
  if (bias) check_no_overlap(op, "output", output, "bias", *bias);
  const void *in = input.data(), *w = weight.data(), *b = bias ? bias->data() : nullptr;
  void* out = output.mutable_data();
  const void* packed = check_packed(op, packed_weight, shape, Pass::forward, algorithm, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_forward(shape, static_cast<const T*>(in), static_cast<const T*>(w), static_cast<const T*>(b),
                   static_cast<T*>(out), layout, activation, max_pool, algorithm, static_cast<const T*>(packed));
  });
}

void backward_input(const Conv2dShape& shape, const py::array& weight, const py::array& grad_output,
                    py::array& grad_input, const std::string& layout_name, const std::string& algo,
                    const OptionalArray& packed_weight) {
  const char* op = "conv2d_backward_input";
  const Layout layout = parse_layout(op, layout_name);
  const Algorithm algorithm = parse_algorithm(op, algo);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  check_array(op, "weight", weight, dtype, data_shape(shape.weight_shape(), Layout::nchw));
  check_array(op, "grad_output", grad_output, dtype, data_shape(shape.output_shape(), layout));
  check_output(op, "grad_input", grad_input, dtype, data_shape(shape.input_shape(), layout));
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output);
  check_no_overlap(op, "grad_input", grad_input, "weight", weight);
  const void *w = weight.data(), *g = grad_output.data();
  void* out = grad_input.mutable_data();
  const void* packed = check_packed(op, packed_weight, shape, Pass::backward_input, algorithm, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_input<T>(shape, static_cast<const T*>(w), static_cast<const T*>(g), nullptr, static_cast<T*>(out),
                             layout, Activation::none, algorithm, static_cast<const T*>(packed));
  });
}

void transpose_forward(const Conv2dShape& shape, const py::array& input, const py::array& weight,
                       const OptionalArray& bias, py::array& output, const std::string& layout_name,
                       const std::string& activation_name, const std::string& algo,
                       const OptionalArray& packed_weight) {
  const char* op = "conv_transpose2d";
  const Layout layout = parse_layout(op, layout_name);
  const Activation activation = parse_activation(op, activation_name);
  const Algorithm algorithm = parse_algorithm(op, algo);
  const DType dtype = dtype_of(op, "input", input);
  check_array(op, "input", input, dtype, data_shape(shape.output_shape(), layout));
  check_array(op, "weight", weight, dtype, data_shape(shape.weight_shape(), Layout::nchw));
  if (bias) check_array(op, "bias", *bias, dtype, {shape.ic});
  check_output(op, "output", output, dtype, data_shape(shape.input_shape(), layout));
  check_no_overlap(op, "output", output, "input", input);
  check_no_overlap(op, "output", output, "weight", weight);
  if (bias) check_no_overlap(op, "output", output, "bias", *bias);
  const void* packed = check_packed(op, packed_weight, shape, Pass::backward_input, algorithm, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_input<T>(shape, data<T>(weight), data<T>(input), data_or_null<T>(bias), mutable_data<T>(output),
                             layout, activation, algorithm, static_cast<const T*>(packed));
  });
}

void backward_weight(const Conv2dShape& shape, const py::array& input, const py::array& grad_output,
                     py::array& grad_weight, const std::string& layout_name, const std::string& algo, bool accumulate) {
  const char* op = "conv2d_backward_weight";
  const Layout layout = parse_layout(op, layout_name);
  const Algorithm algorithm = parse_algorithm(op, algo);
  const DType dtype = dtype_of(op, "input", input);
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_array(op, "grad_output", grad_output, dtype, data_shape(shape.output_shape(), layout));
  check_output(op, "grad_weight", grad_weight, dtype, data_shape(shape.weight_shape(), Layout::nchw));
  check_no_overlap(op, "grad_weight", grad_weight, "input", input);
  check_no_overlap(op, "grad_weight", grad_weight, "grad_output", grad_output);
  const void *in = input.data(), *g = grad_output.data();
  void* out = grad_weight.mutable_data();
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_weight(shape, static_cast<const T*>(in), static_cast<const T*>(g), static_cast<T*>(out), layout,
                           algorithm, accumulate);
  });
}

void backward_bias(const py::array& grad_output, py::array& grad_bias, const std::string& layout_name,
                   bool accumulate) {
  const char* op = "conv2d_backward_bias";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  if (grad_output.ndim() != 4) throw std::invalid_argument(std::string(op) + ": grad_output must have 4 dimensions");
  check_array(op, "grad_output", grad_output, dtype, shape_of(grad_output));
  const auto at = [&](int i) { return static_cast<std::int64_t>(grad_output.shape(i)); };
  const Shape4 shape = layout == Layout::nchw ? Shape4{at(0), at(1), at(2), at(3)} : Shape4{at(0), at(3), at(1), at(2)};
  check_output(op, "grad_bias", grad_bias, dtype, {shape[1]});
  check_no_overlap(op, "grad_bias", grad_bias, "grad_output", grad_output);
  const void* g = grad_output.data();
  void* out = grad_bias.mutable_data();
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    conv2d_backward_bias(shape, static_cast<const T*>(g), static_cast<T*>(out), layout, accumulate);
  });
}

py::array pack(const Conv2dShape& shape, const py::array& weight, const std::string& pass_name,
               const std::string& algo) {
  const char* op = "conv2d_pack_weight";
  const Pass pass = parse_pass(op, pass_name);
  const Algorithm algorithm = parse_algorithm(op, algo);
  if (pass == Pass::backward_weight)
    throw std::invalid_argument(std::string(op) +
                                ": pass must be 'forward' or 'backward_input', got 'backward_weight'");
  const DType dtype = dtype_of(op, "weight", weight);
  check_array(op, "weight", weight, dtype, data_shape(shape.weight_shape(), Layout::nchw));
  return pack_weight_array(shape, weight, pass, algorithm, dtype);
}

py::dict explain(const Conv2dShape& shape, const std::string& pass_name, const std::string& dtype_name,
                 const std::string& layout_name, const std::string& algo_name) {
  const char* op = "conv2d_explain";
  const Pass pass = parse_pass(op, pass_name);
  const Layout layout = parse_layout(op, layout_name);
  const Algorithm algorithm = parse_algorithm(op, algo_name);
  const Conv2dExplanation e = dispatch(parse_dtype(op, dtype_name), [&](auto zero) {
    return explain_conv2d<decltype(zero)>(shape, pass, layout, algorithm);
  });
  const auto list = [](const std::vector<std::string>& texts) {
    py::list l;
    for (const std::string& text : texts) l.append(text);
    return l;
  };
  py::dict d;
  d["algorithm"] = e.algorithm;
  d["rejected"] = list(e.rejected);
  d["isa"] = isa_name(active_isa());
  d["kernel"] = e.kernel;
  d["layout_conversions"] = list(e.layout_conversions);
  d["scratch_bytes"] = e.scratch_bytes;
  d["packed_weight_bytes"] = e.packed_weight_bytes;
  d["flops"] = shape.flops();
  d["threads"] = e.threads;
  d["notes"] = list(e.notes);
  return d;
}

}  // namespace

void bind_conv2d(py::module_& m) {
  py::class_<Conv2dShape>(m, "Conv2dShape", py::is_final())
      .def(py::init(&make_shape), py::arg("input_shape"), py::arg("weight_shape"), py::arg("stride"),
           py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("op") = "conv2d")
      .def_property_readonly("input_shape", [](const Conv2dShape& s) { return as_tuple(s.input_shape()); })
      .def_property_readonly("weight_shape", [](const Conv2dShape& s) { return as_tuple(s.weight_shape()); })
      .def_property_readonly("output_shape", [](const Conv2dShape& s) { return as_tuple(s.output_shape()); })
      .def_property_readonly("stride", [](const Conv2dShape& s) { return py::make_tuple(s.stride_h, s.stride_w); })
      .def_property_readonly("dilation",
                             [](const Conv2dShape& s) { return py::make_tuple(s.dilation_h, s.dilation_w); })
      .def_property_readonly("padding",
                             [](const Conv2dShape& s) {
                               return py::make_tuple(py::make_tuple(s.pad_top, s.pad_bottom),
                                                     py::make_tuple(s.pad_left, s.pad_right));
                             })
      .def_property_readonly("groups", [](const Conv2dShape& s) { return s.groups; })
      .def_property_readonly("flops", &Conv2dShape::flops);

  m.def("conv_transpose2d_shape", &make_transposed, py::arg("input_shape"), py::arg("weight_shape"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("output_padding"),
        py::arg("output_size").none(true), py::arg("op") = "conv_transpose2d");
  m.def("conv_transpose2d_forward", &transpose_forward, py::arg("shape"), py::arg("input"), py::arg("weight"),
        py::arg("bias").none(true), py::arg("output"), py::kw_only(), py::arg("layout"), py::arg("activation") = "none",
        py::arg("algo") = "auto", py::arg("packed_weight") = py::none());
  m.def("conv2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias").none(true),
        py::arg("output"), py::kw_only(), py::arg("layout"), py::arg("activation") = "none", py::arg("algo") = "auto",
        py::arg("packed_weight") = py::none(), py::arg("max_pool") = false);
  m.def(
      "conv2d_fuses_max_pool",
      [](const Conv2dShape& shape, const std::string& dtype_name, const std::string& algo) {
        const char* op = "conv2d_fuses_max_pool";
        return can_max_pool(shape, parse_dtype(op, dtype_name), parse_algorithm(op, algo));
      },
      py::arg("shape"), py::arg("dtype_name"), py::kw_only(), py::arg("algo") = "auto");
  m.def("conv2d_backward_input", &backward_input, py::arg("shape"), py::arg("weight"), py::arg("grad_output"),
        py::arg("grad_input"), py::kw_only(), py::arg("layout"), py::arg("algo") = "auto",
        py::arg("packed_weight") = py::none());
  m.def("conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"), py::arg("grad_output"),
        py::arg("grad_weight"), py::kw_only(), py::arg("layout"), py::arg("algo") = "auto",
        py::arg("accumulate") = false);
  m.def("conv2d_backward_bias", &backward_bias, py::arg("grad_output"), py::arg("grad_bias"), py::kw_only(),
        py::arg("layout"), py::arg("accumulate") = false);
  m.def("conv2d_pack_weight", &pack, py::arg("shape"), py::arg("weight"), py::arg("pass_name"), py::kw_only(),
        py::arg("algo") = "auto");
  m.def("conv2d_explain", &explain, py::arg("shape"), py::arg("pass_name"), py::arg("dtype_name"), py::kw_only(),
        py::arg("layout"), py::arg("algo") = "auto");
}

}  // namespace bindings
}  // namespace fastconv
