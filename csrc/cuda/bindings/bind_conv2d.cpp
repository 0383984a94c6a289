// Convolution: activations (N, H, W, C), weights (O, KH, KW, C/groups), float32.
#include "cuda/conv2d.h"

#include "cuda/bindings/buffers.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }

void forward(const Conv2dShape& shape, Address input, Address weight, Address bias, Address output, bool relu,
             Address stream) {
  const char* op = "conv2d";
  const Buffer x = buffer<float>(op, "input", input, count(shape.input_shape()));
  const Buffer w = buffer<float>(op, "weight", weight, count(shape.weight_shape()));
  const Buffer b = buffer<float>(op, "bias", bias, bias ? shape.oc : 0);
  const Buffer y = buffer<float>(op, "output", output, count(shape.output_shape()));
  for (const Buffer& read : {x, w, b}) check_no_overlap(op, y, read);
  const py::gil_scoped_release release;
  conv2d_forward(shape, pointer<float>(x), pointer<float>(w), pointer<float>(b), pointer<float>(y), relu,
                 as_stream(stream));
}

}  // namespace

void bind_conv2d(py::module_& m) {
  m.def("conv2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("relu"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
