// One pass of an optimiser over a parameter, its gradient and its state: the formulas of cpu/kernels/optimizer_step.h.
//
// What changes from step to step may lie in device memory, so that a captured graph can be replayed: `changing` then
// points to it, otherwise the values come with the launch.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/optimizer.h"

namespace fastconv {
namespace cuda {

template <bool kWide>
FASTCONV_KERNEL sgd_kernel(SgdParams p) {
  const std::int64_t at = first_element();
  const float lr = p.changing ? *p.changing : p.lr;
  Float4 param = load_four<kWide>(p.param, at, p.count), update = load_four<kWide>(p.grad, at, p.count);
  Float4 velocity = {};
  if (p.velocity) velocity = load_four<kWide>(p.velocity, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    float& u = update.at[i];
    if (p.weight_decay != 0) u = multiply_add(p.weight_decay, param.at[i], u);
    if (p.velocity) {
      float& v = velocity.at[i];
      v = multiply_add(p.momentum, v, p.one_minus_dampening * u);
      u = p.nesterov ? multiply_add(p.momentum, v, u) : v;
    }
    param.at[i] = multiply_add(-lr, u, param.at[i]);
  }
  if (p.velocity) store_four<kWide>(p.velocity, at, p.count, velocity);
  store_four<kWide>(p.param, at, p.count, param);
}

template <bool kWide>
FASTCONV_KERNEL rmsprop_kernel(RmspropParams p) {
  const std::int64_t at = first_element();
  const float lr = p.changing ? *p.changing : p.lr;
  Float4 param = load_four<kWide>(p.param, at, p.count), update = load_four<kWide>(p.grad, at, p.count);
  Float4 square = load_four<kWide>(p.square_avg, at, p.count), mean = {}, velocity = {};
  if (p.grad_avg) mean = load_four<kWide>(p.grad_avg, at, p.count);
  if (p.velocity) velocity = load_four<kWide>(p.velocity, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    float& u = update.at[i];
    if (p.weight_decay != 0) u = multiply_add(p.weight_decay, param.at[i], u);
    square.at[i] = multiply_add(p.rho, square.at[i], p.one_minus_rho * u * u);
    float variance = square.at[i];
    if (p.grad_avg) {
      mean.at[i] = multiply_add(p.rho, mean.at[i], p.one_minus_rho * u);
      variance -= mean.at[i] * mean.at[i];
      if (variance <= 0) variance = 0;  // rounding may leave it below
    }
    u = u / (p.eps_inside_root ? root(variance + p.eps) : root(variance) + p.eps);
    if (p.velocity) u = velocity.at[i] = multiply_add(p.momentum, velocity.at[i], u);
    param.at[i] = multiply_add(-lr, u, param.at[i]);
  }
  store_four<kWide>(p.square_avg, at, p.count, square);
  if (p.grad_avg) store_four<kWide>(p.grad_avg, at, p.count, mean);
  if (p.velocity) store_four<kWide>(p.velocity, at, p.count, velocity);
  store_four<kWide>(p.param, at, p.count, param);
}

template <bool kWide>
FASTCONV_KERNEL adam_kernel(AdamParams p) {
  const std::int64_t at = first_element();
  const AdamFactors f = p.changing ? *p.changing : p.factors;
  Float4 param = load_four<kWide>(p.param, at, p.count);
  const Float4 grad = load_four<kWide>(p.grad, at, p.count);
  Float4 mean = load_four<kWide>(p.exp_avg, at, p.count), square = load_four<kWide>(p.exp_avg_sq, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) {
    float g = grad.at[i];
    if (p.weight_decay != 0) g = multiply_add(p.weight_decay, param.at[i], g);
    mean.at[i] = multiply_add(p.beta1, mean.at[i], p.one_minus_beta1 * g);
    square.at[i] = multiply_add(p.beta2, square.at[i], p.one_minus_beta2 * g * g);
    const float denominator = root(square.at[i]) / f.root_correction + p.eps;
    param.at[i] = multiply_add(-f.step_size, mean.at[i] / denominator, f.shrink * param.at[i]);
  }
  store_four<kWide>(p.exp_avg, at, p.count, mean);
  store_four<kWide>(p.exp_avg_sq, at, p.count, square);
  store_four<kWide>(p.param, at, p.count, param);
}

// One thread: powers in double would cost more than the step itself if every element took its own.
static FASTCONV_KERNEL adam_factors_kernel(AdamFactorsParams p) {
  if (thread_x() != 0) return;
  const auto step = static_cast<double>(++*p.step);
  const double lr = p.lr ? *p.lr : p.lr_value;
  *p.factors = adam_factors(lr, power(p.beta1, step), power(p.beta2, step), p.decoupled_decay);
}

}  // namespace cuda
}  // namespace fastconv
