#include "cuda/pair_loss.h"

#include <algorithm>
#include <stdexcept>

#include "core/checked_math.h"
#include "cuda/kernels/pair_loss.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kSumBytes = kPairThreads / 32 * static_cast<std::int64_t>(sizeof(double));

std::int64_t blocks_of(std::int64_t count) { return std::min(ceil_div(count, kPairThreads), kPairBlocks); }

}  // namespace

PairLoss parse_pair_loss(const std::string& name) {
  if (name == "squared") return PairLoss::squared;
  if (name == "absolute") return PairLoss::absolute;
  if (name == "huber") return PairLoss::huber;
  if (name == "binary_logits") return PairLoss::binary_logits;
  if (name == "binary") return PairLoss::binary;
  throw std::invalid_argument("pair_loss: kind must be one that is known, got '" + name + "'");
}

std::int64_t pair_loss_workspace_bytes(std::int64_t count) {
  return std::max<std::int64_t>(1, blocks_of(count)) * static_cast<std::int64_t>(sizeof(double));
}

void pair_loss(const PairLossParams& p, Stream stream) {
  const std::int64_t blocks = blocks_of(p.count);
  const PairLossLaunch q{p, static_cast<std::int32_t>(blocks)};
  launch({"pair_loss", blocks, kPairThreads, kSumBytes, stream}, pair_loss_kernel, q, Elements{p.count});
  launch({"pair_loss_sum", 1, kPairThreads, kSumBytes, stream}, pair_loss_sum_kernel, q, Elements{p.count});
}

void total_variation(const TotalVariationParams& p, Stream stream) {
  const std::int64_t blocks = blocks_of(p.p.count);
  launch({"total_variation", blocks, kPairThreads, kSumBytes, stream}, total_variation_kernel,
         TotalVariationLaunch{p, static_cast<std::int32_t>(blocks)}, Elements{p.p.count});
  launch({"pair_loss_sum", 1, kPairThreads, kSumBytes, stream}, pair_loss_sum_kernel,
         PairLossLaunch{p.p, static_cast<std::int32_t>(blocks)}, Elements{p.p.count});
}

void clip_factor(const float* squares, std::int64_t count, double limit, float* factor, Stream stream) {
  launch({"clip_factor", 1, kPairThreads, kSumBytes, stream}, clip_factor_kernel,
         ClipFactorParams{squares, count, limit, factor}, Elements{count});
}

void multiply_by(float* array, const float* factor, std::int64_t count, Stream stream) {
  launch({"multiply_by", ceil_div(count, kPairThreads), kPairThreads, 0, stream}, multiply_by_kernel,
         MultiplyByParams{array, factor, count}, Elements{count});
}

}  // namespace cuda
}  // namespace fastconv
