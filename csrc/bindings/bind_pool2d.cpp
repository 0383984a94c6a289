// Pooling.
#include <pybind11/stl.h>

#include <array>

#include "bindings/array.h"
#include "core/pool2d_shape.h"
#include "cpu/isa.h"
#include "cpu/pool2d.h"

namespace fastconv {
namespace bindings {

namespace {

using Pair = std::array<std::int64_t, 2>;

Pool2dShape make_shape(const py::tuple& input_shape, const Pair& kernel_size, const Pair& stride,
                       const std::array<Pair, 2>& padding, const Pair& dilation, bool ceil_mode,
                       const std::string& op) {
  Pool2dOptions options;
  options.kernel_size = kernel_size;
  options.stride = stride;
  options.padding = {padding[0][0], padding[0][1], padding[1][0], padding[1][1]};
  options.dilation = dilation;
  options.ceil_mode = ceil_mode;
  return make_pool2d_shape(op, shape4_of(op.c_str(), "input_shape", input_shape), options);
}

py::tuple tuple4(const Shape4& s) { return py::make_tuple(s[0], s[1], s[2], s[3]); }

void bind_shape(py::module_& m) {
  using S = Pool2dShape;
  py::class_<S>(m, "Pool2dShape", py::is_final())
      .def(py::init(&make_shape), py::arg("input_shape"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("ceil_mode"), py::arg("op") = "max_pool2d")
      .def_property_readonly("input_shape", [](const S& s) { return tuple4(s.input_shape()); })
      .def_property_readonly("output_shape", [](const S& s) { return tuple4(s.output_shape()); })
      .def_property_readonly("kernel_size", [](const S& s) { return py::make_tuple(s.kh, s.kw); })
      .def_property_readonly("stride", [](const S& s) { return py::make_tuple(s.stride_h, s.stride_w); })
      .def_property_readonly("padding",
                             [](const S& s) {
                               return py::make_tuple(py::make_tuple(s.pad_top, s.pad_bottom),
                                                     py::make_tuple(s.pad_left, s.pad_right));
                             })
      .def_property_readonly("dilation", [](const S& s) { return py::make_tuple(s.dilation_h, s.dilation_w); })
      .def_property_readonly("ceil_mode", [](const S& s) { return s.ceil_mode; });
}

constexpr std::int64_t kMostTaps = 254;  // one byte, of which 255 is no tap

// Where maxima were: int32 indices, or the numbers of taps as bytes. True for the latter.
bool check_places(const char* op, const Pool2dShape& shape, const py::array& indices, Layout layout) {
  const auto pooled = data_shape(shape.output_shape(), layout);
  if (!py::isinstance<py::array_t<std::uint8_t>>(indices)) {
    check_pool2d_indices(op, shape);
    check_int32(op, "indices", indices, pooled);
    return false;
  }
  check_uint8(op, "indices", indices, pooled);
  if (shape.kh > kMostTaps || shape.kw > kMostTaps || shape.kh * shape.kw > kMostTaps)
    throw std::invalid_argument(std::string(op) + ": indices of uint8 need a window of at most " +
                                std::to_string(kMostTaps) + " pixels, got " + std::to_string(shape.kh) + " x " +
                                std::to_string(shape.kw));
  return true;
}

void max_forward(const Pool2dShape& shape, const py::array& input, py::array output, OptionalArray indices,
                 const std::string& layout_name, bool positive_only) {
  const char* op = "max_pool2d_forward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "input", input);
  const bool taps = indices && check_places(op, shape, *indices, layout);
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_output(op, "output", output, dtype, data_shape(shape.output_shape(), layout));
  check_no_overlap(op, "output", output, "input", input);
  if (indices) {
    check_writeable(op, "indices", *indices);
    check_no_overlap(op, "indices", *indices, "input", input);
    check_no_overlap(op, "indices", *indices, "output", output);
  }
  if (positive_only && !taps)
    throw std::invalid_argument(std::string(op) + ": positive_only needs indices of uint8, got others or none");
  MaxPlaces places;
  places.positive_only = positive_only;
  if (indices) {
    if (taps)
      places.taps = mutable_data<std::uint8_t>(*indices);
    else
      places.indices = mutable_data<std::int32_t>(*indices);
  }
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    max_pool2d_forward(shape, data<T>(input), mutable_data<T>(output), places, layout);
  });
}

bool max_backward(const Pool2dShape& shape, const py::array& grad_output, const py::array& indices,
                  py::array grad_input, const std::string& layout_name, const OptionalArray& output) {
  const char* op = "max_pool2d_backward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  const auto pooled = data_shape(shape.output_shape(), layout);
  ConstMaxPlaces places;
  if (check_places(op, shape, indices, layout))
    places.taps = data<std::uint8_t>(indices);
  else
    places.indices = data<std::int32_t>(indices);
  check_array(op, "grad_output", grad_output, dtype, pooled);
  check_output(op, "grad_input", grad_input, dtype, data_shape(shape.input_shape(), layout));
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output);
  check_no_overlap(op, "grad_input", grad_input, "indices", indices);
  if (output) {
    check_array(op, "output", *output, dtype, pooled);
    check_no_overlap(op, "grad_input", grad_input, "output", *output);
  }
  return dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    return max_pool2d_backward(shape, data<T>(grad_output), places, data_or_null<T>(output),
                               mutable_data<T>(grad_input), layout);
  });
}

