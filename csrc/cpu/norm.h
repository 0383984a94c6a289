// Batch, group, layer and local response normalisation on the CPU.
#pragma once

#include <cstdint>

#include "core/layout.h"
#include "core/window.h"

namespace fastconv {

// What is normalised: (N, C, pixels), or (N, pixels, C) unless `planes`.
struct NormShape {
  std::int64_t n, channels, pixels;
  std::int64_t groups;  // 0: batch norm, a channel over the batch; else groups of channels, each sample by itself
  bool planes;

  std::int64_t statistics() const { return groups ? n * groups : channels; }
  std::int64_t cells() const { return groups ? n * channels : channels; }  // what has coefficients of its own
  std::int64_t per_statistic() const { return groups ? pixels * (channels / groups) : n * pixels; }  // elements
  std::int64_t statistic(std::int64_t cell) const { return groups ? cell / (channels / groups) : cell; }
};

// Null weight: 1, null bias: 0. `stats` takes mean and 1 / sqrt(variance + eps) of each statistic, in pairs.
template <class T>
struct NormForward {
  const T* input;
  const T* weight;
  const T* bias;
  T* output;  // may be the input
  double* stats;
  bool use_running;  // normalise with the running statistics, which then are only read
  T* running_mean;   // null: none
  T* running_var;    // unbiased
  double momentum, eps;
  bool relu;
  bool column_affine;  // layer norm: one channel, weight and bias for each of its pixels
};

template <class T>
void norm_forward(const NormShape& shape, const NormForward<T>& args);

template <class T>
struct NormBackward {
  const T* grad_output;
  const T* input;
  const double* stats;
  const T* weight;
  const T* bias;
  T* grad_input;   // null: not wanted; may be grad_output
  T* grad_weight;  // null: not wanted
  T* grad_bias;
  bool constant_stats;  // the statistics were running ones: they do not depend on the input
  bool relu;            // the gradient of what a ReLU made of the output
  bool accumulate;      // add to grad_weight and grad_bias
};

template <class T>
void norm_backward(const NormShape& shape, const NormBackward<T>& args);

// Of rows with a weight for each element: shape is (rows, 1, elements) in one group.
template <class T>
void layer_norm_backward(const NormShape& shape, const NormBackward<T>& args);

// Of the layer norm's backward: row groups with a sum of their own for each element, by shape alone.
inline std::int64_t layer_norm_groups(const NormShape& s) { return s.n < 8 ? 1 : s.n < 64 ? s.n / 4 : 16; }

// What a pass borrows, to the byte.
template <class T>
std::int64_t norm_scratch_bytes(const NormShape& shape, bool constant_stats, bool column_affine, bool backward);

// output = input * base^-beta, base = k + alpha / size * sum of input^2 over the channels c - size / 2 to
// c + (size - 1) / 2. (Krizhevsky, Sutskever and Hinton 2012, section 3.3, with PyTorch's alpha)
struct LrnOptions {
  std::int64_t size;
  double alpha, beta, k;
};

// Where grad_output is given, its gradient instead.
template <class T>
void local_response_norm(const Shape4& shape, const LrnOptions& options, const T* input, const T* grad_output,
                         T* output, Layout layout);

}  // namespace fastconv
