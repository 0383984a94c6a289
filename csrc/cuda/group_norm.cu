#include "cuda/group_norm.h"

#include <limits>
#include <stdexcept>
#include <string>

#include "core/checked_math.h"
#include "cuda/kernels/group_norm.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

GroupNormParams params_of(const GroupNorm& p) {
  const std::int64_t width = p.channels / p.groups, elements = checked_mul(p.pixels, width, "group_norm");
  if (elements > std::numeric_limits<std::int32_t>::max() - kColumnThreads)
    throw std::invalid_argument("group_norm: a group must have less than 2147483392 elements, got " +
                                std::to_string(elements));
  return {p, FastDivide(static_cast<std::int32_t>(width)), static_cast<std::int32_t>(elements)};
}

void launch_elements(const char* name, std::int64_t count, void (*kernel)(EmbeddingParams), const EmbeddingParams& p,
                     Stream stream) {
  launch({name, ceil_div(count, kColumnThreads), kColumnThreads, 0, stream}, kernel, p, Elements{count});
}

}  // namespace

void group_norm_forward(const GroupNorm& p, Stream stream) {
  launch({"group_norm_forward", p.n * p.groups, kColumnThreads,
          kColumnThreads * static_cast<std::int64_t>(sizeof(Moments)), stream},
         group_norm_forward_kernel, params_of(p), Elements{p.n * p.pixels * p.channels});
}

void group_norm_backward(const GroupNorm& p, float* grad_weight, float* grad_bias, bool accumulate, void* workspace,
                         Stream stream) {
  const Elements elements{p.n * p.pixels * p.channels};
  constexpr std::int64_t kSumsBytes = kColumnThreads * static_cast<std::int64_t>(sizeof(TwoSums));
  if (grad_weight || grad_bias) {  // first: grad_input may be written over grad_output
    const ColumnSlices s = column_slices(p.n * p.pixels, p.channels);
    GroupNormSumsParams q{p, {}};
    q.walk.slices = static_cast<std::int32_t>(s.slices);
    q.walk.slice_rows = s.slices > 0 ? ceil_div(p.n * p.pixels, s.slices) : 0;
    q.walk.lanes = static_cast<std::int32_t>(s.lanes);
    q.walk.column_blocks = static_cast<std::int32_t>(ceil_div(p.channels, s.lanes));
    q.walk.partial = static_cast<double*>(workspace);
    launch({"group_norm_gradient_sums", s.slices * q.walk.column_blocks, kColumnThreads, kSumsBytes, stream},
           group_norm_gradient_sums, q, elements);
    BatchNormBackwardParams sums{};
    sums.p.grad_weight = grad_weight, sums.p.grad_bias = grad_bias;
    sums.p.rows = p.n * p.pixels, sums.p.columns = p.channels, sums.p.accumulate = accumulate;
    sums.walk = q.walk;
    launch({"batch_norm_gradients", ceil_div(p.channels, kNormColumns), kColumnThreads, kSumsBytes, stream},
           batch_norm_gradients, sums, elements);
  }
  if (p.output)
    launch({"group_norm_backward", p.n * p.groups, kColumnThreads, kSumsBytes, stream}, group_norm_backward_kernel,
           params_of(p), elements);
}

void local_response_norm(const LocalResponseNorm& p, Stream stream) {
  const std::int64_t count = p.pixels * p.channels;
  launch({"local_response_norm", ceil_div(count, kColumnThreads), kColumnThreads, 0, stream},
         local_response_norm_kernel, p, Elements{count});
}

void combine(const Combine& p, Stream stream) {
  const std::int64_t count = p.n * p.pixels * p.channels;
  launch({"combine", ceil_div(count, kColumnThreads), kColumnThreads, 0, stream}, combine_kernel, p, Elements{count});
}

void sinusoidal_embedding(const float* positions, const float* frequency, float* output, std::int64_t rows,
                          std::int64_t half, Stream stream) {
  launch_elements("sinusoidal_embedding", rows * half, sinusoidal_embedding_kernel,
                  {positions, nullptr, frequency, output, rows, half}, stream);
}

void sinusoidal_embedding_backward(const float* grad_output, const float* output, const float* frequency,
                                   float* grad_positions, std::int64_t rows, std::int64_t half, Stream stream) {
  launch_elements("sinusoidal_embedding_backward", rows, sinusoidal_embedding_backward_kernel,
                  {grad_output, output, frequency, grad_positions, rows, half}, stream);
}

}  // namespace cuda
}  // namespace fastconv
