// Pooling: activations (N, H, W, C).
#include "cuda/pool2d.h"

#include "cuda/bindings/plan.h"

namespace fastconv {
namespace cuda {

namespace {

using Pair = std::array<std::int64_t, 2>;

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }
py::tuple as_tuple(const Shape4& s) { return py::make_tuple(s[0], s[1], s[2], s[3]); }

Pool2dShape make_shape(const Shape4& input_shape, const Pair& kernel_size, const Pair& stride,
                       const std::array<Pair, 2>& padding, const Pair& dilation, bool ceil_mode,
                       const std::string& op) {
  Pool2dOptions options;
  options.kernel_size = kernel_size;
  options.stride = stride;
  options.padding = {padding[0][0], padding[0][1], padding[1][0], padding[1][1]};
  options.dilation = dilation;
  options.ceil_mode = ceil_mode;
  return make_pool2d_shape(op, input_shape, options);
}

// Both may be left out, forward; one of them must be there, backward.
void check_places(const char* op, const Pool2dShape& shape, Address indices, Address taps, bool needed) {
  if (indices && taps) throw std::invalid_argument(std::string(op) + ": give indices or taps, got both");
  if (needed && !indices && !taps && count(shape.output_shape()) > 0)
    throw std::invalid_argument(std::string(op) + ": needs indices or taps, got none");
  if (indices) check_pool2d_indices(op, shape);
  if (taps && (shape.kh > kMostTaps || shape.kw > kMostTaps || shape.kh * shape.kw > kMostTaps))
    throw std::invalid_argument(std::string(op) + ": taps need a window of at most " + std::to_string(kMostTaps) +
                                " pixels, got " + std::to_string(shape.kh) + " x " + std::to_string(shape.kw));
}

// Addresses: input, taps, output, indices.
Plan max_forward_plan(const Pool2dShape& shape, bool positive_only, const std::string& dtype, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  return {4, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Address taps = at[1], indices = at[3];
            const std::int64_t outputs = count(shape.output_shape());
            check_places(op, shape, indices, taps, false);
            if (positive_only && !taps) throw std::invalid_argument(name + ": positive_only needs taps, got none");
            const Buffer x = buffer(op, "input", at[0], count(shape.input_shape()), type);
            const Buffer y = buffer(op, "out", at[2], outputs, type);
            const Buffer i = buffer<std::int32_t>(op, "indices", indices, indices ? outputs : 0);
            const Buffer t = buffer<std::uint8_t>(op, "taps", taps, taps ? outputs : 0);
            check_no_overlap(op, y, x);
            for (const Buffer& places : {i, t}) check_no_overlap(op, places, x), check_no_overlap(op, places, y);
            const py::gil_scoped_release release;
            max_pool2d_forward(shape, type, pointer<void>(x), pointer<void>(y),
                               {pointer<std::int32_t>(i), pointer<std::uint8_t>(t), positive_only}, stream);
          }};
}

void max_forward(const Pool2dShape& shape, Address input, Address output, Address indices, Address taps,
                 bool positive_only, const std::string& dtype, Address stream) {
  const Address at[] = {input, taps, output, indices};
  max_forward_plan(shape, positive_only, dtype, "max_pool2d")(at, stream);
}

// Addresses: grad_output, indices or taps, result.
Plan max_backward_plan(const Pool2dShape& shape, bool as_taps, const std::string& dtype, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  return {3, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Address indices = as_taps ? 0 : at[1], taps = as_taps ? at[1] : 0;
            const std::int64_t outputs = count(shape.output_shape());
            check_places(op, shape, indices, taps, true);
            const Buffer gy = buffer(op, "grad_output", at[0], outputs, type);
            const Buffer i = buffer<std::int32_t>(op, "indices", indices, indices ? outputs : 0);
            const Buffer t = buffer<std::uint8_t>(op, "taps", taps, taps ? outputs : 0);
            const Buffer gx = buffer(op, "out", at[2], count(shape.input_shape()), type);
            for (const Buffer& read : {gy, i, t}) check_no_overlap(op, gx, read);
            const py::gil_scoped_release release;
            max_pool2d_backward(shape, type, pointer<void>(gy), {pointer<std::int32_t>(i), pointer<std::uint8_t>(t)},
                                pointer<void>(gx), stream);
          }};
}

void max_backward(const Pool2dShape& shape, Address grad_output, Address indices, Address taps, Address grad_input,
                  const std::string& dtype, Address stream) {
  if (indices && taps) throw std::invalid_argument("max_pool2d_backward: give indices or taps, got both");
  const Address at[] = {grad_output, taps ? taps : indices, grad_input};
  max_backward_plan(shape, taps != 0, dtype, "max_pool2d_backward")(at, stream);
}

