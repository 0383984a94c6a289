// Values at indices within their plane (row * W + column), as max pooling tells them: unpooling and its gradient.
#pragma once

#include <cstdint>

#include "core/layout.h"
#include "core/window.h"

namespace fastconv {

// large[n][c][indices[n][c][i]] = values[n][c][i], or += where `add`; all else is zero. Of equal indices the last is
// kept. False if an index lies outside the plane; it is left out.
template <class T>
bool scatter_planes(const Shape4& large_shape, std::int64_t small_pixels, const T* values, const std::int32_t* indices,
                    bool add, T* large, Layout layout);
// values[n][c][i] = large[n][c][indices[n][c][i]], zero for an index outside the plane.
template <class T>
bool gather_planes(const Shape4& large_shape, std::int64_t small_pixels, const T* large, const std::int32_t* indices,
                   T* values, Layout layout);

}  // namespace fastconv
