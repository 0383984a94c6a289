// Convolution on tensor cores: activations (N, H, W, C), weights (O, KH, KW, C/groups), all of one element type.
#include "cuda/bindings/buffers.h"
#include "cuda/conv2d_mma.h"
#include "cuda/mma_probe.h"

namespace fastconv {
namespace cuda {

namespace {

void forward(const Conv2dShape& shape, Address input, Address weight, Address bias, Address output,
             const std::string& dtype, const std::string& precision, bool relu, Address stream) {
  const char* op = "conv2d";
  const ElementType type = parse_element_type(op, dtype);
  const Precision how = parse_precision(op, type, precision);
  const auto of = [&](const char* name, Address at, const Shape4& s) {
    const std::int64_t count = s[0] * s[1] * s[2] * s[3];
    return type == ElementType::kFloat32 ? buffer<float>(op, name, at, count)
                                         : buffer<std::uint16_t>(op, name, at, count);
  };
  const Buffer x = of("input", input, shape.input_shape()), w = of("weight", weight, shape.weight_shape());
  const Buffer b = of("bias", bias, {bias ? shape.oc : 0, 1, 1, 1}), y = of("out", output, shape.output_shape());
  for (const Buffer& read : {x, w, b}) check_no_overlap(op, y, read);
  const py::gil_scoped_release release;
  conv2d_forward_mma(shape, type, how, pointer<void>(x), pointer<void>(w), pointer<void>(b), pointer<void>(y), relu,
                     as_stream(stream));
}

std::string choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool aligned,
                   int compute_capability) {
  const ElementType type = parse_element_type("conv2d", dtype);
  return choose_conv2d_forward(shape, type, parse_precision("conv2d", type, precision), aligned, compute_capability)
      .name();
}

void probe(const std::string& instruction, Address a, Address b, Address d, Address stream) {
  const char* op = "probe_mma";
  const Buffer words[] = {buffer<std::uint32_t>(op, "a", a, 128), buffer<std::uint32_t>(op, "b", b, 64),
                          buffer<float>(op, "d", d, 128)};
  probe_mma(instruction, pointer<std::uint32_t>(words[0]), pointer<std::uint32_t>(words[1]), pointer<float>(words[2]),
            as_stream(stream));
}

}  // namespace

void bind_conv2d_mma(py::module_& m) {
  m.def("conv2d_forward_mma", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("dtype"), py::arg("precision"), py::arg("relu"), py::arg("stream"));
  m.def("conv2d_forward_choice", &choice, py::arg("shape"), py::kw_only(), py::arg("dtype"), py::arg("precision"),
        py::arg("aligned"), py::arg("compute_capability"));
  m.def("probe_mma", &probe, py::arg("instruction"), py::arg("a"), py::arg("b"), py::arg("d"), py::kw_only(),
        py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