// Addresses: input, output.
Plan avg_forward_plan(const Pool2dShape& shape, bool count_include_pad, std::int64_t divisor_override,
                      const std::string& dtype, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  return {2, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer x = buffer(op, "input", at[0], count(shape.input_shape()), type);
            const Buffer y = buffer(op, "out", at[1], count(shape.output_shape()), type);
            check_no_overlap(op, y, x);
            const py::gil_scoped_release release;
            avg_pool2d_forward(shape, {count_include_pad, divisor_override}, type, pointer<void>(x), pointer<void>(y),
                               stream);
          }};
}

void avg_forward(const Pool2dShape& shape, Address input, Address output, bool count_include_pad,
                 std::int64_t divisor_override, const std::string& dtype, Address stream) {
  const Address at[] = {input, output};
  avg_forward_plan(shape, count_include_pad, divisor_override, dtype, "avg_pool2d")(at, stream);
}

// Addresses: grad_output, result.
Plan avg_backward_plan(const Pool2dShape& shape, bool count_include_pad, std::int64_t divisor_override,
                       const std::string& dtype, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  return {2, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer gy = buffer(op, "grad_output", at[0], count(shape.output_shape()), type);
            const Buffer gx = buffer(op, "out", at[1], count(shape.input_shape()), type);
            check_no_overlap(op, gx, gy);
            const py::gil_scoped_release release;
            avg_pool2d_backward(shape, {count_include_pad, divisor_override}, type, pointer<void>(gy),
                                pointer<void>(gx), stream);
          }};
}

void avg_backward(const Pool2dShape& shape, Address grad_output, Address grad_input, bool count_include_pad,
                  std::int64_t divisor_override, const std::string& dtype, Address stream) {
  const Address at[] = {grad_output, grad_input};
  avg_backward_plan(shape, count_include_pad, divisor_override, dtype, "avg_pool2d_backward")(at, stream);
}

std::string explain(const Pool2dShape& shape, const std::string& operation) {
  const std::pair<const char*, PoolPass> passes[] = {{"max_pool2d", PoolPass::max_forward},
                                                     {"max_pool2d_backward", PoolPass::max_backward},
                                                     {"avg_pool2d", PoolPass::avg_forward},
                                                     {"avg_pool2d_backward", PoolPass::avg_backward}};
  for (const auto& [name, pass] : passes)
    if (operation == name) return explain_pool2d(shape, pass);
  throw std::invalid_argument("explain_pool2d: no such operation: " + operation);
}

}  // namespace

void bind_pool2d(py::module_& m) {
  using S = Pool2dShape;
  const py::arg_v dtype = py::arg("dtype") = "float32";
  py::class_<S>(m, "Pool2dShape", py::is_final(), py::module_local())
      .def(py::init(&make_shape), py::arg("input_shape"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("ceil_mode"), py::arg("op") = "max_pool2d")
      .def_property_readonly("input_shape", [](const S& s) { return as_tuple(s.input_shape()); })
      .def_property_readonly("output_shape", [](const S& s) { return as_tuple(s.output_shape()); });
  m.def("max_pool2d_forward", &max_forward, py::arg("shape"), py::arg("input"), py::arg("output"), py::kw_only(),
        py::arg("indices"), py::arg("taps"), py::arg("positive_only"), dtype, py::arg("stream"));
  m.def("max_pool2d_backward", &max_backward, py::arg("shape"), py::arg("grad_output"), py::kw_only(),
        py::arg("indices"), py::arg("taps"), py::arg("grad_input"), dtype, py::arg("stream"));
  m.def("avg_pool2d_forward", &avg_forward, py::arg("shape"), py::arg("input"), py::arg("output"), py::kw_only(),
        py::arg("count_include_pad"), py::arg("divisor_override"), dtype, py::arg("stream"));
  m.def("avg_pool2d_backward", &avg_backward, py::arg("shape"), py::arg("grad_output"), py::arg("grad_input"),
        py::kw_only(), py::arg("count_include_pad"), py::arg("divisor_override"), dtype, py::arg("stream"));
  m.def("plan_max_pool2d_backward", &max_backward_plan, py::arg("shape"), py::kw_only(), py::arg("taps"),
        py::arg("dtype"), py::arg("op"));
  m.def("plan_avg_pool2d_backward", &avg_backward_plan, py::arg("shape"), py::kw_only(), py::arg("count_include_pad"),
        py::arg("divisor_override"), py::arg("dtype"), py::arg("op"));
  m.def("plan_max_pool2d_forward", &max_forward_plan, py::arg("shape"), py::kw_only(), py::arg("positive_only"),
        py::arg("dtype"), py::arg("op"));
  m.def("plan_avg_pool2d_forward", &avg_forward_plan, py::arg("shape"), py::kw_only(), py::arg("count_include_pad"),
        py::arg("divisor_override"), py::arg("dtype"), py::arg("op"));
  m.def("explain_pool2d", &explain, py::arg("shape"), py::arg("operation"));
}

}  // namespace cuda
}  // namespace fastconv
