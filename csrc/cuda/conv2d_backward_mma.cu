// Which kernels compute gradients, and the way to them.
#include "cuda/conv2d_backward_mma.h"

#include "cuda/conv2d.h"
#include "cuda/conv2d_backward_input.h"
#include "cuda/conv2d_backward_weight.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/devices.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

namespace {

bool is_depthwise(const Conv2dShape& shape) { return conv2d_kind(shape) == Conv2dKind::depthwise; }

// Without a sum over channels nothing fills a tensor core: depthwise layers are multiplied exactly, and so is all
// float32 where there is no TF32.
bool is_exact(const Conv2dShape& shape, ElementType type, Precision precision, int compute_capability) {
  return is_depthwise(shape) ||
         (type == ElementType::kFloat32 && (precision == Precision::kIeee || compute_capability < 80));
}

bool in_pieces(const Conv2dShape& shape, ElementType type) {
  return shape.icg() * bytes_of(type) % 16 == 0 && shape.ocg() * bytes_of(type) % 16 == 0;
}

// The slices are the same whether channels and addresses come in pieces or not.
WeightPlan plan_on_tensor_cores(const Conv2dShape& s, ElementType type) {
  const int rows = s.ocg() <= 32 && in_pieces(s, type) ? 32 : s.ocg() <= 64 || !in_pieces(s, type) ? 64 : 128;
  return plan_backward_weight(s, rows, rows == 128 && s.kh * s.kw * s.icg() <= 64 ? 64 : 128);
}

// One block for each of the 132 SMs of an H200: it has all of the shared memory.
WeightPlan plan_on_wgmma(const Conv2dShape& s) {
  const Conv2dBackwardChoice choice = choose_conv2d_backward_weight_wgmma(s);
  return plan_backward_weight(s, choice.rows, choice.columns, s.kh * s.kw * round_up(s.ic, 64), 132);
}

template <class Function>
Function* of_kind(ElementType type, Precision precision, Function* tf32, Function* tf32x3, Function* float16,
                  Function* bfloat16) {
  if (type == ElementType::kFloat16) return float16;
  if (type == ElementType::kBFloat16) return bfloat16;
  return precision == Precision::kTf32 ? tf32 : tf32x3;
}

}  // namespace

std::string Conv2dBackwardChoice::name() const {
  if (!tensor_cores) return kernel;
  const std::string copies = wgmma ? "boxes by TMA" : std::to_string(copy_bytes) + " bytes a copy";
  return std::string(kernel) + " " + std::to_string(rows) + "x" + std::to_string(columns) + ", " + copies + ", " +
         std::to_string(stages) + " stages";
}

Conv2dBackwardChoice choose_conv2d_backward_input(const Conv2dShape& shape, ElementType type, Precision precision,
                                                  bool aligned, int compute_capability, int multiprocessors) {
  if (is_exact(shape, type, precision, compute_capability))
    return {is_depthwise(shape) ? "depthwise_conv2d_backward_input" : "conv2d_backward_input_simt", false, 0, 0, 0, 0};
  check_tensor_cores("conv2d_backward_input", type, compute_capability);
  if (!conv2d_backward_input_wgmma_refuses(shape, type, precision, aligned, compute_capability))
    return choose_conv2d_backward_input_wgmma(shape);
  const int stages = mma_stages(compute_capability);
  if (!aligned || !in_pieces(shape, type))
    return {"conv2d_backward_input_mma", true, 128, 64, static_cast<int>(bytes_of(type)), stages};
  const PhaseAxis h = phase_axis(shape.ih, shape.oh, shape.kh, shape.stride_h, shape.pad_top, shape.dilation_h);
  const PhaseAxis w = phase_axis(shape.iw, shape.ow, shape.kw, shape.stride_w, shape.pad_left, shape.dilation_w);
  const std::int64_t row_tiles = ceil_div(shape.n * h.most_pixels * w.most_pixels, 128) * shape.groups;
  const int columns = mma_columns(shape.icg(), row_tiles * h.stride * w.stride, multiprocessors);
  return {"conv2d_backward_input_mma", true, 128, columns, 16, stages};
}

std::int64_t conv2d_backward_input_mma_workspace_bytes(const Conv2dShape& shape, ElementType type,
                                                       Precision precision) {
  const bool exact = type == ElementType::kFloat32 && is_exact(shape, type, precision, current_compute_capability());
  return exact ? conv2d_backward_input_workspace_bytes(shape) : 0;
}

