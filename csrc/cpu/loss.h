// Losses on the CPU, rows of (n, classes). The exponentials are the C library's, sums are in double:
// results do not depend on the instruction set, the number of threads or the other rows.
#pragma once

#include <cstdint>

namespace fastconv {

// losses[i] = log(sum(exp(logits[i]))) - logits[i][labels[i]]; grad = (softmax - one_hot) * grad_scale, or null.
// Stable: the row's maximum is taken off first. A row of -inf, or with a NaN or +inf, gives NaN. Labels must be valid:
template <class T>
void softmax_cross_entropy(const T* logits, const std::int64_t* labels, std::int64_t n, std::int64_t classes,
                           T grad_scale, T* losses, T* grad);
// The first row whose label is not in [0, classes), or n.
std::int64_t first_bad_label(const std::int64_t* labels, std::int64_t n, std::int64_t classes);

// The sum of squared differences; grad = 2 * (input - target) * grad_scale, or null.
template <class T>
double mean_squared_error(const T* input, const T* target, std::int64_t count, T grad_scale, T* grad);

}  // namespace fastconv
