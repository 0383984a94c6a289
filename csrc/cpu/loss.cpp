#include "cpu/loss.h"

#include <algorithm>
#include <cmath>

#include "core/checked_math.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// An exponential and the rest of its element, in the units of threads_for.
constexpr double kOperationsPerElement = 100;

int row_threads(std::int64_t n, std::int64_t classes) {
  return threads_for(kOperationsPerElement * static_cast<double>(n) * static_cast<double>(classes));
}

// NaN in the row need not be found here: it comes back through the exponentials.
template <class T>
T row_max(const T* x, std::int64_t classes) {
  T most = x[0];
  for (std::int64_t c = 1; c < classes; ++c) most = x[c] > most ? x[c] : most;
  return most;
}

}  // namespace

std::int64_t first_bad_label(const std::int64_t* labels, std::int64_t n, std::int64_t classes) {
  std::int64_t row = 0;
  while (row < n && labels[row] >= 0 && labels[row] < classes) ++row;
  return row;
}

template <class T>
void softmax_cross_entropy(const T* logits, const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                           T grad_scale, T* losses, T* grad) {
  parallel_for(n, row_threads(n, classes), [&](std::int64_t row, int) {
    const T* x = logits + row * classes;
    const T most = row_max(x, classes);
    const std::int64_t label = labels[row];
    double sum = 0;
    if (grad) {
      T* g = grad + row * classes;
      for (std::int64_t c = 0; c < classes; ++c) sum += g[c] = std::exp(x[c] - most);
      const double scale = grad_scale / sum;
      for (std::int64_t c = 0; c < classes; ++c) g[c] = static_cast<T>(g[c] * scale);
      g[label] -= grad_scale;
    } else {
      for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - most);
    }
    losses[row] = static_cast<T>(std::log(sum) - (static_cast<double>(x[label]) - most));
  });
}

template <class T>
double mean_squared_error(const T* input, const T* target, std::int64_t count, T grad_scale, T* grad) {
  constexpr std::int64_t kBlock = 4096;
  constexpr int kLanes = 8;  // sums side by side, for the compiler's vectors
  const std::int64_t blocks = ceil_div(count, kBlock);
  const Scratch scratch(static_cast<std::size_t>(blocks) * sizeof(double));
  double* sums = scratch.as<double>();
  const T twice = 2 * grad_scale;
  parallel_for(blocks, threads_for_bytes(static_cast<double>(count) * 3 * sizeof(T)), [&](std::int64_t block, int) {
    double sum[kLanes] = {};
    const std::int64_t end = std::min(count, (block + 1) * kBlock);
    std::int64_t i = block * kBlock;
    for (; i + kLanes <= end; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const double difference = static_cast<double>(input[i + lane]) - target[i + lane];
        sum[lane] += difference * difference;
      }
    }
    for (int lane = 0; i + lane < end; ++lane) {
      const double difference = static_cast<double>(input[i + lane]) - target[i + lane];
      sum[lane] += difference * difference;
    }
    for (int lane = 1; lane < kLanes; ++lane) sum[0] += sum[lane];
    sums[block] = sum[0];
    if (!grad) return;
    for (std::int64_t j = block * kBlock; j < end; ++j) grad[j] = (input[j] - target[j]) * twice;
  });
  double total = 0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  return total;
}

template void softmax_cross_entropy(const float*, const std::int64_t*, std::int64_t, std::int64_t, float, float*,
                                    float*);
template void softmax_cross_entropy(const double*, const std::int64_t*, std::int64_t, std::int64_t, double, double*,
                                    double*);
template double mean_squared_error(const float*, const float*, std::int64_t, float, float*);
template double mean_squared_error(const double*, const double*, std::int64_t, double, double*);

}  // namespace fastconv
