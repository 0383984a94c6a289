// Activations and their gradients on a block of memory; formulas in activation_kernels.h. Each function is one loop
// with one copy of its body, whole vectors only: every copy is paid three instruction sets times two types.
#pragma once

#include <cstdint>

#include "cpu/kernels/activation_kernels.h"
#include "cpu/kernels/vec_math.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// Beyond it SiLU and GELU are 0 or x to the last bit, and so are their gradients; Inf * 0 is kept out by it.
constexpr int kFar = 4096;

template <class T>
inline Vec<T> near(Vec<T> x) {
  return at_most(at_least(x, T(-kFar)), T(kFar));
}

template <class T>
void activation_forward(Pointwise function, T a, T b, const T* input, std::int64_t count, T* output) {
  const Vec<T> zero = Vec<T>::zero(), first = constant(a), second = constant(b);
  // output = f(input)
  const auto map = [=](auto&& f) __attribute__((always_inline)) {
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < count; i += Vec<T>::kSize) f(Vec<T>::load(input + i)).store(output + i);
  };
  switch (function) {
    case Pointwise::leaky_relu:
      return map([=](Vec<T> x) { return select(not_less_equal(x, zero), x, first * x); });
    case Pointwise::elu:
      return map([=](Vec<T> x) { return by_sign(x, first * expm1(at_most(x, T(0))), x); });
    case Pointwise::sigmoid:
      return map([](Vec<T> x) { return Sigmoid<T>(x).value; });
    case Pointwise::tanh:
      return map([](Vec<T> x) { return tanh(x); });
    case Pointwise::swish:
      return map([=](Vec<T> x) {
        const Vec<T> inside = near(x);
        return at_least(x, T(-kFar)) * Sigmoid<T>(inside * fma(second, inside * inside, first)).value;
      });
    case Pointwise::gelu:
      return map([](Vec<T> x) { return at_least(x, T(-kFar)) * Normal<T>(x).below; });
    case Pointwise::softplus:
      return map([=](Vec<T> x) {
        const Vec<T> scaled = first * x;
        const Vec<T> soft = (at_least(scaled, T(0)) + log1p(exp_negative(minus_abs(scaled)))) / first;
        return select(not_less_equal(scaled, second), x, soft);
      });
  }
}

template <class T>
void activation_backward(Pointwise function, T a, T b, const T* grad_output, const T* saved, std::int64_t count,
                         T* grad_input) {
  const Vec<T> zero = Vec<T>::zero(), one = constant(T(1)), first = constant(a), second = constant(b);
  // grad_input = grad_output * derivative(saved)
  const auto chain = [=](auto&& derivative) __attribute__((always_inline)) {
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < count; i += Vec<T>::kSize)
      (Vec<T>::load(grad_output + i) * derivative(Vec<T>::load(saved + i))).store(grad_input + i);
  };
  switch (function) {
    case Pointwise::leaky_relu:
      return chain([=](Vec<T> y) { return select(not_less_equal(y, zero), one, first); });
    case Pointwise::elu:
      return chain([=](Vec<T> y) { return select(not_less_equal(y, zero), one, y + first); });
    case Pointwise::sigmoid:
      return chain([=](Vec<T> y) { return y * (one - y); });
    case Pointwise::tanh:
      return chain([=](Vec<T> y) { return (one - y) * (one + y); });
    case Pointwise::swish:
      return chain([=](Vec<T> x) {
        x = near(x);
        const Vec<T> cubic = second * x * x;
        const Sigmoid<T> s(x * (cubic + first));
        return s.value * fma(x * s.complement, fma(constant(T(3)), cubic, first), one);
      });
    case Pointwise::gelu:
      return chain([=](Vec<T> x) {
        const Normal<T> normal(x);
        return fma(near(x), normal.density, normal.below);
      });
    case Pointwise::softplus:
      return chain([=](Vec<T> x) {
        const Vec<T> scaled = first * x;
        return select(not_less_equal(scaled, second), one, Sigmoid<T>(scaled).value);
      });
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
