// Which kernel computes a forward pass, and the way to it.
#include <stdexcept>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/conv2d_kind.h"
#include "cuda/conv2d_mma.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/depthwise_conv2d.h"
#include "cuda/devices.h"
#include "cuda/error.h"

namespace fastconv {
namespace cuda {

Precision parse_precision(const char* op, ElementType type, const std::string& precision) {
  const bool half = type != ElementType::kFloat32;
  if (precision.empty()) return half ? Precision::kNative : Precision::kIeee;
  const bool known = precision == "ieee" || precision == "tf32" || precision == "tf32x3";
  if (!known)
    throw std::invalid_argument(std::string(op) + ": precision must be 'ieee', 'tf32', 'tf32x3' or None, got '" +
                                precision + "'");
  if (half)
    throw std::invalid_argument(std::string(op) + ": precision='" + precision +
                                "' is for float32 arrays; leave it out for float16 and bfloat16");
  return precision == "ieee" ? Precision::kIeee : precision == "tf32" ? Precision::kTf32 : Precision::kTf32x3;
}

void check_tensor_cores(const char* op, ElementType type, int compute_capability) {
  if (compute_capability < (type == ElementType::kFloat16 ? 75 : 80))
    throw CudaError(std::string(op) + ": this GPU has compute capability " + std::to_string(compute_capability / 10) +
                    "." + std::to_string(compute_capability % 10) + ", but float16 needs 7.5 and bfloat16 8.0");
}

// 99 KB of shared memory is what every GPU has from sm_80 on, sm_75 has 64.
int mma_stages(int compute_capability) { return compute_capability < 80 ? 2 : 3; }

int mma_columns(std::int64_t channels, std::int64_t row_tiles, int multiprocessors) {
  int columns = channels > 64 ? 128 : channels > 32 ? 64 : 32;
  while (columns > 32 && row_tiles * ceil_div(channels, columns / 2) <= multiprocessors) columns /= 2;
  return columns;
}

std::string Conv2dForwardChoice::name() const {
  if (!tensor_cores) return kernel;
  const std::string copies = wgmma ? "boxes by TMA" : std::to_string(copy_bytes) + " bytes a copy";
  return std::string(kernel) + " 128x" + std::to_string(columns) + ", " + copies + ", " + std::to_string(stages) +
         " stages";
}

Conv2dForwardChoice choose_conv2d_forward(const Conv2dShape& shape, ElementType type, Precision precision, bool aligned,
                                          int compute_capability, int multiprocessors) {
  // Without a sum over channels nothing fills a tensor core: depthwise layers are multiplied exactly, and so is all
  // float32 where there is no TF32.
  const Conv2dKind kind = conv2d_kind(shape);
  const bool depthwise = kind == Conv2dKind::depthwise;
  if (depthwise || (type == ElementType::kFloat32 && (precision == Precision::kIeee || compute_capability < 80)))
    return {depthwise                  ? "depthwise_conv2d"
            : kind == Conv2dKind::stem ? "stem_conv2d"
                                       : "conv2d_forward_simt",
            false, 0, 0, 0};
  check_tensor_cores("conv2d", type, compute_capability);
  if (!conv2d_wgmma_refuses(shape, type, precision, aligned, compute_capability)) return choose_conv2d_wgmma(shape);
  const int stages = mma_stages(compute_capability);
  if (!aligned || shape.icg() * bytes_of(type) % 16 != 0)
    return {"conv2d_forward_mma", true, 64, static_cast<int>(bytes_of(type)), stages};
  const std::int64_t row_tiles = ceil_div(shape.n * shape.oh * shape.ow, 128) * shape.groups;
  return {"conv2d_forward_mma", true, mma_columns(shape.ocg(), row_tiles, multiprocessors), 16, stages};
}

std::int64_t conv2d_forward_mma_workspace_bytes(const Conv2dShape& shape, ElementType type, Precision precision) {
  const bool exact =
      type == ElementType::kFloat32 && (precision == Precision::kIeee || current_compute_capability() < 80);
  return exact ? conv2d_forward_workspace_bytes(shape) : 0;
}

void conv2d_forward_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* input,
                        const void* weight, const void* bias, void* output, bool relu, Workspace workspace,
                        Stream stream) {
  const bool whole_pieces = aligned(input, 16) && aligned(weight, 16);
  const Conv2dForwardChoice choice = choose_conv2d_forward(shape, type, precision, whole_pieces,
                                                           current_compute_capability(), current_multiprocessors());
  if (conv2d_kind(shape) == Conv2dKind::depthwise)
    return depthwise_conv2d_forward(shape, type, input, weight, bias, output, relu, stream);
  if (!choice.tensor_cores)
    return conv2d_forward(shape, static_cast<const float*>(input), static_cast<const float*>(weight),
                          static_cast<const float*>(bias), static_cast<float*>(output), relu, workspace, stream);
  Conv2dForwardMma* forward = type == ElementType::kFloat16    ? conv2d_forward_mma_float16
                              : type == ElementType::kBFloat16 ? conv2d_forward_mma_bfloat16
                              : precision == Precision::kTf32  ? conv2d_forward_mma_tf32
                                                               : conv2d_forward_mma_tf32x3;
#if defined(FASTCONV_HOPPER)
  if (choice.wgmma)
    forward = type == ElementType::kFloat16    ? conv2d_forward_wgmma_float16
              : type == ElementType::kBFloat16 ? conv2d_forward_wgmma_bfloat16
                                               : conv2d_forward_wgmma_tf32;
#endif
  forward(shape, choice, input, weight, bias, output, relu, stream);
}

}  // namespace cuda
}  // namespace fastconv
