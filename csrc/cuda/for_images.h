// Launches over the pixels of images: batches of more than 2^31 accesses go in several.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/checked_math.h"
#include "cuda/kernels/image_items.h"

namespace fastconv {
namespace cuda {

// Calls run(items) for as many images at a time as 31 bits can number.
template <class Run>
void for_images(const char* op, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t accesses, const Run& run) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - kImageThreads;
  const std::int64_t image = checked_mul(checked_mul(h, w, op), accesses, op);
  if (image > kMost)
    throw std::invalid_argument(std::string(op) + ": an image must have at most " + std::to_string(kMost) +
                                " accesses, got " + std::to_string(image));
  if (image == 0) return;
  const auto number = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  for (std::int64_t first = 0; first < n; first += kMost / image) {
    const std::int64_t count = std::min(n - first, kMost / image);
    run(ImageItems{number(count * image), first, FastDivide(number(accesses)), FastDivide(number(w)),
                   FastDivide(number(h))});
  }
}

}  // namespace cuda
}  // namespace fastconv
