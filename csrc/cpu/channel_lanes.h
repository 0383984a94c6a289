// Pointwise convolution to few output channels, with the input channels in the vector lanes: each pixel's channels are
// read once, in whole vectors, so that it runs at the memory's speed. See docs/kernels.md.
#pragma once

#include <cstdint>

#include "cpu/direct_conv.h"
#include "cpu/pack_weight.h"

namespace fastconv {

// [output][input], the inputs zero-padded to whole vectors.
template <class T>
std::int64_t channel_lanes_weight_elements(const WeightView<T>& weight);
template <class T>
void pack_channel_lanes_weight(const WeightView<T>& weight, T* packed);

// problem: pointwise, without groups; its weight is what pack_channel_lanes_weight made.
template <class T>
int channel_lanes_threads(const DirectConv<T>& problem);
template <class T>
void run_channel_lanes(const DirectConv<T>& problem);

}  // namespace fastconv
