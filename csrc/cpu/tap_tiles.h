// The direct convolution with the taps outside: for each tap all outputs whose tap lies inside the image, summed up in
// the output. No padding is copied or multiplied; for maps of which padding is a large part, as wide dilations make it.
#pragma once

#include "cpu/direct_conv.h"

namespace fastconv {

// Whether so many pairs of an output and a tap have their tap outside the image that skipping them pays.
template <class T>
bool mostly_padding(const ConvGrid<T>& grid);

template <class T>
bool takes_tap_tiles(const DirectConv<T>& problem);
template <class T>
void run_tap_tiles(const DirectConv<T>& problem, int threads);

}  // namespace fastconv
