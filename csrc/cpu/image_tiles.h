// The direct convolution with images in the place of pixels: a tile is one output position of up to 14 images, so that
// the taps inside the image are the same for all of them and no padding is ever multiplied. For small maps of which
// padding is a large part, in batches.
#pragma once

#include "cpu/direct_conv.h"

namespace fastconv {

// Between this and tap_tiles.h the batch size may decide: both leave padding out, so they give the same bits. Loops
// that multiply padding would not: adding +0 turns a sum of -0 into +0.
template <class T>
bool takes_image_tiles(const DirectConv<T>& problem);
template <class T>
void run_image_tiles(const DirectConv<T>& problem, int threads);

}  // namespace fastconv
