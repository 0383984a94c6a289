// Batch normalisation of (rows, columns) float32, a column being a channel. Pointers are device pointers.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

struct BatchNormForward {
  const float* input;
  const float* weight;  // both or neither may be null
  const float* bias;
  float* output;  // may be input
  double* stats;  // of each column mean and 1 / sqrt(var + eps): written
  float* running_mean;
  float* running_var;
  std::int64_t rows, columns;
  double momentum, eps;
  bool training;  // the statistics of the batch, which move the running ones; else the running ones are taken
  bool relu;
};

struct BatchNormBackward {
  const float* grad_output;
  const float* input;
  const double* stats;
  const float* weight;
  const float* bias;
  float* grad_input;  // may be grad_output; each of the three may be null
  float* grad_weight;
  float* grad_bias;
  std::int64_t rows, columns;
  bool training, relu, accumulate;
};

// What both need beside their arrays; statistics and sums are added in an order that the sizes alone decide.
std::int64_t batch_norm_workspace_bytes(std::int64_t rows, std::int64_t columns);
void batch_norm_forward(const BatchNormForward& p, void* workspace, Stream stream);
void batch_norm_backward(const BatchNormBackward& p, void* workspace, Stream stream);

}  // namespace cuda
}  // namespace fastconv
