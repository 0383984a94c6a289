// Losses on the CPU, rows of (n, classes). The exponentials are the C library's, sums are in double:
// results do not depend on the instruction set, the number of threads or the other rows.
#pragma once

#include <cstdint>

namespace fastconv {

template <class T>
struct CrossEntropyOptions {
  const T* weight = nullptr;  // of each class; null: 1
  double label_smoothing = 0;
  const std::int64_t* ignore_index = nullptr;  // rows with this label take no part
};

// With e = label_smoothing, w the weights, y the label and l = log(softmax(logits)):
// losses = -(1 - e) w[y] l[y] - e / classes * sum(w l); grad is its gradient times grad_scale, or null.
// Stable: the row's maximum is taken off first. A row of -inf, or with a NaN or +inf, gives NaN. Labels must be valid:
template <class T>
void softmax_cross_entropy(const T* logits, const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                           const CrossEntropyOptions<T>& options, T grad_scale, T* losses, T* grad);
// The first row whose label is neither in [0, classes) nor ignored, or n.
std::int64_t first_bad_label(const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                             const std::int64_t* ignore_index);
// What the mean divides by: the sum of the labels' weights, ignored rows left out.
template <class T>
double label_weight(const std::int64_t* labels, std::int64_t n, const T* weight, const std::int64_t* ignore_index);

// Losses of pairs of elements, d = input - target: d^2; |d|; Huber's, d^2 / 2 up to `parameter` and a line beyond;
// binary cross entropy of logits, and of probabilities, whose logarithms are taken as at least -100 (PyTorch's rule).
enum class PairLoss { squared, absolute, huber, binary_logits, binary };

// The sum of the losses; grad is its gradient times grad_scale, or null.
template <class T>
double pair_loss(PairLoss kind, const T* input, const T* target, std::int64_t count, double parameter, T grad_scale,
                 T* grad);

}  // namespace fastconv
