// Convolution with the pixels in the vector lanes, for few output channels: a broadcast weight meets a vector of
// neighbouring pixels of one channel, so that a single output channel fills all lanes. Stride 1. See docs/kernels.md.
#pragma once

#include <cstdint>

#include "cpu/direct_conv.h"
#include "cpu/pack_weight.h"

namespace fastconv {

// For each group and block of output channels [taps_h][taps_w][input][channel], and after all groups the weights as the
// direct tiles read them, for border.cpp.
template <class T>
std::int64_t pixel_lanes_weight_elements(const WeightView<T>& weight);
template <class T>
void pack_pixel_lanes_weight(const WeightView<T>& weight, T* packed);

struct PixelLanesPlan {
  std::int64_t pitch, plane;                // elements from row to row and from channel to channel of the copied source
  std::int64_t rows_per_block, row_blocks;  // output rows of a task
  std::int64_t thread_elements, offsets;
  int threads;
  std::int64_t scratch_bytes;
};

// problem.weight: what pack_pixel_lanes_weight made.
template <class T>
PixelLanesPlan plan_pixel_lanes(const DirectConv<T>& problem);
template <class T>
void run_pixel_lanes(const DirectConv<T>& problem);

}  // namespace fastconv
