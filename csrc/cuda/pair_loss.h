// Losses of pairs of elements, and the length of a gradient. Pointers are device pointers.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

enum class PairLoss { squared, absolute, huber, binary_logits, binary };

PairLoss parse_pair_loss(const std::string& name);  // throws for what is none

struct PairLossParams {
  const float* input;
  const float* target;  // or null: zeros
  float* grad;          // or null: the gradient of the sum, times grad_scale
  double* partial;      // workspace
  float* loss;          // the sum, times loss_scale
  std::int64_t count;
  PairLoss kind;
  float delta;  // Huber's
  double grad_scale, loss_scale;
};

std::int64_t pair_loss_workspace_bytes(std::int64_t count);
void pair_loss(const PairLossParams& p, Stream stream);

// Of images (n, h, w, c), without a target: |x[i + 1, j] - x[i, j]| + |x[i, j + 1] - x[i, j]|, formula of
// losses/images.py. Workspace, sums and scales as of a pair loss.
struct TotalVariationParams {
  PairLossParams p;  // input, grad, partial, loss, count and scales
  std::int64_t h, w, c;
};
void total_variation(const TotalVariationParams& p, Stream stream);

// factor = limit / sqrt(sum of squares), or 1 where the root is at most limit.
void clip_factor(const float* squares, std::int64_t count, double limit, float* factor, Stream stream);
// array *= *factor
void multiply_by(float* array, const float* factor, std::int64_t count, Stream stream);

}  // namespace cuda
}  // namespace fastconv
