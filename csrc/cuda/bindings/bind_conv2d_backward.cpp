// Gradients of convolution: activations (N, H, W, C), weights (O, KH, KW, C/groups), all of one element type.
#include "core/checked_math.h"
#include "cuda/bindings/plan.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_backward_mma.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t count(const Shape4& s) { return s[0] * s[1] * s[2] * s[3]; }

// A bit for each of so many elements, or nothing.
Buffer mask_buffer(const char* op, Address mask, std::int64_t elements) {
  return buffer<std::uint32_t>(op, "mask", mask, mask ? ceil_div(elements, 32) : 0);
}

void check_workspace(const char* op, std::int64_t bytes, std::int64_t needed) {
  if (bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(bytes));
}

// Addresses: grad_output, weight, mask, result, and the workspace where it has bytes.
Plan backward_input_plan(const Conv2dShape& shape, const std::string& dtype, const std::string& precision,
                         std::int64_t workspace_bytes, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype);
  const Precision how = parse_precision(name.c_str(), type, precision);
  return {workspace_bytes ? 5 : 4, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer gy = buffer(op, "grad_output", at[0], count(shape.output_shape()), type);
            const Buffer w = buffer(op, "weight", at[1], count(shape.weight_shape()), type);
            const Buffer bits = mask_buffer(op, at[2], count(shape.input_shape()));
            const Buffer gx = buffer(op, "out", at[3], count(shape.input_shape()), type);
            const Buffer work = workspace_buffer(op, workspace_bytes ? at[4] : 0, workspace_bytes);
            for (const Buffer& read : {w, gy, bits}) check_no_overlap(op, gx, read), check_no_overlap(op, work, read);
            check_no_overlap(op, work, gx);
            const py::gil_scoped_release release;
            conv2d_backward_input_mma(shape, type, how, pointer<void>(w), pointer<void>(gy),
                                      pointer<std::uint32_t>(bits), pointer<void>(gx),
                                      {pointer<void>(work), workspace_bytes}, stream);
          }};
}

void backward_input(const Conv2dShape& shape, Address weight, Address grad_output, Address mask, Address grad_input,
                    const std::string& dtype, const std::string& precision, Address workspace,
                    std::int64_t workspace_bytes, Address stream) {
  const Address at[] = {grad_output, weight, mask, grad_input, workspace};
  backward_input_plan(shape, dtype, precision, workspace_bytes, "conv2d_backward_input")(at, stream);
}

std::int64_t input_workspace_bytes(const Conv2dShape& shape, const std::string& dtype, const std::string& precision) {
  const char* op = "conv2d_backward_input";
  const ElementType type = parse_element_type(op, dtype);
  return conv2d_backward_input_mma_workspace_bytes(shape, type, parse_precision(op, type, precision));
}

std::string input_choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool aligned,
                         int compute_capability, int multiprocessors) {
  const char* op = "conv2d_backward_input";
  const ElementType type = parse_element_type(op, dtype);
  return choose_conv2d_backward_input(shape, type, parse_precision(op, type, precision), aligned, compute_capability,
                                      multiprocessors)
      .name();
}

std::int64_t weight_workspace_bytes(const Conv2dShape& shape, const std::string& dtype, const std::string& precision) {
  const char* op = "conv2d_backward_weight";
  const ElementType type = parse_element_type(op, dtype);
  return conv2d_backward_weight_mma_workspace_bytes(shape, type, parse_precision(op, type, precision));
}

// Addresses: input, grad_output, workspace, result, and a workspace that was made for it where none was given. Whoever
// calls has seen to their size.
Plan backward_weight_plan(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool wide,
                          bool accumulate, const std::string& name) {
  const ElementType type = parse_element_type(name.c_str(), dtype), result = wide ? ElementType::kFloat32 : type;
  const Precision how = parse_precision(name.c_str(), type, precision);
  const std::int64_t needed = conv2d_backward_weight_mma_workspace_bytes(shape, type, how);
  return {5, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer x = buffer(op, "input", at[0], count(shape.input_shape()), type);
            const Buffer gy = buffer(op, "grad_output", at[1], count(shape.output_shape()), type);
            const Buffer gw = buffer(op, "out", at[3], count(shape.weight_shape()), result);
            const Buffer work = workspace_buffer(op, at[2] ? at[2] : at[4], needed);
            for (const Buffer& read : {x, gy}) check_no_overlap(op, gw, read), check_no_overlap(op, work, read);
            check_no_overlap(op, work, gw);
            const py::gil_scoped_release release;
            conv2d_backward_weight_mma(shape, type, how, pointer<void>(x), pointer<void>(gy), pointer<void>(gw), wide,
                                       pointer<void>(work), accumulate, stream);
          }};
}

void backward_weight(const Conv2dShape& shape, Address input, Address grad_output, Address grad_weight,
                     Address workspace, std::int64_t workspace_bytes, const std::string& dtype,
                     const std::string& precision, bool wide, bool accumulate, Address stream) {
  const char* op = "conv2d_backward_weight";
  const Plan plan = backward_weight_plan(shape, dtype, precision, wide, accumulate, op);
  check_workspace(op, workspace_bytes, weight_workspace_bytes(shape, dtype, precision));
  const Address at[] = {input, grad_output, workspace, grad_weight, 0};
  plan(at, stream);
}

std::string weight_choice(const Conv2dShape& shape, const std::string& dtype, const std::string& precision,
                          bool aligned, int compute_capability) {
  const char* op = "conv2d_backward_weight";
  const ElementType type = parse_element_type(op, dtype);
  return choose_conv2d_backward_weight(shape, type, parse_precision(op, type, precision), aligned, compute_capability)
      .name();
}

