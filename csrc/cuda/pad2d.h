// Borders of images that repeat their pixels, and pixels made of channels. Pointers are device pointers, (n, h, w, c).
#pragma once

#include <cstdint>
#include <string>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

enum class Border { reflect, replicate };

Border parse_border(const std::string& mode);  // throws for others

// An axis of the image within the padded one.
struct PaddedAxis {
  std::int32_t size, before, padded;
};

struct Pad2d {
  const float* input;  // backward: the gradient of the padded images
  float* output;       // backward: that of the images, where each pixel adds up its copies
  std::int64_t n, c;
  PaddedAxis rows, columns;
  Border border;
};
void pad2d(const Pad2d& p, Stream stream);
void pad2d_backward(const Pad2d& p, Stream stream);

// few (n, h, w, c r r) and many (n, h r, w r, c): many[.., y r + i, x r + j, k] = few[.., y, x, (k r + i) r + j].
struct PixelShuffle {
  float *few, *many;
  std::int64_t n, h, w, c;
  std::int32_t r;
  bool back;  // many to few
};
void pixel_shuffle(const PixelShuffle& p, Stream stream);

}  // namespace cuda
}  // namespace fastconv
