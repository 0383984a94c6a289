// Losses on a device.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

struct CrossEntropyParams {
  const float* logits;
  const void* labels;
  const float* weight;  // of each class, or null
  float* losses;        // of each row
  float* grad;          // or null
  float* loss;          // the one result
  float* divisor;       // what the mean divides by, or null: `divide_by`
  std::int64_t rows, classes;
  std::int64_t ignore_index;
  double share, rest;  // label smoothing / classes, and 1 - label smoothing
  double divide_by;
  int label_bytes;  // 4 or 8
  bool ignores;
};

// Fills losses, grad if there is one, and loss; where there is a divisor, that too.
void softmax_cross_entropy(const CrossEntropyParams& p, Stream stream);

}  // namespace cuda
}  // namespace fastconv
