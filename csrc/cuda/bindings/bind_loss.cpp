// Softmax cross entropy: logits (rows, classes) float32, labels int32 or int64.
#include "core/checked_math.h"
#include "cuda/bindings/buffers.h"
#include "cuda/loss.h"

namespace fastconv {
namespace cuda {

namespace {

void bind_cross_entropy(Address logits, Address labels, int label_bytes, Address weight, std::int64_t rows,
                        std::int64_t classes, Address workspace, Address loss, Address grad, bool mean,
                        double label_smoothing, std::optional<std::int64_t> ignore_index, Address stream) {
  const char* op = "cross_entropy";
  if (rows < 0 || classes < 1)
    throw std::invalid_argument(std::string(op) + ": input must have shape (N, C) with C >= 1, got (" +
                                std::to_string(rows) + ", " + std::to_string(classes) + ")");
  if (label_bytes != 4 && label_bytes != 8)
    throw std::invalid_argument(std::string(op) + ": labels must have 4 or 8 bytes, got " +
                                std::to_string(label_bytes));
  const std::int64_t count = checked_mul(rows, classes, op);
  const Buffer x = buffer<float>(op, "input", logits, count), g = buffer<float>(op, "grad", grad, grad ? count : 0);
  const Buffer y = label_bytes == 8 ? buffer<std::int64_t>(op, "target", labels, rows)
                                    : buffer<std::int32_t>(op, "target", labels, rows);
  const Buffer w = buffer<float>(op, "weight", weight, weight ? classes : 0);
  const Buffer work = buffer<float>(op, "workspace", workspace, rows + 1), result = buffer<float>(op, "out", loss, 1);
  for (const Buffer& output : {g, work, result})
    for (const Buffer& read : {x, y, w}) check_no_overlap(op, output, read);
  check_no_overlap(op, g, work), check_no_overlap(op, g, result), check_no_overlap(op, work, result);
  CrossEntropyParams p{};
  p.logits = pointer<float>(x), p.labels = pointer<void>(y), p.weight = pointer<float>(w);
  p.losses = pointer<float>(work), p.grad = pointer<float>(g), p.loss = pointer<float>(result);
  if (mean && (weight || ignore_index)) p.divisor = p.losses + rows;
  p.rows = rows, p.classes = classes, p.label_bytes = label_bytes;
  p.ignores = ignore_index.has_value(), p.ignore_index = ignore_index.value_or(0);
  p.share = label_smoothing / static_cast<double>(classes), p.rest = 1 - label_smoothing;
  p.divide_by = mean && rows > 0 ? static_cast<double>(rows) : 1;
  const py::gil_scoped_release release;
  softmax_cross_entropy(p, as_stream(stream));
}

}  // namespace

void bind_loss(py::module_& m) {
  m.def("softmax_cross_entropy", &bind_cross_entropy, py::arg("logits"), py::arg("labels"), py::arg("label_bytes"),
        py::arg("weight"), py::arg("rows"), py::arg("classes"), py::arg("workspace"), py::arg("loss"), py::arg("grad"),
        py::kw_only(), py::arg("mean"), py::arg("label_smoothing"), py::arg("ignore_index").none(true),
        py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
