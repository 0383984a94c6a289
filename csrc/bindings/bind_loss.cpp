// Losses.
#include <pybind11/stl.h>

#include "bindings/array.h"
#include "cpu/loss.h"

namespace fastconv {
namespace bindings {

namespace {

using Sizes = std::vector<std::int64_t>;

// (N, C) with at least one class.
Sizes check_rows(const char* op, const char* argument, const py::array& array, DType dtype) {
  const Sizes shape = shape_of(array);
  if (shape.size() != 2 || shape[1] < 1)
    throw std::invalid_argument(std::string(op) + ": " + argument + " must have shape (N, C) with C >= 1, got " +
                                std::string(py::str(array.attr("shape"))));
  check_array(op, argument, array, dtype, shape);
  return shape;
}

void cross_entropy(const py::array& logits, const py::array& labels, py::array losses, OptionalArray grad,
                   double grad_scale) {
  const char* op = "softmax_cross_entropy";
  const DType dtype = dtype_of(op, "logits", logits);
  const Sizes shape = check_rows(op, "logits", logits, dtype);
  const std::int64_t n = shape[0], classes = shape[1];
  check_int64(op, "labels", labels, {n});
  check_output(op, "losses", losses, dtype, {n});
  check_no_overlap(op, "losses", losses, "logits", logits);
  check_no_overlap(op, "losses", losses, "labels", labels);
  if (grad) {
    check_output(op, "grad", *grad, dtype, shape);
    check_no_overlap(op, "grad", *grad, "logits", logits);
    check_no_overlap(op, "grad", *grad, "labels", labels);
    check_no_overlap(op, "grad", *grad, "losses", losses);
  }
  const std::int64_t* label = data<std::int64_t>(labels);
  const std::int64_t bad = first_bad_label(label, n, classes);
  if (bad < n)
    throw std::invalid_argument(std::string(op) + ": labels must be in [0, " + std::to_string(classes) + "), got " +
                                std::to_string(label[bad]) + " at index " + std::to_string(bad));
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    softmax_cross_entropy(data<T>(logits), label, n, classes, static_cast<T>(grad_scale), mutable_data<T>(losses),
                          mutable_data_or_null<T>(grad));
  });
}

double squared_error(const py::array& input, const py::array& target, OptionalArray grad, double grad_scale) {
  const char* op = "mean_squared_error";
  const DType dtype = dtype_of(op, "input", input);
  const Sizes shape = shape_of(input);
  check_array(op, "input", input, dtype, shape);
  check_array(op, "target", target, dtype, shape);
  if (grad) {
    check_output(op, "grad", *grad, dtype, shape);
    check_no_overlap(op, "grad", *grad, "input", input, true);
    check_no_overlap(op, "grad", *grad, "target", target, true);
  }
  return dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    return mean_squared_error(data<T>(input), data<T>(target), input.size(), static_cast<T>(grad_scale),
                              mutable_data_or_null<T>(grad));
  });
}

}  // namespace

void bind_loss(py::module_& m) {
  m.def("softmax_cross_entropy", &cross_entropy, py::arg("logits"), py::arg("labels"), py::arg("losses"),
        py::arg("grad").none(true), py::arg("grad_scale"));
  m.def("mean_squared_error", &squared_error, py::arg("input"), py::arg("target"), py::arg("grad").none(true),
        py::arg("grad_scale"));
}

}  // namespace bindings
}  // namespace fastconv
