// What the driver of activations may ask of an instruction set: one block of elements.
#pragma once

#include <cstdint>

namespace fastconv {

// y = f(x); a and b are what the function is parametrised by.
enum class Pointwise {
  leaky_relu,  // x > 0 ? x : a x
  elu,         // x > 0 ? x : a (e^x - 1)
  sigmoid,
  tanh,
  swish,     // x sigmoid(x (a + b x^2)): SiLU with a = 1, b = 0, and the tanh form of GELU
  gelu,      // x times the normal distribution below x
  softplus,  // log(1 + e^(a x)) / a, or x where a x > b
};

template <class T>
struct PointwiseKernels {
  // Counts are multiples of kPointwiseStep; the output may be the very memory of an input.
  void (*forward)(Pointwise function, T a, T b, const T* input, std::int64_t count, T* output);
  // grad_input = grad_output * f'; `saved` is x for the last three, y for the others.
  void (*backward)(Pointwise function, T a, T b, const T* grad_output, const T* saved, std::int64_t count,
                   T* grad_input);
};

constexpr int kPointwiseStep = 16;  // whole vectors of every instruction set: no tails in the kernels

}  // namespace fastconv
