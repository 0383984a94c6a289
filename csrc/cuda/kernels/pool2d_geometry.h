// What the pooling kernels know of their geometry, and how their work is divided: a thread has one pixel (of the
// output, or of the input in a backward pass) and as many of its channels as one access takes, channels counted first.
#pragma once

#include <cstdint>

#include "cuda/device.h"
#include "cuda/fast_divide.h"

namespace fastconv {
namespace cuda {

constexpr int kPoolThreads = 256;

struct Pool2dGeometry {
  std::int32_t ih, iw, oh, ow, channels;
  std::int32_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  FastDivide by_stride_h, by_stride_w, by_dilation_h, by_dilation_w;
};

// Rows of all images one after the other; a launch takes `items` accesses from first_row on.
struct PixelItems {
  std::int64_t first_row;
  std::int32_t items;
  FastDivide by_row, by_pixel, by_image;  // accesses of a row, accesses of a pixel, rows of an image
};

struct PixelItem {
  std::int64_t n;
  std::int32_t row, column, access;
};

FASTCONV_DEVICE PixelItem pixel_item(const PixelItems& p, std::int32_t item) {
  const std::int32_t row = p.by_row.quotient(item), in_row = p.by_row.remainder(item, row);
  const std::int32_t column = p.by_pixel.quotient(in_row);
  const auto all_rows = static_cast<std::int32_t>(p.first_row + row);
  const std::int32_t n = p.by_image.quotient(all_rows);
  return {n, p.by_image.remainder(all_rows, n), column, p.by_pixel.remainder(in_row, column)};
}

// begin, begin + 1, ..., end - 1
struct Range {
  std::int32_t begin, end;
  FASTCONV_DEVICE std::int32_t count() const { return end - begin; }
};

// The taps of a window from `start` on that lie inside the image.
FASTCONV_DEVICE Range taps_inside(std::int32_t start, std::int32_t kernel, const FastDivide& by_dilation,
                                  std::int32_t dilation, std::int32_t size) {
  const std::int32_t end = by_dilation.quotient(size - start + dilation - 1);
  return {start < 0 ? by_dilation.quotient(-start + dilation - 1) : 0, end < kernel ? end : kernel};
}

// One output and the taps under it.
struct PoolWindow {
  std::int32_t h, w;  // of tap (0, 0); may lie outside the image
  Range rows, columns;

  FASTCONV_DEVICE PoolWindow(const Pool2dGeometry& g, std::int32_t oh, std::int32_t ow)
      : h(oh * g.stride_h - g.pad_top),
        w(ow * g.stride_w - g.pad_left),
        rows(taps_inside(h, g.kh, g.by_dilation_h, g.dilation_h, g.ih)),
        columns(taps_inside(w, g.kw, g.by_dilation_w, g.dilation_w, g.iw)) {}
};

// The windows that may cover an input row (or column), `padded` counted from the first padded one.
FASTCONV_DEVICE Range windows_over(std::int32_t padded, std::int32_t extent, const FastDivide& by_stride,
                                   std::int32_t stride, std::int32_t windows) {
  const std::int32_t last = by_stride.quotient(padded);
  const std::int32_t before = padded - extent + stride;  // (padded - (extent - 1)) / stride, rounded up
  return {before > 0 ? by_stride.quotient(before) : 0, last < windows ? last + 1 : windows};
}

// Where an element lies in an array of `rows` x `columns` pixels an image.
FASTCONV_DEVICE std::int64_t element(const Pool2dGeometry& g, std::int64_t n, std::int32_t rows, std::int32_t columns,
                                     std::int32_t row, std::int32_t column, std::int32_t channel) {
  return ((n * rows + row) * columns + column) * g.channels + channel;
}

}  // namespace cuda
}  // namespace fastconv
