#include "cpu/loss.h"

#include <algorithm>
#include <cmath>

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

std::int64_t first_bad_label(const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                             const std::int64_t* ignore_index) {
  std::int64_t row = 0;
  while (row < n && ((labels[row] >= 0 && labels[row] < classes) || (ignore_index && labels[row] == *ignore_index)))
    ++row;
  return row;
}

template <class T>
double label_weight(const std::int64_t* labels, std::int64_t n, const T* weight, const std::int64_t* ignore_index) {
  double sum = 0;
  for (std::int64_t row = 0; row < n; ++row)
    if (!ignore_index || labels[row] != *ignore_index) sum += weight ? static_cast<double>(weight[labels[row]]) : 1.0;
  return sum;
}

template <class T>
void softmax_cross_entropy(const T* logits, const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                           const CrossEntropyOptions<T>& options, T grad_scale, T* losses, T* grad) {
  const double share = options.label_smoothing / static_cast<double>(classes), rest = 1 - options.label_smoothing;
  const T* weight = options.weight;
  double all_weights = static_cast<double>(classes);
  if (weight) {
    all_weights = 0;
    for (std::int64_t c = 0; c < classes; ++c) all_weights += weight[c];
  }
  parallel_for(n, row_threads(n, classes), [&](std::int64_t row, int) {
    const T* x = logits + row * classes;
    T* g = grad ? grad + row * classes : nullptr;
    const std::int64_t label = labels[row];
    if (options.ignore_index && label == *options.ignore_index) {
      losses[row] = 0;
      if (g) std::fill(g, g + classes, T(0));
      return;
    }
    const T most = row_max(x, classes);
    const double hit = weight ? rest * weight[label] : rest, total = hit + share * all_weights;
    double sum = 0, spread = 0;
    if (g) {
      for (std::int64_t c = 0; c < classes; ++c) sum += g[c] = std::exp(x[c] - most);
      const double scale = grad_scale * total / sum;
      for (std::int64_t c = 0; c < classes; ++c) g[c] = static_cast<T>(g[c] * scale);
      g[label] -= static_cast<T>(grad_scale * hit);
    } else {
      for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - most);
    }
    if (share > 0) {
      for (std::int64_t c = 0; c < classes; ++c) {
        const double part = weight ? share * weight[c] : share;
        spread += part * (static_cast<double>(x[c]) - most);
        if (g) g[c] -= static_cast<T>(grad_scale * part);
      }
    }
    losses[row] = static_cast<T>(total * std::log(sum) - hit * (static_cast<double>(x[label]) - most) - spread);
  });
}

template double label_weight(const std::int64_t*, std::int64_t, const float*, const std::int64_t*);
template double label_weight(const std::int64_t*, std::int64_t, const double*, const std::int64_t*);
template void softmax_cross_entropy(const float*, const std::int64_t*, std::int64_t, std::int64_t,
                                    const CrossEntropyOptions<float>&, float, float*, float*);
template void softmax_cross_entropy(const double*, const std::int64_t*, std::int64_t, std::int64_t,
                                    const CrossEntropyOptions<double>&, double, double*, double*);

}  // namespace fastconv
