// Upsampling, adaptive pooling, and values at indices of max pooling.
#include <pybind11/stl.h>

#include <array>

#include "bindings/array.h"
#include "cpu/plane_indices.h"
#include "cpu/resample2d.h"

namespace fastconv {
namespace bindings {

namespace {

using Pair = std::array<std::int64_t, 2>;

Resample2dShape make_shape(const py::tuple& input_shape, const Pair& output_size, const std::string& mode,
                           bool align_corners, const std::array<double, 2>& scales, const std::string& op) {
  return make_resample2d_shape(op, shape4_of(op.c_str(), "input_shape", input_shape), output_size,
                               parse_resampling(op, mode), align_corners, scales);
}

py::tuple tuple4(const Shape4& s) { return py::make_tuple(s[0], s[1], s[2], s[3]); }

void forward(const Resample2dShape& shape, const py::array& input, py::array output, const std::string& layout_name) {
  const char* op = "resample2d_forward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "input", input);
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_output(op, "output", output, dtype, data_shape(shape.output_shape(), layout));
  check_no_overlap(op, "output", output, "input", input);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    resample2d_forward(shape, data<T>(input), mutable_data<T>(output), layout);
  });
}

void backward(const Resample2dShape& shape, const py::array& grad_output, py::array grad_input,
              const std::string& layout_name) {
  const char* op = "resample2d_backward";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "grad_output", grad_output);
  check_array(op, "grad_output", grad_output, dtype, data_shape(shape.output_shape(), layout));
  check_output(op, "grad_input", grad_input, dtype, data_shape(shape.input_shape(), layout));
  check_no_overlap(op, "grad_input", grad_input, "grad_output", grad_output);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    resample2d_backward(shape, data<T>(grad_output), mutable_data<T>(grad_input), layout);
  });
}

void check_plane(const char* op, const Shape4& shape) {
  if (shape[2] * shape[3] > std::numeric_limits<std::int32_t>::max())
    throw std::invalid_argument(std::string(op) + ": indices must fit 32 bits, got a plane of " +
                                std::to_string(shape[2]) + " x " + std::to_string(shape[3]));
}

void maximum(const Resample2dShape& shape, const py::array& input, py::array output, py::array indices,
             const std::string& layout_name) {
  const char* op = "resample2d_max";
  const Layout layout = parse_layout(op, layout_name);
  const DType dtype = dtype_of(op, "input", input);
  const auto pooled = data_shape(shape.output_shape(), layout);
  check_plane(op, shape.input_shape());
  check_array(op, "input", input, dtype, data_shape(shape.input_shape(), layout));
  check_output(op, "output", output, dtype, pooled);
  check_int32(op, "indices", indices, pooled);
  check_writeable(op, "indices", indices);
  check_no_overlap(op, "output", output, "input", input);
  check_no_overlap(op, "indices", indices, "input", input);
  check_no_overlap(op, "indices", indices, "output", output);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    resample2d_max(shape, data<T>(input), mutable_data<T>(output), mutable_data<std::int32_t>(indices), layout);
  });
}

struct Planes {
  Shape4 shape;
  std::int64_t small_pixels;
  Layout layout;
  DType dtype;
};

// What both directions ask of a large array and of values with indices in it.
Planes check_planes(const char* op, const py::array& large, const py::array& values, const py::array& indices,
                    const std::string& layout_name) {
  const Layout layout = parse_layout(op, layout_name);
  const auto logical = [&](const char* name, const py::array& array) -> Shape4 {
    if (array.ndim() != 4) throw std::invalid_argument(std::string(op) + ": " + name + " must have 4 dimensions");
    const auto at = [&](int i) { return static_cast<std::int64_t>(array.shape(i)); };
    return layout == Layout::nchw ? Shape4{at(0), at(1), at(2), at(3)} : Shape4{at(0), at(3), at(1), at(2)};
  };
  const Shape4 shape = logical("large", large), small = logical("values", values);
  if (shape[0] != small[0] || shape[1] != small[1])
    throw std::invalid_argument(std::string(op) + ": values must have the N and C of large, got " + to_string(small) +
                                " and " + to_string(shape));
  check_plane(op, shape);
  const DType dtype = dtype_of(op, "values", values);
  check_array(op, "large", large, dtype, data_shape(shape, layout));
  check_array(op, "values", values, dtype, data_shape(small, layout));
  check_int32(op, "indices", indices, data_shape(small, layout));
  check_no_overlap(op, "values", values, "large", large);
  return {shape, small[2] * small[3], layout, dtype};
}

bool scatter(const py::array& values, const py::array& indices, py::array large, const std::string& layout_name,
             bool add) {
  const char* op = "scatter_planes";
  const Planes p = check_planes(op, large, values, indices, layout_name);
  check_writeable(op, "large", large);
  check_no_overlap(op, "large", large, "indices", indices);
  return dispatch(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    return scatter_planes(p.shape, p.small_pixels, data<T>(values), data<std::int32_t>(indices), add,
                          mutable_data<T>(large), p.layout);
  });
}

bool gather(const py::array& large, const py::array& indices, py::array values, const std::string& layout_name) {
  const char* op = "gather_planes";
  const Planes p = check_planes(op, large, values, indices, layout_name);
  check_writeable(op, "values", values);
  check_no_overlap(op, "values", values, "indices", indices);
  return dispatch(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    return gather_planes(p.shape, p.small_pixels, data<T>(large), data<std::int32_t>(indices), mutable_data<T>(values),
                         p.layout);
  });
}

}  // namespace

void bind_resample2d(py::module_& m) {
  using S = Resample2dShape;
  py::class_<S>(m, "Resample2dShape", py::is_final())
      .def(py::init(&make_shape), py::arg("input_shape"), py::arg("output_size"), py::arg("mode"),
           py::arg("align_corners") = false, py::arg("scales") = std::array<double, 2>{0, 0},
           py::arg("op") = "resample2d")
      .def_property_readonly("input_shape", [](const S& s) { return tuple4(s.input_shape()); })
      .def_property_readonly("output_shape", [](const S& s) { return tuple4(s.output_shape()); });
  m.def("resample2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("output"), py::kw_only(),
        py::arg("layout"));
  m.def("resample2d_backward", &backward, py::arg("shape"), py::arg("grad_output"), py::arg("grad_input"),
        py::kw_only(), py::arg("layout"));
  m.def("resample2d_max", &maximum, py::arg("shape"), py::arg("input"), py::arg("output"), py::arg("indices"),
        py::kw_only(), py::arg("layout"));
  m.def("scatter_planes", &scatter, py::arg("values"), py::arg("indices"), py::arg("large"), py::kw_only(),
        py::arg("layout"), py::arg("add") = false);
  m.def("gather_planes", &gather, py::arg("large"), py::arg("indices"), py::arg("values"), py::kw_only(),
        py::arg("layout"));
}

}  // namespace bindings
}  // namespace fastconv
