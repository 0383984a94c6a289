// Threads over the pixels of images: each has one access, one or four channels of a pixel.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/fast_divide.h"

namespace fastconv {
namespace cuda {

constexpr int kImageThreads = 256;

// Items of one launch: accesses of pixels, below 2^31; `first_image` is where it begins.
struct ImageItems {
  std::int32_t items;
  std::int64_t first_image;
  FastDivide accesses, columns, rows;
};

struct ImageItem {
  std::int64_t n;
  std::int32_t row, column, access;
};

FASTCONV_DEVICE ImageItem image_item(const ImageItems& i, std::int32_t number) {
  const std::int32_t pixel = i.accesses.quotient(number), line = i.columns.quotient(pixel);
  const std::int32_t image = i.rows.quotient(line);
  return {i.first_image + image, i.rows.remainder(line, image), i.columns.remainder(pixel, line),
          i.accesses.remainder(number, pixel)};
}

}  // namespace cuda
}  // namespace fastconv
