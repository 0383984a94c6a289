// Losses of pairs with their gradients, formulas of cpu/pair_loss.cpp. Blocks sum stretches of the array in double; the
// second kernel adds the blocks in their order.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/pair_loss.h"

namespace fastconv {
namespace cuda {

constexpr int kPairThreads = 256;
constexpr std::int64_t kPairBlocks = 1056;  // at most: eight for each of the 132 SMs of an H200

struct PairLossLaunch {
  PairLossParams p;
  std::int32_t blocks;
};

FASTCONV_DEVICE float magnitude(float x) { return x < 0 ? -x : x; }
// At least -100, as PyTorch takes it.
FASTCONV_DEVICE double bounded_logarithm(double p) {
  const double l = logarithm(p);
  return l < -100 ? -100 : l;
}

FASTCONV_DEVICE double pair_value(const PairLossParams& p, float x, float t) {
  const float d = x - t, distance = magnitude(d);
  switch (p.kind) {
    case PairLoss::squared:
      return static_cast<double>(d) * d;
    case PairLoss::absolute:
      return distance;
    case PairLoss::huber:
      return distance > p.delta ? p.delta * (distance - 0.5f * p.delta) : 0.5f * d * d;
    case PairLoss::binary_logits:
      return (x > 0 ? x * (1 - t) : -x * t) + logarithm_of_one_plus(exponential(-magnitude(x)));
    case PairLoss::binary:
      return -t * bounded_logarithm(x) - (1 - t) * bounded_logarithm(1.0 - x);
  }
  return 0;
}

FASTCONV_DEVICE double pair_slope(const PairLossParams& p, float x, float t) {
  const float d = x - t;
  switch (p.kind) {
    case PairLoss::squared:
      return 2.0 * d;
    case PairLoss::absolute:
      return d > 0 ? 1.0 : d < 0 ? -1.0 : d;  // NaN stays
    case PairLoss::huber:
      return d > p.delta ? p.delta : d < -p.delta ? -p.delta : d;
    case PairLoss::binary_logits: {
      const float e = exponential(-magnitude(x));
      return (x < 0 ? e : 1) / (1 + e) - t;
    }
    case PairLoss::binary: {
      const double apart = x * (1.0 - x);
      return d / (apart < 1e-12 ? 1e-12 : apart);
    }
  }
  return 0;
}

// For the first thread of the block.
FASTCONV_DEVICE double sum_of_pairs(double value) {
  double* const parts = shared<double>();
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  if (lane() == 0) parts[warp()] = value;
  sync();
  value = 0;
  if (thread_x() == 0)
    for (int i = 0; i < kPairThreads / 32; ++i) value += parts[i];
  return value;
}

static FASTCONV_KERNEL pair_loss_kernel(PairLossLaunch q) {
  const PairLossParams& p = q.p;
  double sum = 0;
  for (std::int64_t at = static_cast<std::int64_t>(block_x()) * kPairThreads + thread_x(); at < p.count;
       at += static_cast<std::int64_t>(q.blocks) * kPairThreads) {
    const float x = p.input[at], t = p.target ? p.target[at] : 0;
    sum += pair_value(p, x, t);
    if (p.grad) p.grad[at] = static_cast<float>(pair_slope(p, x, t) * p.grad_scale);
  }
  sum = sum_of_pairs(sum);
  if (thread_x() == 0) p.partial[block_x()] = sum;
}

static FASTCONV_KERNEL pair_loss_sum_kernel(PairLossLaunch q) {
  double sum = 0;
  for (std::int32_t block = thread_x(); block < q.blocks; block += kPairThreads) sum += q.p.partial[block];
  sum = sum_of_pairs(sum);
  if (thread_x() == 0) *q.p.loss = static_cast<float>(sum * q.p.loss_scale);
}

struct TotalVariationLaunch {
  TotalVariationParams q;
  std::int32_t blocks;
};

FASTCONV_DEVICE float sign_of(float d) { return d > 0 ? 1.0f : d < 0 ? -1.0f : d; }  // NaN stays

// A pixel counts the differences behind it, and its gradient takes those before it, too.
static FASTCONV_KERNEL total_variation_kernel(FASTCONV_GRID_CONSTANT const TotalVariationLaunch launch) {
  const TotalVariationParams& q = launch.q;
  const std::int64_t line = q.w * q.c;
  double sum = 0;
  for (std::int64_t at = static_cast<std::int64_t>(block_x()) * kPairThreads + thread_x(); at < q.p.count;
       at += static_cast<std::int64_t>(launch.blocks) * kPairThreads) {
    const std::int64_t column = at / q.c % q.w, row = at / line % q.h;
    const float x = q.p.input[at];
    float slope = 0;
    if (row > 0) slope += sign_of(x - q.p.input[at - line]);
    if (column > 0) slope += sign_of(x - q.p.input[at - q.c]);
    if (row + 1 < q.h) {
      const float down = q.p.input[at + line] - x;
      sum += magnitude(down), slope -= sign_of(down);
    }
    if (column + 1 < q.w) {
      const float right = q.p.input[at + q.c] - x;
      sum += magnitude(right), slope -= sign_of(right);
    }
    if (q.p.grad) q.p.grad[at] = static_cast<float>(slope * q.p.grad_scale);
  }
  sum = sum_of_pairs(sum);
  if (thread_x() == 0) q.p.partial[block_x()] = sum;
}

struct ClipFactorParams {
  const float* squares;
  std::int64_t count;
  double limit;
  float* factor;
};

static FASTCONV_KERNEL clip_factor_kernel(ClipFactorParams p) {
  double sum = 0;
  for (std::int64_t at = thread_x(); at < p.count; at += kPairThreads) sum += p.squares[at];
  sum = root(sum_of_pairs(sum));
  if (thread_x() == 0) *p.factor = static_cast<float>(sum <= p.limit ? 1.0 : p.limit / sum);  // NaN reaches all
}

struct MultiplyByParams {
  float* array;
  const float* factor;
  std::int64_t count;
};

static FASTCONV_KERNEL multiply_by_kernel(MultiplyByParams p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kPairThreads + thread_x();
  if (at < p.count) p.array[at] *= *p.factor;
}

}  // namespace cuda
}  // namespace fastconv
