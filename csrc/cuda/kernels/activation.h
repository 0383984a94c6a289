// Activations and their gradients, formulas of cpu/kernels/activation.h; a bias for each column; softmax of rows.
#pragma once

#include <cstdint>

#include "cuda/activation.h"
#include "cuda/kernels/dropout.h"
#include "cuda/kernels/elementwise.h"

namespace fastconv {
namespace cuda {

struct ActivationParams {
  const float* input;  // backward: the gradient of the output
  const float* saved;  // backward alone
  float* output;
  std::int64_t count;
  Activation f;
};

constexpr float kFar = 4096;  // beyond it SiLU and GELU are 0 or x to the last bit; keeps Inf * 0 out

FASTCONV_DEVICE float at_least(float x, float least) { return x < least ? least : x; }  // NaN stays
FASTCONV_DEVICE float near(float x) { return x > kFar ? kFar : at_least(x, -kFar); }

struct SigmoidPair {
  float value, complement;  // both to full precision
};
FASTCONV_DEVICE SigmoidPair sigmoid_pair(float x) {
  const float e = exponential(x < 0 ? x : -x), large = 1 / (1 + e), small = e / (1 + e);
  return x < 0 ? SigmoidPair{small, large} : SigmoidPair{large, small};
}
FASTCONV_DEVICE float below(float x) { return 0.5f * error_complement(-0.70710678f * x); }  // normal distribution

FASTCONV_DEVICE float activated(const Activation& f, float x) {
  switch (f.function) {
    case Pointwise::leaky_relu:
      return x <= 0 ? f.a * x : x;
    case Pointwise::elu:
      return x < 0 ? f.a * exponential_minus_one(x) : x;
    case Pointwise::sigmoid:
      return sigmoid_pair(x).value;
    case Pointwise::tanh:
      return hyperbolic_tangent(x);
    case Pointwise::swish: {
      const float inside = near(x);
      return at_least(x, -kFar) * sigmoid_pair(inside * (f.a + f.b * inside * inside)).value;
    }
    case Pointwise::gelu:
      return at_least(x, -kFar) * below(near(x));
    case Pointwise::softplus: {
      const float scaled = f.a * x;
      if (scaled > f.b) return x;
      return ((scaled < 0 ? 0 : scaled) + logarithm_of_one_plus(exponential(scaled < 0 ? scaled : -scaled))) / f.a;
    }
    case Pointwise::scale:
      return f.a * x;
    case Pointwise::clip:
      return x > f.a ? f.a : at_least(x, -f.a);
  }
  return x;
}

FASTCONV_DEVICE float derivative(const Activation& f, float saved) {
  switch (f.function) {
    case Pointwise::leaky_relu:
      return saved <= 0 ? f.a : 1;
    case Pointwise::elu:
      return saved <= 0 ? saved + f.a : 1;
    case Pointwise::sigmoid:
      return saved * (1 - saved);
    case Pointwise::tanh:
      return (1 - saved) * (1 + saved);
    case Pointwise::swish: {
      const float x = near(saved), cubic = f.b * x * x;
      const SigmoidPair s = sigmoid_pair(x * (cubic + f.a));
      return s.value * (1 + x * s.complement * (3 * cubic + f.a));
    }
    case Pointwise::gelu: {
      const float x = near(saved);
      return below(x) + x * 0.39894228f * exponential(-0.5f * x * x);
    }
    case Pointwise::softplus: {
      const float scaled = f.a * saved;
      return scaled <= f.b ? sigmoid_pair(scaled).value : 1;
    }
    case Pointwise::scale:
    case Pointwise::clip:
      return f.a;
  }
  return 1;
}

template <bool kWide>
FASTCONV_KERNEL activation_forward_kernel(ActivationParams p) {
  const std::int64_t at = first_element();
  Float4 x = load_four<kWide>(p.input, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) x.at[i] = activated(p.f, x.at[i]);
  store_four<kWide>(p.output, at, p.count, x);
}

template <bool kWide>
FASTCONV_KERNEL activation_backward_kernel(ActivationParams p) {
  const std::int64_t at = first_element();
  Float4 gradient = load_four<kWide>(p.input, at, p.count);
  const Float4 saved = load_four<kWide>(p.saved, at, p.count);
  FASTCONV_UNROLL
  for (int i = 0; i < kPerThread; ++i) gradient.at[i] *= derivative(p.f, saved.at[i]);
  store_four<kWide>(p.output, at, p.count, gradient);
}

struct AddBiasParams {
  const float* input;
  const float* bias;
  float* output;
  std::int64_t count, columns;
  bool relu;
};

static FASTCONV_KERNEL add_bias_kernel(AddBiasParams p) {
  const std::int64_t at = first_element();
  std::int64_t column = at % p.columns;
  for (int i = 0; i < kPerThread && at + i < p.count; ++i) {
    const float sum = p.input[at + i] + p.bias[column];
    p.output[at + i] = p.relu && sum <= 0 ? 0 : sum;
    if (++column == p.columns) column = 0;
  }
}

struct FillInt64Params {
  std::int64_t* output;
  std::int64_t value, count;
};

static FASTCONV_KERNEL fill_int64_kernel(FillInt64Params p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kElementwiseThreads + thread_x();
  if (at < p.count) p.output[at] = p.value;
}

struct Dropout2dParams {
  DropoutParams<float> p;        // count: all elements
  std::int64_t channels, image;  // image: pixels * channels
};

// The number of image and channel takes the place of the element's.
static FASTCONV_KERNEL dropout2d_kernel(Dropout2dParams q) {
  const DropoutParams<float>& p = q.p;
  const std::int64_t at = first_element();
  const std::uint64_t offset = p.offset + (p.counter ? static_cast<std::uint64_t>(*p.counter) : 0);
  for (int i = 0; i < kPerThread && at + i < p.count; ++i) {
    const std::int64_t plane = (at + i) / q.image * q.channels + (at + i) % q.channels;
    const FourNumbers random = philox(p.seed, static_cast<std::uint64_t>(plane / kPerThread), offset);
    const auto place = plane % kPerThread;
    const std::uint32_t number = place == 0   ? random.at[0]
                                 : place == 1 ? random.at[1]
                                 : place == 2 ? random.at[2]
                                              : random.at[3];
    p.output[at + i] = p.input[at + i] * (number < p.keep_below ? p.scale : 0.0f);
  }
}

// A warp has a row. In backward `saved` is the output of forward.
struct SoftmaxParams {
  const float* input;
  const float* saved;
  float* output;
  std::int64_t rows, classes;
};
constexpr int kSoftmaxRows = kElementwiseThreads / 32;

FASTCONV_DEVICE float sum_in_warp(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

static FASTCONV_KERNEL softmax_forward_kernel(SoftmaxParams p) {
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kSoftmaxRows + warp();
  if (row >= p.rows) return;  // the whole warp
  const float* const x = p.input + row * p.classes;
  float* const y = p.output + row * p.classes;
  // NaN need not be found here: it comes back through the exponentials.
  float most = x[0];
  for (std::int64_t c = lane(); c < p.classes; c += 32) most = x[c] > most ? x[c] : most;
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = shuffle_xor(most, mask);
    most = other > most ? other : most;
  }
  float sum = 0;
  for (std::int64_t c = lane(); c < p.classes; c += 32) {
    const float e = exponential(x[c] - most);
    y[c] = e, sum += e;
  }
  sum = sum_in_warp(sum);
  for (std::int64_t c = lane(); c < p.classes; c += 32) y[c] /= sum;
}

static FASTCONV_KERNEL softmax_backward_kernel(SoftmaxParams p) {
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kSoftmaxRows + warp();
  if (row >= p.rows) return;
  const float* const gy = p.input + row * p.classes;
  const float* const y = p.saved + row * p.classes;
  float sum = 0;
  for (std::int64_t c = lane(); c < p.classes; c += 32) sum = multiply_add(gy[c], y[c], sum);
  sum = sum_in_warp(sum);
  for (std::int64_t c = lane(); c < p.classes; c += 32) p.output[row * p.classes + c] = y[c] * (gy[c] - sum);
}

// (outer, classes, inner): a thread has the classes of one outer and inner place, whose neighbours read beside it.
struct SoftmaxColumnsParams {
  const float* input;  // backward: the gradient of the output
  const float* saved;  // backward alone: the output
  float* output;
  std::int64_t outer, classes, inner;
};

static FASTCONV_KERNEL softmax_columns_kernel(FASTCONV_GRID_CONSTANT const SoftmaxColumnsParams p) {
  const std::int64_t number = static_cast<std::int64_t>(block_x()) * kElementwiseThreads + thread_x();
  if (number >= p.outer * p.inner) return;
  const std::int64_t first = number / p.inner * p.classes * p.inner + number % p.inner;
  const std::int64_t end = first + p.classes * p.inner;
  float sum = 0;
  if (p.saved) {
    for (std::int64_t at = first; at < end; at += p.inner) sum = multiply_add(p.input[at], p.saved[at], sum);
    for (std::int64_t at = first; at < end; at += p.inner) p.output[at] = p.saved[at] * (p.input[at] - sum);
    return;
  }
  float most = p.input[first];
  for (std::int64_t at = first; at < end; at += p.inner) most = p.input[at] > most ? p.input[at] : most;
  for (std::int64_t at = first; at < end; at += p.inner) {
    const float e = exponential(p.input[at] - most);
    p.output[at] = e, sum += e;
  }
  for (std::int64_t at = first; at < end; at += p.inner) p.output[at] /= sum;
}

}  // namespace cuda
}  // namespace fastconv
