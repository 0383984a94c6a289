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

using OptionalIndex = std::optional<std::int64_t>;

const std::int64_t* pointer(const OptionalIndex& index) { return index ? &*index : nullptr; }

void check_labels(const char* op, const std::int64_t* label, std::int64_t n, std::int64_t classes,
                  const OptionalIndex& ignore_index) {
  const std::int64_t bad = first_bad_label(label, n, classes, pointer(ignore_index));
  if (bad < n)
    throw std::invalid_argument(std::string(op) + ": labels must be in [0, " + std::to_string(classes) + ")" +
                                (ignore_index ? " or ignore_index=" + std::to_string(*ignore_index) : "") + ", got " +
                                std::to_string(label[bad]) + " at index " + std::to_string(bad));
}

void cross_entropy(const py::array& logits, const py::array& labels, py::array losses, OptionalArray grad,
                   double grad_scale, const OptionalArray& weight, double label_smoothing, OptionalIndex ignore_index) {
  const char* op = "softmax_cross_entropy";
  const DType dtype = dtype_of(op, "logits", logits);
  const Sizes shape = check_rows(op, "logits", logits, dtype);
  const std::int64_t n = shape[0], classes = shape[1];
  check_int64(op, "labels", labels, {n});
  check_output(op, "losses", losses, dtype, {n});
  check_no_overlap(op, "losses", losses, "logits", logits);
  check_no_overlap(op, "losses", losses, "labels", labels);
  if (weight) check_array(op, "weight", *weight, dtype, {classes});
  if (grad) {
    check_output(op, "grad", *grad, dtype, shape);
    check_no_overlap(op, "grad", *grad, "logits", logits);
    check_no_overlap(op, "grad", *grad, "labels", labels);
    check_no_overlap(op, "grad", *grad, "losses", losses);
  }
  const std::int64_t* label = data<std::int64_t>(labels);
  check_labels(op, label, n, classes, ignore_index);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    const CrossEntropyOptions<T> options{data_or_null<T>(weight), label_smoothing, pointer(ignore_index)};
    softmax_cross_entropy(data<T>(logits), label, n, classes, options, static_cast<T>(grad_scale),
                          mutable_data<T>(losses), mutable_data_or_null<T>(grad));
  });
}

double weight_of_labels(const py::array& labels, std::int64_t classes, const OptionalArray& weight,
                        OptionalIndex ignore_index) {
  const char* op = "label_weight";
  const std::int64_t n = labels.size();
  check_int64(op, "labels", labels, {n});
  const std::int64_t* label = data<std::int64_t>(labels);
  check_labels(op, label, n, classes, ignore_index);
  const DType dtype = weight ? dtype_of(op, "weight", *weight) : DType::float64;
  if (weight) check_array(op, "weight", *weight, dtype, {classes});
  return dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    return label_weight(label, n, data_or_null<T>(weight), pointer(ignore_index));
  });
}

double sum_of_pairs(const std::string& kind, const py::array& input, const py::array& target, OptionalArray grad,
                    double grad_scale, double parameter) {
  const char* op = "pair_loss";
  const char* const names[] = {"squared", "absolute", "huber", "binary_logits", "binary"};
  int chosen = 0;
  while (chosen < 5 && kind != names[chosen]) ++chosen;
  if (chosen == 5)
    throw std::invalid_argument(std::string(op) +
                                ": kind must be one of 'squared', 'absolute', 'huber', 'binary_logits', 'binary', "
                                "got '" +
                                kind + "'");
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
    return pair_loss(static_cast<PairLoss>(chosen), data<T>(input), data<T>(target), input.size(), parameter,
                     static_cast<T>(grad_scale), mutable_data_or_null<T>(grad));
  });
}

}  // namespace

void bind_loss(py::module_& m) {
  m.def("softmax_cross_entropy", &cross_entropy, py::arg("logits"), py::arg("labels"), py::arg("losses"),
        py::arg("grad").none(true), py::arg("grad_scale"), py::kw_only(), py::arg("weight") = py::none(),
        py::arg("label_smoothing") = 0.0, py::arg("ignore_index") = py::none());
  m.def("label_weight", &weight_of_labels, py::arg("labels"), py::arg("classes"), py::arg("weight").none(true),
        py::arg("ignore_index").none(true));
  m.def("pair_loss", &sum_of_pairs, py::arg("kind"), py::arg("input"), py::arg("target"), py::arg("grad").none(true),
        py::arg("grad_scale"), py::arg("parameter") = 0.0);
}

}  // namespace bindings
}  // namespace fastconv
