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

}  // namespace

void bind_stem_conv2d(py::module_& m) {
  m.def("explain_conv2d_kind", &explain_conv2d_kind, py::arg("shape"));
  m.def("stem_conv2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("planar"), py::arg("relu"), py::arg("dtype") = "float32",
        py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
