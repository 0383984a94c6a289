// Group normalisation, local response normalisation, and what a network modulates its maps with: (n, pixels, channels)
// float32. Pointers are device pointers.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

struct GroupNorm {
  const float* grad_output;  // backward alone
  const float* input;
  const float* weight;  // of each channel; may be null
  const float* bias;    // may be null; backward reads it for the mask of the ReLU
  float* output;        // forward: may be input; backward: the gradient of the input, may be grad_output, may be null
  double* stats;        // (n * groups, 2): mean and 1 / sqrt(var + eps); backward reads them
  std::int64_t n, pixels, channels, groups;
  double eps;
  bool relu;
};

void group_norm_forward(const GroupNorm& p, Stream stream);
// grad_weight and grad_bias, each of which may be null, in a workspace of batch_norm_workspace_bytes(n * pixels,
// channels).
void group_norm_backward(const GroupNorm& p, float* grad_weight, float* grad_bias, bool accumulate, void* workspace,
                         Stream stream);

struct LocalResponseNorm {
  const float* input;
  const float* grad_output;  // null: forward
  float* output;             // or the gradient of the input
  std::int64_t pixels, channels, size;
  double alpha, beta, k;
};
void local_response_norm(const LocalResponseNorm& p, Stream stream);

// output = input + other or input * other; other is (n, channels), one for all pixels of an image, if it is spread.
struct Combine {
  const float* input;
  const float* other;
  float* output;  // may be either
  std::int64_t n, pixels, channels;
  bool multiply, spread;
};
void combine(const Combine& p, Stream stream);

// (rows, 2 * half): sines, then cosines, of positions * frequency.
void sinusoidal_embedding(const float* positions, const float* frequency, float* output, std::int64_t rows,
                          std::int64_t half, Stream stream);
void sinusoidal_embedding_backward(const float* grad_output, const float* output, const float* frequency,
                                   float* grad_positions, std::int64_t rows, std::int64_t half, Stream stream);

}  // namespace cuda
}  // namespace fastconv
