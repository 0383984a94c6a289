// Convolution of images with few channels, from either layout, and which kind of kernel a convolution takes.
#include "cuda/stem_conv2d.h"

#include "cuda/bindings/buffers.h"
#include "cuda/conv2d_kind.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }

void forward(const Conv2dShape& shape, Address input, Address weight, Address bias, Address output, bool planar,
             bool relu, const std::string& dtype, Address stream) {
  const char* op = "stem_conv2d";
  const ElementType type = parse_element_type(op, dtype);
  if (shape.groups != 1 || shape.ic > kMostStemChannels)
    throw std::invalid_argument("stem_conv2d: input must have 1 to 4 channels in one group, got " +
                                std::to_string(shape.ic) + " in " + std::to_string(shape.groups));
  if (!stem_conv2d_takes(shape))
    throw std::invalid_argument(
        "stem_conv2d: the image under a tile must fit 48 KB; for so large a filter, stride or "
        "dilation use conv2d");
  const Buffer x = buffer(op, "input", input, count(shape.input_shape()), type);
  const Buffer w = buffer(op, "weight", weight, count(shape.weight_shape()), type);
  const Buffer b = buffer(op, "bias", bias, bias ? shape.oc : 0, type);
  const Buffer y = buffer(op, "out", output, count(shape.output_shape()), type);
  for (const Buffer& read : {x, w, b}) check_no_overlap(op, y, read);
  const py::gil_scoped_release release;
  stem_conv2d_forward(shape, type, pointer<void>(x), planar, pointer<void>(w), pointer<void>(b), pointer<void>(y), relu,
                      as_stream(stream));
}

std::int64_t weight_workspace_bytes(const Conv2dShape& shape) {
  if (!stem_conv2d_backward_weight_takes(shape))
    throw std::invalid_argument(
        "stem_conv2d_backward_weight: input must have 1 to 4 channels in one group, and the image under 4 outputs must "
        "fit 24 KB; for others use conv2d_backward_weight");
  return stem_conv2d_backward_weight_workspace(shape);
}

void backward_weight(const Conv2dShape& shape, Address input, Address grad_output, Address grad_weight,
                     Address workspace, std::int64_t workspace_bytes, bool planar, bool accumulate, Address stream) {
  const char* op = "stem_conv2d_backward_weight";
  const std::int64_t needed = weight_workspace_bytes(shape);
  if (workspace_bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(workspace_bytes));
  const Buffer x = buffer<float>(op, "input", input, count(shape.input_shape()));
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count(shape.output_shape()));
  const Buffer gw = buffer<float>(op, "out", grad_weight, count(shape.weight_shape()));
  const Buffer work = buffer<float>(op, "workspace", workspace, needed / static_cast<int>(sizeof(float)));
  for (const Buffer& read : {x, gy}) check_no_overlap(op, gw, read), check_no_overlap(op, work, read);
  check_no_overlap(op, work, gw);
  const py::gil_scoped_release release;
  stem_conv2d_backward_weight(shape, pointer<float>(x), planar, pointer<float>(gy), pointer<float>(gw),
                              pointer<void>(work), accumulate, as_stream(stream));
}

}  // namespace

void bind_stem_conv2d(py::module_& m) {
  m.def("explain_conv2d_kind", &explain_conv2d_kind, py::arg("shape"));
  m.def("stem_conv2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("planar"), py::arg("relu"), py::arg("dtype") = "float32",
        py::arg("stream"));
  m.def("stem_conv2d_backward_weight_workspace_bytes", &weight_workspace_bytes, py::arg("shape"));
  m.def("stem_conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"), py::arg("grad_output"),
        py::arg("grad_weight"), py::arg("workspace"), py::arg("workspace_bytes"), py::kw_only(), py::arg("planar"),
        py::arg("accumulate"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
