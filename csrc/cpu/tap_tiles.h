// The direct convolution with the taps outside: for each tap all outputs whose tap lies inside the image, summed up in
// the output. No padding is copied or multiplied; for maps of which padding is a large part, as wide dilations make it.
#pragma once

#include "cpu/direct_conv.h"

namespace fastconv {

// The part of all pairs of an output and a tap whose tap lies inside the image.
template <class T>
double useful_part(const ConvGrid<T>& grid);

// Same bits as the other loops of run_direct.
template <class T>
bool takes_tap_tiles(const DirectConv<T>& problem);
template <class T>
void run_tap_tiles(const DirectConv<T>& problem, int threads);

}  // namespace fastconv
