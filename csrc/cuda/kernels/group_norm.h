// Group norm: a block has one group of an image's channels. Sums go by thread first, then by a tree over the block: one
// order, no atomics. The gradients of weight and bias take the walk of batch norm.
#pragma once

#include <cstdint>

#include "cuda/fast_divide.h"
#include "cuda/group_norm.h"
#include "cuda/kernels/batch_norm.h"
#include "cuda/trigonometry.h"

namespace fastconv {
namespace cuda {

struct GroupNormParams {
  GroupNorm p;
  FastDivide group_channels;
  std::int32_t elements;  // of a group
};

// Where an element of the block's group lies.
struct GroupElement {
  std::int64_t at, channel;
};
FASTCONV_DEVICE GroupElement group_element(const GroupNormParams& q, std::int32_t element) {
  const std::int64_t width = q.p.channels / q.p.groups;
  const std::int64_t image = block_x() / q.p.groups, first = block_x() % q.p.groups * width;
  const std::int32_t pixel = q.group_channels.quotient(element);
  const std::int64_t channel = first + q.group_channels.remainder(element, pixel);
  return {(image * q.p.pixels + pixel) * q.p.channels + channel, channel};
}

// For all threads. kColumnThreads values of T in shared memory; plus(a, b) in the order of a tree.
template <class T, class Plus>
FASTCONV_DEVICE T over_block(const T& value, const Plus& plus) {
  T* const parts = shared<T>();
  parts[thread_x()] = value;
  sync();
  for (int step = kColumnThreads / 2; step > 0; step /= 2) {
    if (thread_x() < step) parts[thread_x()] = plus(parts[thread_x()], parts[thread_x() + step]);
    sync();
  }
  return parts[0];
}

// The statistics are those of a group; scale and shift are a channel's.
FASTCONV_DEVICE Normaliser group_normaliser(const GroupNorm& p, double mean, double rstd, std::int64_t channel) {
  Normaliser n;
  n.mean = static_cast<float>(mean), n.rstd = static_cast<float>(rstd);
  n.scale = p.weight ? n.rstd * p.weight[channel] : n.rstd;
  n.shift = p.bias ? p.bias[channel] : 0;
  return n;
}

static FASTCONV_KERNEL group_norm_forward_kernel(FASTCONV_GRID_CONSTANT const GroupNormParams q) {
  float mean = 0, squares = 0, count = 0;
  for (std::int32_t e = thread_x(); e < q.elements; e += kColumnThreads) {
    const float x = q.p.input[group_element(q, e).at], apart = x - mean;
    count += 1;
    mean = multiply_add(apart, 1 / count, mean);
    squares = multiply_add(apart, x - mean, squares);
  }
  const Moments own = {count, mean, squares};
  const Moments all = over_block(own, [](const Moments& a, const Moments& b) { return together(a, b); });
  const double rstd = 1 / root(all.squares / q.elements + q.p.eps);
  if (thread_x() == 0) q.p.stats[block_x() * 2] = all.mean, q.p.stats[block_x() * 2 + 1] = rstd;
  for (std::int32_t e = thread_x(); e < q.elements; e += kColumnThreads) {
    const GroupElement at = group_element(q, e);
    const float y = group_normaliser(q.p, all.mean, rstd, at.channel).output(q.p.input[at.at]);
    q.p.output[at.at] = q.p.relu && y <= 0 ? 0 : y;
  }
}

struct TwoSums {
  double gradient, product;
};

static FASTCONV_KERNEL group_norm_backward_kernel(FASTCONV_GRID_CONSTANT const GroupNormParams q) {
  const double mean = q.p.stats[block_x() * 2], rstd = q.p.stats[block_x() * 2 + 1];
  float sum = 0, product = 0;
  for (std::int32_t e = thread_x(); e < q.elements; e += kColumnThreads) {
    const GroupElement at = group_element(q, e);
    const Normaliser n = group_normaliser(q.p, mean, rstd, at.channel);
    const float x = q.p.input[at.at];
    const float gradient = q.p.relu && n.output(x) <= 0 ? 0 : q.p.grad_output[at.at];
    sum = multiply_add(gradient, n.scale, sum);
    product = multiply_add(gradient * n.scale, (x - n.mean) * n.rstd, product);
  }
  const TwoSums own = {sum, product};
  const TwoSums all = over_block(
      own, [](const TwoSums& a, const TwoSums& b) { return TwoSums{a.gradient + b.gradient, a.product + b.product}; });
  const auto mean_gradient = static_cast<float>(all.gradient / q.elements);
  const auto mean_product = static_cast<float>(all.product / q.elements);
  for (std::int32_t e = thread_x(); e < q.elements; e += kColumnThreads) {
    const GroupElement at = group_element(q, e);
    const Normaliser n = group_normaliser(q.p, mean, rstd, at.channel);
    const float x = q.p.input[at.at], normalised = (x - n.mean) * n.rstd;
    const float gradient = q.p.relu && n.output(x) <= 0 ? 0 : q.p.grad_output[at.at];
    q.p.output[at.at] = gradient * n.scale - mean_gradient - normalised * mean_product;
  }
}

struct GroupNormSumsParams {
  GroupNorm p;
  BatchNormWalk walk;
};

// As batch_norm_gradient_sums, with statistics that change from image to image.
static FASTCONV_KERNEL group_norm_gradient_sums(FASTCONV_GRID_CONSTANT const GroupNormSumsParams q) {
  const ColumnWalk at = column_walk<1>(q.walk, q.p.n * q.p.pixels);
  float sum = 0, product = 0;
  if (at.column < q.p.channels) {
    const std::int64_t group = at.column / (q.p.channels / q.p.groups);
    std::int64_t image = -1;
    Normaliser n = {};
    for (std::int64_t row = at.begin + at.side; row < at.end; row += at.sides) {
      if (row / q.p.pixels != image) {
        image = row / q.p.pixels;
        const double* const stats = q.p.stats + (image * q.p.groups + group) * 2;
        n = group_normaliser(q.p, stats[0], stats[1], at.column);
      }
      const float x = q.p.input[row * q.p.channels + at.column];
      const float gradient = q.p.relu && n.output(x) <= 0 ? 0 : q.p.grad_output[row * q.p.channels + at.column];
      sum += gradient;
      product = multiply_add(gradient, (x - n.mean) * n.rstd, product);
    }
  }
  TwoSums* const sums = shared<TwoSums>();
  sums[thread_x()] = {sum, product};
  sync();
  if (at.side > 0 || at.column >= q.p.channels) return;
  TwoSums all = {};
  for (int side = 0; side < at.sides; ++side) {
    const TwoSums& from = sums[side * q.walk.lanes + thread_x()];
    all.gradient += from.gradient, all.product += from.product;
  }
  double* const to = q.walk.partial + (at.slice * q.p.channels + at.column) * 2;
  to[0] = all.gradient, to[1] = all.product;
}

// A thread has an element; neighbours read the same window of channels.
FASTCONV_DEVICE double response_base(const LocalResponseNorm& p, const float* pixel, std::int64_t channel) {
  const std::int64_t first = channel - p.size / 2, last = channel + (p.size - 1) / 2;
  float sum = 0;
  for (std::int64_t c = first < 0 ? 0 : first; c <= last && c < p.channels; ++c)
    sum = multiply_add(pixel[c], pixel[c], sum);
  return p.k + p.alpha / static_cast<double>(p.size) * sum;
}

static FASTCONV_KERNEL local_response_norm_kernel(FASTCONV_GRID_CONSTANT const LocalResponseNorm p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kColumnThreads + thread_x();
  if (at >= p.pixels * p.channels) return;
  const std::int64_t channel = at % p.channels;
  const float* const pixel = p.input + (at - channel);
  const auto factor = static_cast<float>(power(response_base(p, pixel, channel), -p.beta));
  if (!p.grad_output) {
    p.output[at] = pixel[channel] * factor;
    return;
  }
  // The windows that this channel lies in.
  const float* const gradient = p.grad_output + (at - channel);
  const std::int64_t first = channel - (p.size - 1) / 2, last = channel + p.size / 2;
  double sum = 0;
  for (std::int64_t c = first < 0 ? 0 : first; c <= last && c < p.channels; ++c)
    sum += static_cast<double>(gradient[c]) * pixel[c] * power(response_base(p, pixel, c), -p.beta - 1);
  const double share = 2 * p.alpha * p.beta / static_cast<double>(p.size);
  p.output[at] = static_cast<float>(static_cast<double>(gradient[channel]) * factor - share * pixel[channel] * sum);
}

static FASTCONV_KERNEL combine_kernel(FASTCONV_GRID_CONSTANT const Combine p) {
  const std::int64_t image = p.pixels * p.channels;
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kColumnThreads + thread_x();
  if (at >= p.n * image) return;
  const float other = p.other[p.spread ? at / image * p.channels + at % p.channels : at], x = p.input[at];
  p.output[at] = p.multiply ? x * other : x + other;
}

struct EmbeddingParams {
  const float* from;    // positions; backward: the gradient of the output
  const float* output;  // backward alone
  const float* frequency;
  float* to;
  std::int64_t rows, half;
};

static FASTCONV_KERNEL sinusoidal_embedding_kernel(EmbeddingParams p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kColumnThreads + thread_x();
  if (at >= p.rows * p.half) return;
  const std::int64_t row = at / p.half, column = at % p.half;
  const float angle = p.from[row] * p.frequency[column];
  p.to[row * 2 * p.half + column] = sine(angle);
  p.to[row * 2 * p.half + p.half + column] = cosine(angle);
}

// A thread has a row.
static FASTCONV_KERNEL sinusoidal_embedding_backward_kernel(EmbeddingParams p) {
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kColumnThreads + thread_x();
  if (row >= p.rows) return;
  const float* const gradient = p.from + row * 2 * p.half;
  const float* const y = p.output + row * 2 * p.half;
  float sum = 0;
  for (std::int64_t c = 0; c < p.half; ++c)
    sum = multiply_add(gradient[c] * y[p.half + c] - gradient[p.half + c] * y[c], p.frequency[c], sum);
  p.to[row] = sum;
}

}  // namespace cuda
}  // namespace fastconv
