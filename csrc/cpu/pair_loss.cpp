#include <algorithm>
#include <cmath>

#include "core/checked_math.h"
#include "cpu/loss.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// value(x, t) summed in double, block by block, and slope(x, t) * grad_scale to grad.
template <class T, class Value, class Slope>
double sum_pairs(const T* input, const T* target, std::int64_t count, double operations, T* grad, Value&& value,
                 Slope&& slope) {
  constexpr std::int64_t kBlock = 4096;
  constexpr int kLanes = 8;  // sums side by side, for the compiler's vectors
  const std::int64_t blocks = ceil_div(count, kBlock);
  const Scratch scratch(static_cast<std::size_t>(blocks) * sizeof(double));
  double* sums = scratch.as<double>();
  parallel_for(blocks, threads_for(static_cast<double>(count) * operations), [&](std::int64_t block, int) {
    double sum[kLanes] = {};
    const std::int64_t end = std::min(count, (block + 1) * kBlock);
    std::int64_t i = block * kBlock;
    for (; i + kLanes <= end; i += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += value(input[i + lane], target[i + lane]);
    for (int lane = 0; i + lane < end; ++lane) sum[lane] += value(input[i + lane], target[i + lane]);
    for (int lane = 1; lane < kLanes; ++lane) sum[0] += sum[lane];
    sums[block] = sum[0];
    if (!grad) return;
    for (std::int64_t j = block * kBlock; j < end; ++j) grad[j] = static_cast<T>(slope(input[j], target[j]));
  });
  double total = 0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  return total;
}

double logarithm(double p) {
  const double l = std::log(p);
  return l < -100 ? -100 : l;
}

}  // namespace

template <class T>
double pair_loss(PairLoss kind, const T* input, const T* target, std::int64_t count, double parameter, T grad_scale,
                 T* grad) {
  constexpr double kCheap = 9 * sizeof(T), kExponentials = 200;  // in the units of threads_for
  const double delta = parameter, scale = grad_scale;
  switch (kind) {
    case PairLoss::squared: {
      const T twice = 2 * grad_scale;
      return sum_pairs(
          input, target, count, kCheap, grad, [](double x, double t) { return (x - t) * (x - t); },
          [=](T x, T t) { return (x - t) * twice; });
    }
    case PairLoss::absolute:
      return sum_pairs(
          input, target, count, kCheap, grad, [](double x, double t) { return std::fabs(x - t); },
          [=](T x, T t) { return x > t   ? scale
                                 : x < t ? -scale
                                         : (x - t) * scale; });  // NaN stays
    case PairLoss::huber:
      return sum_pairs(
          input, target, count, kCheap, grad,
          [=](double x, double t) {
            const double d = std::fabs(x - t);
            return d > delta ? delta * (d - 0.5 * delta) : 0.5 * d * d;
          },
          [=](double x, double t) {
            const double d = x - t;
            return (d > delta ? delta : d < -delta ? -delta : d) * scale;
          });
    case PairLoss::binary_logits:
      return sum_pairs(
          input, target, count, kExponentials, grad,
          [](double x, double t) { return (x > 0 ? x * (1 - t) : -x * t) + std::log1p(std::exp(-std::fabs(x))); },
          [=](double x, double t) { return (1 / (1 + std::exp(-x)) - t) * scale; });
    case PairLoss::binary:
      return sum_pairs(
          input, target, count, kExponentials, grad,
          [](double p, double t) { return -t * logarithm(p) - (1 - t) * logarithm(1 - p); },
          [=](double p, double t) { return (p - t) / std::max(p * (1 - p), 1e-12) * scale; });
  }
  return 0;
}

template double pair_loss(PairLoss, const float*, const float*, std::int64_t, double, float, float*);
template double pair_loss(PairLoss, const double*, const double*, std::int64_t, double, double, double*);

}  // namespace fastconv
