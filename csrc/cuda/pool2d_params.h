// From the checked 64-bit geometry of pooling to the 32-bit one of its kernels, and from rows of pixels to launches.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/checked_math.h"
#include "core/pool2d_shape.h"
#include "cuda/describe.h"
#include "cuda/kernels/pool2d_geometry.h"

namespace fastconv {
namespace cuda {

constexpr std::int64_t kMostPoolSize = std::int64_t{1} << 29;  // sums of three sizes fit 31 bits

inline Pool2dGeometry pool2d_geometry(const char* op, const Pool2dShape& s) {
  const auto fit = [&](std::int64_t value) {
    if (value > kMostPoolSize)
      throw std::invalid_argument(std::string(op) + ": a size of " + std::to_string(value) +
                                  " is too large for a GPU kernel, which takes at most " +
                                  std::to_string(kMostPoolSize) + " (" + describe(s) + ")");
    return static_cast<std::int32_t>(value);
  };
  fit(s.ih + s.pad_top + s.pad_bottom), fit(s.iw + s.pad_left + s.pad_right);
  // A step that leads out of the image at once may be any number as large.
  const auto step = [&](std::int64_t value) { return static_cast<std::int32_t>(std::min(value, kMostPoolSize)); };
  Pool2dGeometry g{};
  g.ih = fit(s.ih), g.iw = fit(s.iw), g.oh = fit(s.oh), g.ow = fit(s.ow), g.channels = fit(s.c);
  g.kh = fit(s.kh), g.kw = fit(s.kw);
  g.stride_h = step(s.stride_h), g.stride_w = step(s.stride_w);
  g.pad_top = fit(s.pad_top), g.pad_left = fit(s.pad_left);
  g.dilation_h = step(s.dilation_h), g.dilation_w = step(s.dilation_w);
  g.by_stride_h = FastDivide(g.stride_h), g.by_stride_w = FastDivide(g.stride_w);
  g.by_dilation_h = FastDivide(g.dilation_h), g.by_dilation_w = FastDivide(g.dilation_w);
  return g;
}

// Calls launch(items) for as many rows of pixels at a time as are counted in 31 bits.
template <class Shape, class Launch>
void for_pixels(const char* op, const Shape& shape, std::int64_t images, std::int64_t rows, std::int64_t columns,
                std::int64_t accesses, Launch&& launch) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1024;
  const std::int64_t in_row = columns * accesses, all_rows = images * rows;
  if (in_row > kMost || all_rows > kMost)
    throw std::invalid_argument(std::string(op) + ": too large for a GPU kernel, which takes rows of at most " +
                                std::to_string(kMost) + " elements, and as many (" + describe(shape) + ")");
  const std::int64_t step = std::max<std::int64_t>(1, kMost / std::max<std::int64_t>(in_row, 1));
  for (std::int64_t row = 0; row < all_rows; row += step) {
    PixelItems items{};
    items.first_row = row;
    items.items = static_cast<std::int32_t>(std::min(step, all_rows - row) * in_row);
    items.by_row = FastDivide(static_cast<std::int32_t>(in_row));
    items.by_pixel = FastDivide(static_cast<std::int32_t>(accesses));
    items.by_image = FastDivide(static_cast<std::int32_t>(rows));
    launch(items);
  }
}

}  // namespace cuda
}  // namespace fastconv