void check_not_dilated(const char* op, const Pool2dShape& s) {
  if (s.dilation_h != 1 || s.dilation_w != 1)
    throw std::invalid_argument(std::string(op) + ": dilation must be (1, 1), got (" + std::to_string(s.dilation_h) +
                                ", " + std::to_string(s.dilation_w) + ")");
}

void avg_forward(const Pool2dShape& shape, const py::array& input, py::array output, const std::string& layout_name,
                 bool count_include_pad, std::int64_t divisor_override) {
  const char* op = "avg_pool2d_forward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "input", input);
  check_not_dilated(op, shape);
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_output(op, "output", output, dtype, data_shape(shape.output_shape(), layout));
  check_no_overlap(op, "output", output, "input", input);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    avg_pool2d_forward(shape, {count_include_pad, divisor_override}, data<T>(input), mutable_data<T>(output), layout);
  });
}

void avg_backward(const Pool2dShape& shape, const py::array& grad_output, py::array grad_input,
                  const std::string& layout_name, bool count_include_pad, std::int64_t divisor_override) {
  const char* op = "avg_pool2d_backward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  check_not_dilated(op, shape);
  check_array(op, "grad_output", grad_output, dtype, data_shape(shape.output_shape(), layout));
  check_output(op, "grad_input", grad_input, dtype, data_shape(shape.input_shape(), layout));
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    avg_pool2d_backward(shape, {count_include_pad, divisor_override}, data<T>(grad_output), mutable_data<T>(grad_input),
                        layout);
  });
}

PoolPass parse_pool_pass(const char* op, const std::string& name) {
  if (name == "max_forward") return PoolPass::max_forward;
  if (name == "max_backward") return PoolPass::max_backward;
  if (name == "avg_forward") return PoolPass::avg_forward;
  if (name == "avg_backward") return PoolPass::avg_backward;
  throw std::invalid_argument(std::string(op) + ": pass must be 'max_forward', 'max_backward', 'avg_forward' or " +
                              "'avg_backward', got '" + name + "'");
}

py::dict explain(const Pool2dShape& shape, const std::string& pass_name, const std::string& dtype_name,
                 const std::string& layout_name, std::int64_t index_bytes) {
  const char* op = "pool2d_explain";
  const PoolPass pass = parse_pool_pass(op, pass_name);
  const Layout layout = parse_layout(op, layout_name);
  const Pool2dExplanation e = dispatch(parse_dtype(op, dtype_name), [&](auto zero) {
    return explain_pool2d<decltype(zero)>(shape, pass, layout, index_bytes);
  });
  py::dict d;
  d["algorithm"] = e.algorithm;
  d["isa"] = isa_name(active_isa());
  d["kernel"] = e.kernel;
  d["threads"] = e.threads;
  d["scratch_bytes"] = e.scratch_bytes;
  d["bytes_moved"] = e.bytes_moved;
  d["notes"] = e.notes;
  return d;
}

}  // namespace

void bind_pool2d(py::module_& m) {
  bind_shape(m);
  m.def("max_pool2d_forward", &max_forward, py::arg("shape"), py::arg("input"), py::arg("output"),
        py::arg("indices").none(true), py::kw_only(), py::arg("layout"), py::arg("positive_only") = false);
  m.def("max_pool2d_backward", &max_backward, py::arg("shape"), py::arg("grad_output"), py::arg("indices"),
        py::arg("grad_input"), py::kw_only(), py::arg("layout"), py::arg("output") = py::none());
  m.def("pool2d_explain", &explain, py::arg("shape"), py::arg("pass_name"), py::arg("dtype"), py::kw_only(),
        py::arg("layout"), py::arg("index_bytes") = 0);
  m.def("avg_pool2d_forward", &avg_forward, py::arg("shape"), py::arg("input"), py::arg("output"), py::kw_only(),
        py::arg("layout"), py::arg("count_include_pad") = true, py::arg("divisor_override") = 0);
  m.def("avg_pool2d_backward", &avg_backward, py::arg("shape"), py::arg("grad_output"), py::arg("grad_input"),
        py::kw_only(), py::arg("layout"), py::arg("count_include_pad") = true, py::arg("divisor_override") = 0);
}

}  // namespace bindings
}  // namespace fastconv
