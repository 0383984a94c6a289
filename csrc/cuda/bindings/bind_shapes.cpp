// Geometries, judged by the same code as on the CPU. The classes belong to this module alone (module_local): it may be
// built at another time, with another pybind11, than _core.
#include "core/conv2d_shape.h"
#include "cuda/bindings/buffers.h"

namespace fastconv {
namespace cuda {

namespace {

using Pair = std::array<std::int64_t, 2>;
using PaddingPairs = std::array<Pair, 2>;

Conv2dShape make_conv2d(const Shape4& input_shape, const Shape4& weight_shape, const Pair& stride,
                        const py::object& padding, const Pair& dilation, std::int64_t groups, const std::string& op) {
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
  return make_conv2d_shape(op, input_shape, weight_shape, options);
}

py::tuple as_tuple(const Shape4& s) { return py::make_tuple(s[0], s[1], s[2], s[3]); }

}  // namespace

void bind_shapes(py::module_& m) {
  py::class_<Conv2dShape>(m, "Conv2dShape", py::is_final(), py::module_local())
      .def(py::init(&make_conv2d), py::arg("input_shape"), py::arg("weight_shape"), py::arg("stride"),
           py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("op") = "conv2d")
      .def_property_readonly("input_shape", [](const Conv2dShape& s) { return as_tuple(s.input_shape()); })
      .def_property_readonly("weight_shape", [](const Conv2dShape& s) { return as_tuple(s.weight_shape()); })
      .def_property_readonly("output_shape", [](const Conv2dShape& s) { return as_tuple(s.output_shape()); });
}

}  // namespace cuda
}  // namespace fastconv
