// Layout conversion of whole arrays.
#include "bindings/array.h"
#include "cpu/layout.h"

namespace fastconv {
namespace bindings {

namespace {

template <bool ToChannelsLast>
void convert(const py::array& input, py::array& output) {
  const char* op = ToChannelsLast ? "nchw_to_nhwc" : "nhwc_to_nchw";
  const DType dtype = dtype_of(op, "input", input);
  if (input.ndim() != 4) throw std::invalid_argument(std::string(op) + ": input must have 4 dimensions");
  const auto at = [&](int i) { return static_cast<std::int64_t>(input.shape(i)); };
  const Shape4 shape = ToChannelsLast ? Shape4{at(0), at(1), at(2), at(3)} : Shape4{at(0), at(3), at(1), at(2)};
  check_array(op, "input", input, dtype, shape_of(input));
  check_output(op, "output", output, dtype, data_shape(shape, ToChannelsLast ? Layout::nhwc : Layout::nchw));
  check_no_overlap(op, "output", output, "input", input);
  dispatch(dtype, [&, from = input.data(), to = output.mutable_data()](auto zero) {
    using T = decltype(zero);
    if (ToChannelsLast)
      nchw_to_nhwc(shape, static_cast<const T*>(from), static_cast<T*>(to));
    else
      nhwc_to_nchw(shape, static_cast<const T*>(from), static_cast<T*>(to));
  });
}

}  // namespace

void bind_layout(py::module_& m) {
  m.def("nchw_to_nhwc", &convert<true>, py::arg("input"), py::arg("output"));
  m.def("nhwc_to_nchw", &convert<false>, py::arg("input"), py::arg("output"));
}

}  // namespace bindings
}  // namespace fastconv
