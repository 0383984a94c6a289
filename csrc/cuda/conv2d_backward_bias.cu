// The driver of the bias gradient. The slices follow from the sizes alone.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/column_slices.h"
#include "cuda/conv2d.h"
#include "cuda/kernels/column_sum.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

std::int64_t conv2d_backward_bias_workspace_bytes(std::int64_t pixels, std::int64_t channels,
                                                  std::int64_t element_bytes) {
  return column_slices(pixels, channels, element_bytes).slices * channels * static_cast<std::int64_t>(sizeof(float));
}

template <class T>
void conv2d_backward_bias(const T* grad_output, std::int64_t pixels, std::int64_t channels, const std::uint32_t* mask,
                          T* masked, void* grad_bias, bool wide, void* workspace, bool accumulate, Stream stream) {
  constexpr int kPack = 16 / static_cast<int>(sizeof(T));
  const ColumnSlices chosen = column_slices(pixels, channels, sizeof(T));
  const Elements elements{pixels * channels};
  const bool in_packs =
      columns_at_once(channels, sizeof(T)) == kPack && aligned(grad_output, 16) && aligned(masked, 16);
  const int pack = in_packs ? kPack : 1;
  ColumnSumParams<T> p{};
  p.input = grad_output, p.mask = mask, p.masked = masked, p.partial = static_cast<float*>(workspace);
  p.rows = pixels, p.columns = channels;
  p.slice_rows = chosen.slices > 0 ? ceil_div(pixels, chosen.slices) : 0;
  p.lanes = static_cast<std::int32_t>(chosen.lanes);
  p.column_blocks = static_cast<std::int32_t>(ceil_div(channels, chosen.lanes * pack));
  const std::int64_t blocks = chosen.slices * p.column_blocks;
  const int shared_bytes = kColumnSumThreads * pack * static_cast<int>(sizeof(float));
  launch({"column_sum", blocks, kColumnSumThreads, shared_bytes, stream},
         in_packs ? column_sum<T, kPack> : column_sum<T, 1>, p, elements);
  const SumSlicesParams slices{p.partial, nullptr, channels, static_cast<std::int32_t>(chosen.slices), accumulate};
  launch({"column_sum_slices", ceil_div(channels, kSumElements), kSumThreads, kSumSharedBytes, stream},
         column_sum_slices<T>, ColumnSumSlicesParams<T>{slices, grad_bias, wide}, elements);
}

template void conv2d_backward_bias(const float*, std::int64_t, std::int64_t, const std::uint32_t*, float*, void*, bool,
                                   void*, bool, Stream);
template void conv2d_backward_bias(const Float16*, std::int64_t, std::int64_t, const std::uint32_t*, Float16*, void*,
                                   bool, void*, bool, Stream);
template void conv2d_backward_bias(const BFloat16*, std::int64_t, std::int64_t, const std::uint32_t*, BFloat16*, void*,
                                   bool, void*, bool, Stream);

}  // namespace cuda
}  // namespace fastconv
