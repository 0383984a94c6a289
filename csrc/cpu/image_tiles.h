// The direct convolution with images in the place of pixels: a tile is one output position of up to 14 images, so that
// the taps inside the image are the same for all of them and no padding is ever multiplied. For small maps of which
// padding is a large part, in batches.
#pragma once

#include "cpu/direct_conv.h"

namespace fastconv {

// Same bits as the other loops of run_direct, so this may read the batch size.
template <class T>
bool takes_image_tiles(const DirectConv<T>& problem);
template <class T>
void run_image_tiles(const DirectConv<T>& problem, int threads);

}  // namespace fastconv