std::int64_t bias_workspace_bytes(std::int64_t pixels, std::int64_t channels, const std::string& dtype) {
  const ElementType type = parse_element_type("conv2d_backward_bias", dtype);
  return conv2d_backward_bias_workspace_bytes(pixels, channels, bytes_of(type));
}

// Addresses: grad_output, mask, masked, workspace, result, and a workspace as for the gradient of the weight.
Plan backward_bias_plan(std::int64_t pixels, std::int64_t channels, const std::string& dtype, bool wide,
                        bool accumulate, const std::string& name) {
  if (pixels < 0 || channels < 1)
    throw std::invalid_argument(name + ": pixels must be >= 0 and channels >= 1, got " + std::to_string(pixels) +
                                " and " + std::to_string(channels));
  const ElementType type = parse_element_type(name.c_str(), dtype), result = wide ? ElementType::kFloat32 : type;
  const std::int64_t elements = checked_mul(pixels, channels, name.c_str());
  const std::int64_t needed = conv2d_backward_bias_workspace_bytes(pixels, channels, bytes_of(type));
  return {6, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Address mask = at[1], masked = at[2];
            if (masked && !mask) throw std::invalid_argument(name + ": masked needs a mask, got none");
            const Buffer gy = buffer(op, "grad_output", at[0], elements, type);
            const Buffer bits = mask_buffer(op, mask, elements);
            const Buffer gz = buffer(op, "masked", masked, masked ? elements : 0, type);
            const Buffer gb = buffer(op, "out", at[4], channels, result);
            const Buffer work = workspace_buffer(op, at[3] ? at[3] : at[5], needed);
            if (gz.address != gy.address) check_no_overlap(op, gz, gy);
            for (const Buffer& read : {gy, bits}) check_no_overlap(op, gb, read), check_no_overlap(op, work, read);
            check_no_overlap(op, gz, bits), check_no_overlap(op, gb, gz);
            check_no_overlap(op, work, gz), check_no_overlap(op, work, gb);
            const py::gil_scoped_release release;
            with_element(type, [&](auto element) {
              using T = decltype(element);
              conv2d_backward_bias(pointer<const T>(gy), pixels, channels, pointer<std::uint32_t>(bits), pointer<T>(gz),
                                   pointer<void>(gb), wide, pointer<void>(work), accumulate, stream);
            });
          }};
}

void backward_bias(std::int64_t pixels, std::int64_t channels, Address grad_output, Address mask, Address masked,
                   Address grad_bias, Address workspace, std::int64_t workspace_bytes, const std::string& dtype,
                   bool wide, bool accumulate, Address stream) {
  const char* op = "conv2d_backward_bias";
  const Plan plan = backward_bias_plan(pixels, channels, dtype, wide, accumulate, op);
  check_workspace(op, workspace_bytes, bias_workspace_bytes(pixels, channels, dtype));
  const Address at[] = {grad_output, mask, masked, workspace, grad_bias, 0};
  plan(at, stream);
}

}  // namespace

void bind_conv2d_backward(py::module_& m) {
  m.def("plan_conv2d_backward_input", &backward_input_plan, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("workspace_bytes") = 0, py::arg("op"));
  m.def("plan_conv2d_backward_weight", &backward_weight_plan, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("wide"), py::arg("accumulate"), py::arg("op"));
  m.def("plan_conv2d_backward_bias", &backward_bias_plan, py::arg("pixels"), py::arg("channels"), py::kw_only(),
        py::arg("dtype"), py::arg("wide"), py::arg("accumulate"), py::arg("op"));
  m.def("conv2d_backward_input", &backward_input, py::arg("shape"), py::arg("weight"), py::arg("grad_output"),
        py::arg("mask"), py::arg("grad_input"), py::kw_only(), py::arg("dtype") = "float32", py::arg("precision") = "",
        py::arg("workspace") = 0, py::arg("workspace_bytes") = 0, py::arg("stream"));
  m.def("conv2d_backward_input_workspace_bytes", &input_workspace_bytes, py::arg("shape"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "");
  m.def("conv2d_backward_input_choice", &input_choice, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("aligned"), py::arg("compute_capability"), py::arg("multiprocessors") = 0);
  m.def("conv2d_backward_weight_workspace_bytes", &weight_workspace_bytes, py::arg("shape"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "");
  m.def("conv2d_backward_weight", &backward_weight, py::arg("shape"), py::arg("input"), py::arg("grad_output"),
        py::arg("grad_weight"), py::arg("workspace"), py::arg("workspace_bytes"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("precision") = "", py::arg("wide") = false, py::arg("accumulate"),
        py::arg("stream"));
  m.def("conv2d_backward_weight_choice", &weight_choice, py::arg("shape"), py::kw_only(), py::arg("dtype"),
        py::arg("precision"), py::arg("aligned"), py::arg("compute_capability"));
  m.def("conv2d_backward_bias_workspace_bytes", &bias_workspace_bytes, py::arg("pixels"), py::arg("channels"),
        py::kw_only(), py::arg("dtype") = "float32");
  m.def("conv2d_backward_bias", &backward_bias, py::arg("pixels"), py::arg("channels"), py::arg("grad_output"),
        py::arg("mask"), py::arg("masked"), py::arg("grad_bias"), py::arg("workspace"), py::arg("workspace_bytes"),
        py::kw_only(), py::arg("dtype") = "float32", py::arg("wide") = false, py::arg("accumulate"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
