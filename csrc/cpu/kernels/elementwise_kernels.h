// What the elementwise drivers and the optimisers may ask of an instruction set: one block of elements.
#pragma once

#include <cstdint>

namespace fastconv {

template <class T>
struct ElementwiseKernels {
  // The output may be the very memory of an input. With `stream` it is stored past the caches, and fenced.
  void (*relu)(const T* input, std::int64_t count, T* output, bool stream);
  void (*relu_backward)(const T* grad_output, const T* output, std::int64_t count, T* grad_input, bool stream);
  void (*add)(const T* a, const T* b, std::int64_t count, T* output, bool stream);
  void (*copy)(const T* input, std::int64_t count, T* output, bool stream);
};

// Steps of the optimisers on `count` elements, in place on param and state; null: without that state.
template <class T>
struct SgdArgs {
  std::int64_t count;
  T* param;
  const T* grad;
  T* velocity;
  T lr, momentum, one_minus_dampening, weight_decay;
  bool nesterov;
};

template <class T>
struct RmspropArgs {
  std::int64_t count;
  T* param;
  const T* grad;
  T* square_avg;
  T* grad_avg;
  T* velocity;
  T lr, rho, one_minus_rho, eps, momentum, weight_decay;
  bool eps_inside_root;
};

template <class T>
struct AdamArgs {
  std::int64_t count;
  T* param;
  const T* grad;
  T* exp_avg;
  T* exp_avg_sq;
  T step_size;        // lr / (1 - beta1^step)
  T root_correction;  // sqrt(1 - beta2^step)
  T beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  T weight_decay;  // added to the gradient
  T shrink;        // 1 - lr * weight_decay of the decoupled form, else 1
};

template <class T>
struct OptimizerKernels {
  void (*sgd)(const SgdArgs<T>&);
  void (*rmsprop)(const RmspropArgs<T>&);
  void (*adam)(const AdamArgs<T>&);
};

}  // namespace fastconv