void conv2d_backward_input_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* weight,
                               const void* grad_output, const std::uint32_t* mask, void* grad_input,
                               Workspace workspace, Stream stream) {
  const bool whole_pieces = aligned(weight, 16) && aligned(grad_output, 16);
  const Conv2dBackwardChoice choice = choose_conv2d_backward_input(
      shape, type, precision, whole_pieces, current_compute_capability(), current_multiprocessors());
  if (is_depthwise(shape))
    return depthwise_conv2d_backward_input(shape, type, weight, grad_output, mask, grad_input, stream);
  if (!choice.tensor_cores)
    return conv2d_backward_input(shape, static_cast<const float*>(weight), static_cast<const float*>(grad_output), mask,
                                 static_cast<float*>(grad_input), workspace, stream);
  Conv2dBackwardInputMma* backward =
      of_kind(type, precision, conv2d_backward_input_mma_tf32, conv2d_backward_input_mma_tf32x3,
              conv2d_backward_input_mma_float16, conv2d_backward_input_mma_bfloat16);
#if defined(FASTCONV_HOPPER)
  if (choice.wgmma)
    backward =
        type == ElementType::kFloat16 ? conv2d_backward_input_wgmma_float16 : conv2d_backward_input_wgmma_bfloat16;
#endif
  backward(shape, choice, weight, grad_output, mask, grad_input, stream);
}

Conv2dBackwardChoice choose_conv2d_backward_weight(const Conv2dShape& shape, ElementType type, Precision precision,
                                                   bool aligned, int compute_capability) {
  if (is_exact(shape, type, precision, compute_capability))
    return {is_depthwise(shape)                        ? "depthwise_conv2d_backward_weight"
            : stem_conv2d_backward_weight_takes(shape) ? "stem_conv2d_backward_weight"
                                                       : "conv2d_backward_weight_simt",
            false,
            0,
            0,
            0,
            0};
  check_tensor_cores("conv2d_backward_weight", type, compute_capability);
  if (!conv2d_backward_weight_wgmma_refuses(shape, type, precision, aligned, compute_capability))
    return choose_conv2d_backward_weight_wgmma(shape);
  const int stages = mma_stages(compute_capability);
  if (!aligned || !in_pieces(shape, type))
    return {"conv2d_backward_weight_mma", true, 64, 128, static_cast<int>(bytes_of(type)), stages};
  const WeightPlan plan = plan_on_tensor_cores(shape, type);
  return {"conv2d_backward_weight_mma", true, plan.rows, plan.columns, 16, stages};
}

std::int64_t conv2d_backward_weight_mma_workspace_bytes(const Conv2dShape& shape, ElementType type,
                                                        Precision precision) {
  if (is_depthwise(shape)) return depthwise_conv2d_backward_weight_workspace(shape);
  const bool half = type != ElementType::kFloat32;
  const std::int64_t exact = half ? 0 : conv2d_backward_weight_workspace_bytes(shape);
  if (precision == Precision::kIeee) return exact;
  const bool wgmma = !conv2d_backward_weight_wgmma_refuses(shape, type, precision, true, 90);
  return std::max({exact, backward_weight_workspace(shape, plan_on_tensor_cores(shape, type)),
                   wgmma ? backward_weight_workspace(shape, plan_on_wgmma(shape)) : 0});
}

void conv2d_backward_weight_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* input,
                                const void* grad_output, void* grad_weight, bool wide, void* workspace, bool accumulate,
                                Stream stream) {
  const bool whole_pieces = aligned(input, 16) && aligned(grad_output, 16);
  const Conv2dBackwardChoice choice =
      choose_conv2d_backward_weight(shape, type, precision, whole_pieces, current_compute_capability());
  if (is_depthwise(shape))
    return depthwise_conv2d_backward_weight(shape, type, wide, input, grad_output, grad_weight, workspace, accumulate,
                                            stream);
  if (!choice.tensor_cores)
    return conv2d_backward_weight(shape, static_cast<const float*>(input), static_cast<const float*>(grad_output),
                                  static_cast<float*>(grad_weight), workspace, accumulate, stream);
  const std::int64_t slices = (choice.wgmma ? plan_on_wgmma(shape) : plan_on_tensor_cores(shape, type)).slices;
  Conv2dBackwardWeightMma* backward =
      of_kind(type, precision, conv2d_backward_weight_mma_tf32, conv2d_backward_weight_mma_tf32x3,
              conv2d_backward_weight_mma_float16, conv2d_backward_weight_mma_bfloat16);
#if defined(FASTCONV_HOPPER)
  if (choice.wgmma)
    backward =
        type == ElementType::kFloat16 ? conv2d_backward_weight_wgmma_float16 : conv2d_backward_weight_wgmma_bfloat16;
#endif
  backward(shape, choice, slices, input, grad_output, grad_weight, wide, workspace, accumulate, stream);
}

}  // namespace cuda
}  // namespace fastconv
