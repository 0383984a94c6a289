#include "cuda/activation.h"

#include <stdexcept>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/activation.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t blocks_of(std::int64_t count) { return ceil_div(count, kPerBlock); }

}  // namespace

Activation parse_activation(const std::string& name, double a, double b) {
  const auto with = [](Pointwise f, double x, double y) {
    return Activation{f, static_cast<float>(x), static_cast<float>(y)};
  };
  if (name == "leaky_relu") return with(Pointwise::leaky_relu, a, 0);
  if (name == "elu") return with(Pointwise::elu, a, 0);
  if (name == "sigmoid") return with(Pointwise::sigmoid, 0, 0);
  if (name == "tanh") return with(Pointwise::tanh, 0, 0);
  if (name == "silu") return with(Pointwise::swish, 1, 0);
  if (name == "gelu_tanh") {
    constexpr double kTwice = 1.5957691216057308;  // 2 sqrt(2 / pi): tanh(z) = 2 sigmoid(2 z) - 1
    return with(Pointwise::swish, kTwice, 0.044715 * kTwice);
  }
  if (name == "gelu") return with(Pointwise::gelu, 0, 0);
  if (name == "softplus") return with(Pointwise::softplus, a, b);
  if (name == "scale") return with(Pointwise::scale, a, 0);
  if (name == "clip") return with(Pointwise::clip, a, 0);
  throw std::invalid_argument("activation: function must be one that is known, got '" + name + "'");
}

void activation_forward(const Activation& f, const float* input, float* output, std::int64_t count, Stream stream) {
  const ActivationParams p{input, nullptr, output, count, f};
  const bool in_fours = aligned(input, 16) && aligned(output, 16);
  launch({"activation_forward", blocks_of(count), kElementwiseThreads, 0, stream},
         in_fours ? activation_forward_kernel<true> : activation_forward_kernel<false>, p, Elements{count});
}

void activation_backward(const Activation& f, const float* grad_output, const float* saved, float* grad_input,
                         std::int64_t count, Stream stream) {
  const ActivationParams p{grad_output, saved, grad_input, count, f};
  const bool in_fours = aligned(grad_output, 16) && aligned(saved, 16) && aligned(grad_input, 16);
  launch({"activation_backward", blocks_of(count), kElementwiseThreads, 0, stream},
         in_fours ? activation_backward_kernel<true> : activation_backward_kernel<false>, p, Elements{count});
}

void add_bias(const float* input, const float* bias, float* output, std::int64_t rows, std::int64_t columns, bool relu,
              Stream stream) {
  const AddBiasParams p{input, bias, output, rows * columns, columns, relu};
  launch({"add_bias", blocks_of(p.count), kElementwiseThreads, 0, stream}, add_bias_kernel, p, Elements{p.count});
}

void softmax_forward(const float* input, float* output, std::int64_t rows, std::int64_t classes, Stream stream) {
  const SoftmaxParams p{input, nullptr, output, rows, classes};
  launch({"softmax_forward", ceil_div(rows, kSoftmaxRows), kElementwiseThreads, 0, stream}, softmax_forward_kernel, p,
         Elements{rows * classes});
}

void softmax_backward(const float* grad_output, const float* output, float* grad_input, std::int64_t rows,
                      std::int64_t classes, Stream stream) {
  const SoftmaxParams p{grad_output, output, grad_input, rows, classes};
  launch({"softmax_backward", ceil_div(rows, kSoftmaxRows), kElementwiseThreads, 0, stream}, softmax_backward_kernel, p,
         Elements{rows * classes});
}

void softmax_columns(const float* input, const float* saved, float* output, std::int64_t outer, std::int64_t classes,
                     std::int64_t inner, Stream stream) {
  launch({"softmax_columns", ceil_div(outer * inner, kElementwiseThreads), kElementwiseThreads, 0, stream},
         softmax_columns_kernel, SoftmaxColumnsParams{input, saved, output, outer, classes, inner},
         Elements{outer * classes * inner});
}

void fill_int64(std::int64_t* output, std::int64_t value, std::int64_t count, Stream stream) {
  launch({"fill_int64", ceil_div(count, kElementwiseThreads), kElementwiseThreads, 0, stream}, fill_int64_kernel,
         FillInt64Params{output, value, count}, Elements{count});
}

void dropout2d(const float* input, float* output, std::int64_t n, std::int64_t pixels, std::int64_t channels, double p,
               std::uint64_t seed, std::uint64_t offset, const std::int64_t* counter, Stream stream) {
  const double below = (1 - p) * 4294967296.0;
  const auto keep_below = static_cast<std::uint32_t>(below < 4294967295.0 ? below : 4294967295.0);
  Dropout2dParams q{};
  q.p = {input, output, counter, n * pixels * channels, seed, offset, keep_below, static_cast<float>(1 / (1 - p))};
  q.channels = channels, q.image = pixels * channels;
  launch({"dropout2d", blocks_of(q.p.count), kElementwiseThreads, 0, stream}, dropout2d_kernel, q, Elements{q.p.count});
}

}  // namespace cuda
}  // namespace fastconv
