// The last step of backward-weight.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"

namespace fastconv {

// Sums the partial gradients in order and brings [group][block][kh][kw][ic][lanes] to (OC, IC/groups, KH, KW).
// Transposed, for one tap and one group: to (IC, OC), where the caller has exchanged input and grad_output.
template <class T>
void collect_weight_gradient(const Conv2dShape& shape, const T* partials, std::int64_t count, T* grad_weight,
                             bool accumulate, int threads, bool transposed = false);

}  // namespace fastconv
