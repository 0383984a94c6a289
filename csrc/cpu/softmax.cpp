#include "cpu/softmax.h"

#include <algorithm>
#include <cmath>

#include "core/checked_math.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// An exponential and the rest of its element, in the units of threads_for.
constexpr double kOperationsPerElement = 100;
// Vectors side by side: their classes lie `inner` apart, and so many of them fill whole cache lines.
constexpr std::int64_t kLanes = 32;

// body(first, lanes) for every group of neighbouring vectors, `first` the offset of its first element.
template <class Body>
void for_each_group(std::int64_t outer, std::int64_t classes, std::int64_t inner, Body&& body) {
  const double elements = static_cast<double>(outer) * static_cast<double>(classes) * static_cast<double>(inner);
  const std::int64_t groups = ceil_div(inner, kLanes);
  parallel_for(outer * groups, threads_for(kOperationsPerElement * elements), [&](std::int64_t task, int) {
    const std::int64_t lane = task % groups * kLanes;
    body(task / groups * classes * inner + lane, std::min(kLanes, inner - lane));
  });
}

}  // namespace

template <class T>
void softmax_forward(const T* input, std::int64_t outer, std::int64_t classes, std::int64_t inner, T* output) {
  for_each_group(outer, classes, inner, [=](std::int64_t first, std::int64_t lanes) {
    const T* x = input + first;
    T* y = output + first;
    T most[kLanes];
    double sum[kLanes];
    std::copy(x, x + lanes, most);
    std::fill(sum, sum + lanes, 0.0);
    // NaN need not be found here: it comes back through the exponentials.
    for (std::int64_t c = 1; c < classes; ++c)
      for (std::int64_t l = 0; l < lanes; ++l) most[l] = x[c * inner + l] > most[l] ? x[c * inner + l] : most[l];
    for (std::int64_t c = 0; c < classes; ++c)
      for (std::int64_t l = 0; l < lanes; ++l) sum[l] += y[c * inner + l] = std::exp(x[c * inner + l] - most[l]);
    for (std::int64_t c = 0; c < classes; ++c)
      for (std::int64_t l = 0; l < lanes; ++l) y[c * inner + l] = static_cast<T>(y[c * inner + l] / sum[l]);
  });
}

template <class T>
void softmax_backward(const T* grad_output, const T* output, std::int64_t outer, std::int64_t classes,
                      std::int64_t inner, T* grad_input) {
  for_each_group(outer, classes, inner, [=](std::int64_t first, std::int64_t lanes) {
    const T* g = grad_output + first;
    const T* y = output + first;
    T* grad = grad_input + first;
    double dot[kLanes] = {};
    for (std::int64_t c = 0; c < classes; ++c)
      for (std::int64_t l = 0; l < lanes; ++l) dot[l] += static_cast<double>(g[c * inner + l]) * y[c * inner + l];
    for (std::int64_t c = 0; c < classes; ++c)
      for (std::int64_t l = 0; l < lanes; ++l)
        grad[c * inner + l] = static_cast<T>(y[c * inner + l] * (g[c * inner + l] - dot[l]));
  });
}

template void softmax_forward(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void softmax_forward(const double*, std::int64_t, std::int64_t, std::int64_t, double*);
template void softmax_backward(const float*, const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void softmax_backward(const double*, const double*, std::int64_t, std::int64_t, std::int64_t, double*);

}  // namespace fastconv
