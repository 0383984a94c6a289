// No atomics: a pixel looks for the bins that it won, and where that cannot be known, a thread writes a plane in order.
#pragma once

#include <cstdint>

#include "cuda/kernels/image_items.h"
#include "cuda/kernels/max_pool2d.h"
#include "cuda/places.h"

namespace fastconv {
namespace cuda {

struct AdaptiveMaxPool2dParams {
  AdaptiveMaxPool2d p;
  ImageItems items;  // of the output; backward: of the input
};

// Where bin o of `bins` begins in `size` pixels, and where it ends; also the bins that reach a pixel, sizes exchanged.
FASTCONV_DEVICE std::int32_t bin_begin(std::int64_t o, std::int32_t size, std::int32_t bins) {
  return static_cast<std::int32_t>(o * size / bins);
}
FASTCONV_DEVICE std::int32_t bin_end(std::int64_t o, std::int32_t size, std::int32_t bins) {
  return static_cast<std::int32_t>(((o + 1) * size + bins - 1) / bins);
}

static FASTCONV_KERNEL adaptive_max_pool2d_kernel(FASTCONV_GRID_CONSTANT const AdaptiveMaxPool2dParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const AdaptiveMaxPool2d& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int32_t top = bin_begin(at.row, p.ih, p.oh), bottom = bin_end(at.row, p.ih, p.oh);
  const std::int32_t left = bin_begin(at.column, p.iw, p.ow), right = bin_end(at.column, p.iw, p.ow);
  const float* const plane = p.input + at.n * p.ih * p.iw * p.c + at.access;
  std::int64_t place = static_cast<std::int64_t>(top) * p.iw + left;
  float best = plane[place * p.c];
  for (std::int32_t row = top; row < bottom; ++row)
    for (std::int32_t column = left; column < right; ++column) {
      const std::int64_t pixel = static_cast<std::int64_t>(row) * p.iw + column;
      const float x = plane[pixel * p.c];
      if (beats(x, best)) best = x, place = pixel;
    }
  const std::int64_t to = ((at.n * p.oh + at.row) * p.ow + at.column) * p.c + at.access;
  p.output[to] = best;
  p.places[to] = static_cast<std::int32_t>(place);
}

static FASTCONV_KERNEL adaptive_max_pool2d_backward_kernel(FASTCONV_GRID_CONSTANT const AdaptiveMaxPool2dParams q) {
  const std::int32_t number = block_x() * kImageThreads + thread_x();
  if (number >= q.items.items) return;
  const AdaptiveMaxPool2d& p = q.p;
  const ImageItem at = image_item(q.items, number);
  const std::int32_t top = bin_begin(at.row, p.oh, p.ih), bottom = bin_end(at.row, p.oh, p.ih);
  const std::int32_t left = bin_begin(at.column, p.ow, p.iw), right = bin_end(at.column, p.ow, p.iw);
  const std::int32_t pixel = at.row * p.iw + at.column;
  float sum = 0;
  for (std::int32_t row = top; row < bottom; ++row)
    for (std::int32_t column = left; column < right; ++column) {
      const std::int64_t from = ((at.n * p.oh + row) * p.ow + column) * p.c + at.access;
      if (p.places[from] == pixel) sum += p.input[from];
    }
  p.output[((at.n * p.ih + at.row) * p.iw + at.column) * p.c + at.access] = sum;
}

static FASTCONV_KERNEL gather_planes_kernel(FASTCONV_GRID_CONSTANT const PlaneCopy p) {
  const std::int64_t at = static_cast<std::int64_t>(block_x()) * kImageThreads + thread_x();
  if (at >= p.n * p.pixels * p.c) return;
  const std::int64_t place = p.places[at], image = at / (p.pixels * p.c);
  const bool inside = place >= 0 && place < p.plane;
  p.small[at] = inside ? p.large[(image * p.plane + place) * p.c + at % p.c] : 0;
}

// A thread has a plane: what comes last stays, as on one thread of a CPU.
static FASTCONV_KERNEL scatter_planes_kernel(FASTCONV_GRID_CONSTANT const PlaneCopy p) {
  const std::int64_t number = static_cast<std::int64_t>(block_x()) * kImageThreads + thread_x();
  if (number >= p.n * p.c) return;
  const std::int64_t image = number / p.c, channel = number % p.c;
  float* const plane = p.large + image * p.plane * p.c + channel;
  const std::int64_t first = image * p.pixels * p.c + channel;
  for (std::int64_t i = 0; i < p.plane; ++i) plane[i * p.c] = 0;
  for (std::int64_t i = 0; i < p.pixels; ++i) {
    const std::int64_t place = p.places[first + i * p.c];
    if (place >= 0 && place < p.plane) plane[place * p.c] = p.small[first + i * p.c];
  }
}

}  // namespace cuda
}  // namespace fastconv
