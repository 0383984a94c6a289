// Geometries as text, for errors. launch() finds the overload for whatever geometry a driver has.
#pragma once

#include <cstdint>
#include <string>

#include "core/conv2d_shape.h"
#include "core/pool2d_shape.h"

namespace fastconv {
namespace cuda {

struct Elements {
  std::int64_t count;
};

inline std::string describe(const Elements& e) { return std::to_string(e.count) + " elements"; }

namespace detail {
inline std::string pair(std::int64_t h, std::int64_t w) { return std::to_string(h) + "x" + std::to_string(w); }
template <class Shape>
std::string window(const Shape& s) {
  return ", kernel " + pair(s.kh, s.kw) + ", stride " + pair(s.stride_h, s.stride_w) + ", padding " +
         pair(s.pad_top, s.pad_bottom) + "," + pair(s.pad_left, s.pad_right) + ", dilation " +
         pair(s.dilation_h, s.dilation_w);
}
}  // namespace detail

inline std::string describe(const Conv2dShape& s) {
  return "input " + to_string(s.input_shape()) + ", output " + to_string(s.output_shape()) + detail::window(s) +
         ", groups " + std::to_string(s.groups);
}

inline std::string describe(const Pool2dShape& s) {
  return "input " + to_string(s.input_shape()) + ", output " + to_string(s.output_shape()) + detail::window(s);
}

}  // namespace cuda
}  // namespace fastconv
