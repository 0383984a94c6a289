// Softmax cross entropy of rows (rows, classes): losses and gradient of cpu/loss.h. A warp has a row; sums are in
// double and have one order, so results are the same every time.
//
// A label that is neither a class nor ignored cannot be reported without waiting for the GPU: its row gives NaN.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/loss.h"

namespace fastconv {
namespace cuda {

constexpr int kLossThreads = 256, kRowsPerBlock = kLossThreads / 32;

FASTCONV_DEVICE std::int64_t label_of(const CrossEntropyParams& p, std::int64_t row) {
  return p.label_bytes == 8 ? static_cast<const std::int64_t*>(p.labels)[row]
                            : static_cast<const std::int32_t*>(p.labels)[row];
}
FASTCONV_DEVICE bool is_class(const CrossEntropyParams& p, std::int64_t label) {
  return label >= 0 && label < p.classes;
}

FASTCONV_DEVICE double sum_of_warp(double value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// The sum over all threads, for the first of them.
FASTCONV_DEVICE double sum_of_block(double value) {
  double* const parts = shared<double>();
  value = sum_of_warp(value);
  if (lane() == 0) parts[warp()] = value;
  sync();
  value = 0;
  if (thread_x() == 0)
    for (int i = 0; i < kRowsPerBlock; ++i) value += parts[i];
  return value;
}

// The divisor of a mean with weights or ignored rows. One block.
static FASTCONV_KERNEL label_weight_kernel(CrossEntropyParams p) {
  double sum = 0;
  for (std::int64_t row = thread_x(); row < p.rows; row += kLossThreads) {
    const std::int64_t label = label_of(p, row);
    if (!is_class(p, label) || (p.ignores && label == p.ignore_index)) continue;
    sum += p.weight ? p.weight[label] : 1.0;
  }
  sum = sum_of_block(sum);
  if (thread_x() == 0) *p.divisor = static_cast<float>(sum != 0 ? sum : 1.0);
}

static FASTCONV_KERNEL cross_entropy_kernel(CrossEntropyParams p) {
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kRowsPerBlock + warp();
  if (row >= p.rows) return;  // the whole warp
  const float* x = p.logits + row * p.classes;
  float* g = p.grad ? p.grad + row * p.classes : nullptr;
  const std::int64_t label = label_of(p, row);
  if (p.ignores && label == p.ignore_index) {
    if (lane() == 0) p.losses[row] = 0;
    for (std::int64_t c = lane(); g && c < p.classes; c += 32) g[c] = 0;
    return;
  }
  if (!is_class(p, label)) {
    const float nan = not_a_number();
    if (lane() == 0) p.losses[row] = nan;
    for (std::int64_t c = lane(); g && c < p.classes; c += 32) g[c] = nan;
    return;
  }
  // NaN need not be found here: it comes back through the exponentials.
  float most = x[0];
  for (std::int64_t c = lane(); c < p.classes; c += 32) most = x[c] > most ? x[c] : most;
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = shuffle_xor(most, mask);
    most = other > most ? other : most;
  }
  double sum = 0, all_weights = 0, spread = 0;
  for (std::int64_t c = lane(); c < p.classes; c += 32) {
    sum += exponential(x[c] - most);
    if (p.share > 0) {
      const double w = p.weight ? p.weight[c] : 1.0;
      all_weights += w;
      spread += p.share * w * (static_cast<double>(x[c]) - most);
    }
  }
  sum = sum_of_warp(sum), all_weights = sum_of_warp(all_weights), spread = sum_of_warp(spread);
  const double hit = p.weight ? p.rest * p.weight[label] : p.rest, total = hit + p.share * all_weights;
  if (g) {
    const double outer = 1 / (p.divisor ? static_cast<double>(*p.divisor) : p.divide_by), inner = outer * total / sum;
    for (std::int64_t c = lane(); c < p.classes; c += 32) {
      double value = exponential(x[c] - most) * inner;
      if (c == label) value -= outer * hit;
      if (p.share > 0) value -= outer * p.share * (p.weight ? p.weight[c] : 1.0);
      g[c] = static_cast<float>(value);
    }
  }
  if (lane() == 0)
    p.losses[row] = static_cast<float>(total * logarithm(sum) - hit * (static_cast<double>(x[label]) - most) - spread);
}

// One block adds the rows up.
static FASTCONV_KERNEL loss_sum_kernel(CrossEntropyParams p) {
  double sum = 0;
  for (std::int64_t row = thread_x(); row < p.rows; row += kLossThreads) sum += p.losses[row];
  sum = sum_of_block(sum);
  if (thread_x() == 0) *p.loss = static_cast<float>(sum / (p.divisor ? static_cast<double>(*p.divisor) : p.divide_by));
}

}  // namespace cuda
}  // namespace fastconv
