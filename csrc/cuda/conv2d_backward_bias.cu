// The driver of the bias gradient. The slices follow from the sizes alone.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/column_slices.h"
#include "cuda/conv2d.h"
#include "cuda/kernels/column_sum.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

std::int64_t conv2d_backward_bias_workspace_bytes(std::int64_t pixels, std::int64_t channels) {
  return column_slices(pixels, channels).slices * channels * static_cast<std::int64_t>(sizeof(float));
}

void conv2d_backward_bias(const float* grad_output, std::int64_t pixels, std::int64_t channels,
                          const std::uint32_t* mask, float* masked, float* grad_bias, void* workspace, bool accumulate,
                          Stream stream) {
  const ColumnSlices chosen = column_slices(pixels, channels);
  const Elements elements{pixels * channels};
  const bool in_fours = columns_at_once(channels) == 4 && aligned(grad_output, 16) && aligned(masked, 16);
  ColumnSumParams p{};
  p.input = grad_output, p.mask = mask, p.masked = masked, p.partial = static_cast<float*>(workspace);
  p.rows = pixels, p.columns = channels;
  p.slice_rows = chosen.slices > 0 ? ceil_div(pixels, chosen.slices) : 0;
  p.lanes = static_cast<std::int32_t>(chosen.lanes);
  p.column_blocks = static_cast<std::int32_t>(ceil_div(channels, chosen.lanes * (in_fours ? 4 : 1)));
  launch({"column_sum", chosen.slices * p.column_blocks, kColumnSumThreads,
          kColumnSumThreads * (in_fours ? 4 : 1) * static_cast<int>(sizeof(float)), stream},
         in_fours ? column_sum<4> : column_sum<1>, p, elements);
  const SumSlicesParams sum{p.partial, grad_bias, channels, static_cast<std::int32_t>(chosen.slices), accumulate};
  launch({"column_sum_slices", ceil_div(channels, kSumElements), kSumThreads, kSumSharedBytes, stream},
         column_sum_slices, sum, elements);
}

}  // namespace cuda
}  // namespace fastconv
