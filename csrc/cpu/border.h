// Zero padding is multiplied like any pixel, which is right as long as the other factor is finite: 0 * Inf would make a
// NaN where the tap, lying outside the image, should take no part. These loops redo such sums tap by tap. They are
// slow, and run only where a weight (or grad_output) is not finite and the padding is touched.
#pragma once

#include "cpu/direct_conv.h"

namespace fastconv {

// Recomputes the outputs whose windows touch the padding, from the problem before any joining of rows.
template <class T>
void redo_border(const DirectConv<T>& problem);

// grad[kh][kw][ic - channel0][lane] += the sum over a block's pixels, taps outside the image skipped; width lanes a
// step.
template <class T>
void add_weight_gradient_inside(const ConvGrid<T>& grid, const Block& block, const T* packed_grad, std::int64_t width,
                                T* grad);

}  // namespace fastconv
