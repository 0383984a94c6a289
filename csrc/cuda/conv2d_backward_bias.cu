// The driver of the bias gradient. The slices follow from the sizes alone.
#include <algorithm>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d.h"
#include "cuda/kernels/column_sum.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kMostBlocks = 1056;  // eight for each of the 132 SMs of an H200
constexpr std::int64_t kLeastRows = 16;     // for each thread

struct Plan {
  std::int64_t lanes, column_blocks, slices;
};

// Neighbours are taken four at a time where the number of columns allows it.
int wide(std::int64_t columns) { return columns % 4 == 0 ? 4 : 1; }

Plan plan(std::int64_t rows, std::int64_t columns) {
  Plan p{};
  const std::int64_t packs = ceil_div(columns, wide(columns));
  p.lanes = 1;
  while (p.lanes < packs && p.lanes < 32) p.lanes *= 2;
  p.column_blocks = ceil_div(packs, p.lanes);
  const std::int64_t slice = kColumnSumThreads / p.lanes * kLeastRows;
  p.slices = std::min(ceil_div(rows, slice), std::max<std::int64_t>(1, kMostBlocks / p.column_blocks));
  return p;
}

}  // namespace

std::int64_t conv2d_backward_bias_workspace_bytes(std::int64_t pixels, std::int64_t channels) {
  return plan(pixels, channels).slices * channels * static_cast<std::int64_t>(sizeof(float));
}

void conv2d_backward_bias(const float* grad_output, std::int64_t pixels, std::int64_t channels,
                          const std::uint32_t* mask, float* masked, float* grad_bias, void* workspace, bool accumulate,
                          Stream stream) {
  const Plan chosen = plan(pixels, channels);
  const Elements elements{pixels * channels};
  const bool in_fours = wide(channels) == 4 && aligned(grad_output, 16) && aligned(masked, 16);
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
