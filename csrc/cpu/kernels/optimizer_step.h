// One pass of an optimiser over a parameter, its gradient and its state; formulas and order of operations as in
// PyTorch's torch.optim documentation (SGD: Sutskever et al. 2013; RMSprop: Hinton 2012, Graves 2013; Adam: Kingma and
// Ba 2015; AdamW: Loshchilov and Hutter 2019).
#pragma once

#include <cstdint>

#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/elementwise_kernels.h"
#include "cpu/kernels/lanes.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
void sgd_step(const SgdArgs<T>& a) {
  const Vec<T> minus_lr = Vec<T>::broadcast(-a.lr), momentum = Vec<T>::broadcast(a.momentum);
  const Vec<T> fresh = Vec<T>::broadcast(a.one_minus_dampening), decay = Vec<T>::broadcast(a.weight_decay);
  for_each_vector<T>(a.count, [&](std::int64_t i, int lanes) {
    const Vec<T> param = load_lanes(a.param + i, lanes);
    Vec<T> grad = load_lanes(a.grad + i, lanes);
    if (a.weight_decay != T(0)) grad = fma(decay, param, grad);
    if (a.velocity) {
      const Vec<T> velocity = fma(momentum, load_lanes(a.velocity + i, lanes), fresh * grad);
      store_lanes(velocity, a.velocity + i, lanes);
      grad = a.nesterov ? fma(momentum, velocity, grad) : velocity;
    }
    store_lanes(fma(minus_lr, grad, param), a.param + i, lanes);
  });
}

template <class T>
void rmsprop_step(const RmspropArgs<T>& a) {
  const Vec<T> zero = Vec<T>::zero(), minus_lr = Vec<T>::broadcast(-a.lr), eps = Vec<T>::broadcast(a.eps);
  const Vec<T> rho = Vec<T>::broadcast(a.rho), fresh = Vec<T>::broadcast(a.one_minus_rho);
  const Vec<T> momentum = Vec<T>::broadcast(a.momentum), decay = Vec<T>::broadcast(a.weight_decay);
  for_each_vector<T>(a.count, [&](std::int64_t i, int lanes) {
    const Vec<T> param = load_lanes(a.param + i, lanes);
    Vec<T> grad = load_lanes(a.grad + i, lanes);
    if (a.weight_decay != T(0)) grad = fma(decay, param, grad);
    const Vec<T> square_avg = fma(rho, load_lanes(a.square_avg + i, lanes), fresh * grad * grad);
    store_lanes(square_avg, a.square_avg + i, lanes);
    Vec<T> variance = square_avg;
    if (a.grad_avg) {
      const Vec<T> grad_avg = fma(rho, load_lanes(a.grad_avg + i, lanes), fresh * grad);
      store_lanes(grad_avg, a.grad_avg + i, lanes);
      variance = square_avg - grad_avg * grad_avg;
      variance = select(not_less_equal(variance, zero), variance, zero);  // rounding may leave it below zero
    }
    Vec<T> update = grad / (a.eps_inside_root ? sqrt(variance + eps) : sqrt(variance) + eps);
    if (a.velocity) {
      update = fma(momentum, load_lanes(a.velocity + i, lanes), update);
      store_lanes(update, a.velocity + i, lanes);
    }
    store_lanes(fma(minus_lr, update, param), a.param + i, lanes);
  });
}

template <class T>
void adam_step(const AdamArgs<T>& a) {
  const Vec<T> beta1 = Vec<T>::broadcast(a.beta1), fresh1 = Vec<T>::broadcast(a.one_minus_beta1);
  const Vec<T> beta2 = Vec<T>::broadcast(a.beta2), fresh2 = Vec<T>::broadcast(a.one_minus_beta2);
  const Vec<T> minus_step = Vec<T>::broadcast(-a.step_size), correction = Vec<T>::broadcast(a.root_correction);
  const Vec<T> eps = Vec<T>::broadcast(a.eps), shrink = Vec<T>::broadcast(a.shrink);
  const Vec<T> decay = Vec<T>::broadcast(a.weight_decay);
  for_each_vector<T>(a.count, [&](std::int64_t i, int lanes) {
    Vec<T> param = load_lanes(a.param + i, lanes);
    Vec<T> grad = load_lanes(a.grad + i, lanes);
    if (a.weight_decay != T(0)) grad = fma(decay, param, grad);
    param = shrink * param;
    const Vec<T> exp_avg = fma(beta1, load_lanes(a.exp_avg + i, lanes), fresh1 * grad);
    const Vec<T> exp_avg_sq = fma(beta2, load_lanes(a.exp_avg_sq + i, lanes), fresh2 * grad * grad);
    store_lanes(exp_avg, a.exp_avg + i, lanes);
    store_lanes(exp_avg_sq, a.exp_avg_sq + i, lanes);
    const Vec<T> denominator = sqrt(exp_avg_sq) / correction + eps;
    store_lanes(fma(minus_step, exp_avg / denominator, param), a.param + i, lanes);
  });
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
