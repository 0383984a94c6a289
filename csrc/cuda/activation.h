// Activations by name, and what else goes element by element through a layer. Pointers are device pointers.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// y = f(x), with a and b as in cpu/kernels/activation_kernels.h.
enum class Pointwise { leaky_relu, elu, sigmoid, tanh, swish, gelu, softplus, scale, clip };

struct Activation {
  Pointwise function;
  float a, b;
};

// "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "softplus", or
// "scale": a x, or "clip": x from -a to a. Throws for others.
Activation parse_activation(const std::string& name, double a, double b);

// output may be input.
void activation_forward(const Activation& f, const float* input, float* output, std::int64_t count, Stream stream);
// saved: the input of silu, gelu, gelu_tanh and softplus, the output of the others. grad_input may be grad_output.
void activation_backward(const Activation& f, const float* grad_output, const float* saved, float* grad_input,
                         std::int64_t count, Stream stream);

// (rows, columns) plus a bias of each column, with a ReLU if wanted; output may be input.
void add_bias(const float* input, const float* bias, float* output, std::int64_t rows, std::int64_t columns, bool relu,
              Stream stream);

// Softmax of rows.
void softmax_forward(const float* input, float* output, std::int64_t rows, std::int64_t classes, Stream stream);
void softmax_backward(const float* grad_output, const float* output, float* grad_input, std::int64_t rows,
                      std::int64_t classes, Stream stream);

// The same of (outer, classes, inner), over the classes; forward: without `saved`, the output, which backward reads.
void softmax_columns(const float* input, const float* saved, float* output, std::int64_t outer, std::int64_t classes,
                     std::int64_t inner, Stream stream);

// count numbers, all the same: what changes from step to step, written before a captured graph runs.
void fill_int64(std::int64_t* output, std::int64_t value, std::int64_t count, Stream stream);

// (n, pixels, channels) times 0 with probability p for a whole image's channel, else 1 / (1 - p); see dropout.
void dropout2d(const float* input, float* output, std::int64_t n, std::int64_t pixels, std::int64_t channels, double p,
               std::uint64_t seed, std::uint64_t offset, const std::int64_t* counter, Stream stream);

}  // namespace cuda
}  // namespace fastconv
