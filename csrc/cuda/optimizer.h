// Optimiser steps on a device: one pass, in place on the parameter and its state, all float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/host_device.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

struct SgdParams {
  float* param;
  const float* grad;
  float* velocity;        // or null
  const float* changing;  // lr, or null
  std::int64_t count;
  float lr, momentum, one_minus_dampening, weight_decay;
  bool nesterov;
};

struct RmspropParams {
  float* param;
  const float* grad;
  float* square_avg;
  float* grad_avg;        // or null
  float* velocity;        // or null
  const float* changing;  // lr, or null
  std::int64_t count;
  float lr, rho, one_minus_rho, eps, momentum, weight_decay;
  bool eps_inside_root;
};

// lr / (1 - beta1^step), sqrt(1 - beta2^step), and 1 - lr * weight_decay of the decoupled form, else 1.
struct AdamFactors {
  float step_size, root_correction, shrink;
};

struct AdamParams {
  float* param;
  const float* grad;
  float* exp_avg;
  float* exp_avg_sq;
  const AdamFactors* changing;  // or null
  std::int64_t count;
  AdamFactors factors;
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay;
};

struct AdamFactorsParams {
  std::int64_t* step;  // counted on first
  const float* lr;     // or null
  AdamFactors* factors;
  float lr_value;
  double beta1, beta2, decoupled_decay;
};

FASTCONV_HOST_DEVICE AdamFactors adam_factors(double lr, double beta1_to_step, double beta2_to_step, double decay) {
  const double correction = 1 - beta2_to_step;
  return {static_cast<float>(lr / (1 - beta1_to_step)), static_cast<float>(::sqrt(correction)),
          static_cast<float>(1 - lr * decay)};
}

void sgd_step(const SgdParams& p, Stream stream);
void rmsprop_step(const RmspropParams& p, Stream stream);
void adam_step(const AdamParams& p, Stream stream);
// Counts the step on and writes the factors that this step of Adam has for all parameters.
void adam_factors_step(const AdamFactorsParams& p, Stream stream);

}  // namespace cuda
}  // namespace fastconv
