// Convolution: activations (N, H, W, C), weights (O, KH, KW, C/groups), float32.
#include "cuda/conv2d.h"

#include "core/checked_math.h"
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
  const Buffer y = buffer<float>(op, "out", output, count(shape.output_shape()));
  for (const Buffer& read : {x, w, b}) check_no_overlap(op, y, read);
  const py::gil_scoped_release release;
  conv2d_forward(shape, pointer<float>(x), pointer<float>(w), pointer<float>(b), pointer<float>(y), relu,
                 as_stream(stream));
}

// A bit for each of so many elements, or nothing.
Buffer mask_buffer(const char* op, Address mask, std::int64_t elements) {
  return buffer<std::uint32_t>(op, "mask", mask, mask ? ceil_div(elements, 32) : 0);
}

// A workspace of at least so many bytes.
Buffer workspace_buffer(const char* op, Address workspace, std::int64_t bytes, std::int64_t needed) {
  if (bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(bytes));
  return buffer<float>(op, "workspace", workspace, ceil_div(needed, static_cast<std::int64_t>(sizeof(float))));
}

void backward_weight(const Conv2dShape& shape, Address input, Address grad_output, Address grad_weight,
                     Address workspace, std::int64_t workspace_bytes, bool accumulate, Address stream) {
  const char* op = "conv2d_backward_weight";
  const Buffer x = buffer<float>(op, "input", input, count(shape.input_shape()));
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count(shape.output_shape()));
  const Buffer gw = buffer<float>(op, "out", grad_weight, count(shape.weight_shape()));
  const Buffer work = workspace_buffer(op, workspace, workspace_bytes, conv2d_backward_weight_workspace_bytes(shape));
  for (const Buffer& read : {x, gy}) check_no_overlap(op, gw, read), check_no_overlap(op, work, read);
  check_no_overlap(op, work, gw);
  const py::gil_scoped_release release;
  conv2d_backward_weight(shape, pointer<float>(x), pointer<float>(gy), pointer<float>(gw), pointer<void>(work),
                         accumulate, as_stream(stream));
}

void backward_bias(std::int64_t pixels, std::int64_t channels, Address grad_output, Address mask, Address masked,
                   Address grad_bias, Address workspace, std::int64_t workspace_bytes, bool accumulate,
                   Address stream) {
  const char* op = "conv2d_backward_bias";
  if (pixels < 0 || channels < 1)
    throw std::invalid_argument(std::string(op) + ": pixels must be >= 0 and channels >= 1, got " +
                                std::to_string(pixels) + " and " + std::to_string(channels));
  if (masked && !mask) throw std::invalid_argument(std::string(op) + ": masked needs a mask, got none");
  const std::int64_t elements = checked_mul(pixels, channels, op);
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, elements);
  const Buffer bits = mask_buffer(op, mask, elements);
  const Buffer gz = buffer<float>(op, "masked", masked, masked ? elements : 0);
  const Buffer gb = buffer<float>(op, "out", grad_bias, channels);
  const Buffer work =
      workspace_buffer(op, workspace, workspace_bytes, conv2d_backward_bias_workspace_bytes(pixels, channels));
  if (gz.address != gy.address) check_no_overlap(op, gz, gy);
  for (const Buffer& read : {gy, bits}) check_no_overlap(op, gb, read), check_no_overlap(op, work, read);
  check_no_overlap(op, gz, bits), check_no_overlap(op, gb, gz);
  check_no_overlap(op, work, gz), check_no_overlap(op, work, gb);
  const py::gil_scoped_release release;
  conv2d_backward_bias(pointer<float>(gy), pixels, channels, pointer<std::uint32_t>(bits), pointer<float>(gz),
                       pointer<float>(gb), pointer<void>(work), accumulate, as_stream(stream));
}

}  // namespace

void bind_conv2d(py::module_& m) {
  m.def("conv2d_forward", &forward, py::arg("shape"), py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("output"), py::kw_only(), py::arg("relu"), py::arg("stream"));
  m.def("conv2d_backward_weight_workspace_bytes", &conv2d_backward_weight_workspace_bytes, py::arg("shape"));
  m.def("conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"), py::arg("grad_output"),
        py::arg("grad_weight"), py::arg("workspace"), py::arg("workspace_bytes"), py::kw_only(), py::arg("accumulate"),
        py::arg("stream"));
  m.def("conv2d_backward_bias_workspace_bytes", &conv2d_backward_bias_workspace_bytes, py::arg("pixels"),
        py::arg("channels"));
  m.def("conv2d_backward_bias", &backward_bias, py::arg("pixels"), py::arg("channels"), py::arg("grad_output"),
        py::arg("mask"), py::arg("masked"), py::arg("grad_bias"), py::arg("workspace"), py::arg("workspace_bytes"),
        py::kw_only(), py::arg("accumulate"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
