// Convolution on tensor cores: activations (N, H, W, C), weights (O, KH, KW, C/groups), all of one element type.
#include "cuda/bindings/plan.h"
#include "cuda/conv2d_mma.h"
#include "cuda/conv2d_simt_plan.h"
#include "cuda/mma_probe.h"

namespace fastconv {
namespace cuda {

namespace {

// Addresses: input, weight, bias, output, and the workspace where it has bytes.
Plan forward_plan(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool relu,
                  std::int64_t workspace_bytes, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  const Precision how = parse_precision(name.c_str(), type, precision);
  return {workspace_bytes ? 5 : 4, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const auto of = [&](const char* array, Address address, const Shape4& s) {
              return buffer(op, array, address, s[0] * s[1] * s[2] * s[3], type);
            };
            const Buffer x = of("input", at[0], shape.input_shape()), w = of("weight", at[1], shape.weight_shape());
            const Buffer b = of("bias", at[2], {at[2] ? shape.oc : 0, 1, 1, 1});
            const Buffer y = of("out", at[3], shape.output_shape());
            const Buffer work = workspace_buffer(op, workspace_bytes ? at[4] : 0, workspace_bytes);
            for (const Buffer& read : {x, w, b}) check_no_overlap(op, y, read), check_no_overlap(op, work, read);
            check_no_overlap(op, work, y);
            const py::gil_scoped_release release;
            conv2d_forward_mma(shape, type, how, pointer<void>(x), pointer<void>(w), pointer<void>(b), pointer<void>(y),
                               relu, {pointer<void>(work), work.bytes}, stream);
          }};
}

void forward(const Conv2dShape& shape, Address input, Address weight, Address bias, Address output,
             const std::string& dtype, const std::string& precision, bool relu, Address workspace,
             std::int64_t workspace_bytes, Address stream) {
  const Address at[] = {input, weight, bias, output, workspace};
  forward_plan(shape, dtype, precision, relu, workspace_bytes, "conv2d")(at, stream);
}

std::int64_t workspace_bytes(const Conv2dShape& shape, const std::string& dtype, const std::string& precision) {
  const ElementType type = parse_element_type("conv2d", dtype);
  return conv2d_forward_mma_workspace_bytes(shape, type, parse_precision("conv2d", type, precision));
}

std::string choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool aligned,
                   int compute_capability, int multiprocessors) {
  const ElementType type = parse_element_type("conv2d", dtype);
  return choose_conv2d_forward(shape, type, parse_precision("conv2d", type, precision), aligned, compute_capability,
                               multiprocessors)
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
  m.def("plan_conv2d_forward", &forward_plan, py::arg("shape"), py::kw_only(), py::arg("dtype"), py::arg("precision"),
        py::arg("relu"), py::arg("workspace_bytes") = 0, py::arg("op"));
  m.def("conv2d_forward_mma", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("dtype"), py::arg("precision"), py::arg("relu"),
        py::arg("workspace") = 0, py::arg("workspace_bytes") = 0, py::arg("stream"));
  m.def("conv2d_forward_workspace_bytes", &workspace_bytes, py::arg("shape"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "");
  m.def("explain_conv2d_simt", &explain_simt, py::arg("shape"), py::kw_only(), py::arg("backward_input"),
        py::arg("multiprocessors"));
  m.def("conv2d_forward_choice", &choice, py::arg("shape"), py::kw_only(), py::arg("dtype"), py::arg("precision"),
        py::arg("aligned"), py::arg("compute_capability"), py::arg("multiprocessors") = 0);
  m.def("probe_mma", &probe, py::arg("instruction"), py::arg("a"), py::arg("b"), py::arg("d"), py::kw_only(),
        py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
