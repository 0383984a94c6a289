// The direct convolution with the taps outside: for each tap all outputs whose tap lies inside the image, summed up in
// the output. No padding is copied or multiplied; for maps of which padding is a large part, as wide dilations make it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"
#include "cpu/direct_conv.h"

namespace fastconv {

// The outputs of [begin, end) whose tap at `first` + output * step lies inside [0, size).
struct Range {
  std::int64_t begin, end;
};

inline Range outputs_inside(std::int64_t first, std::int64_t step, std::int64_t size, std::int64_t begin,
                            std::int64_t end) {
  const std::int64_t low = first < 0 ? ceil_div(-first, step) : 0;
  const std::int64_t high = first < size ? ceil_div(size - first, step) : 0;
  return {std::max(begin, low), std::min(end, high)};
}

// Whether so many pairs of an output and a tap have their tap outside the image that skipping them pays.
template <class T>
bool mostly_padding(const ConvGrid<T>& grid);

template <class T>
bool takes_tap_tiles(const DirectConv<T>& problem);
template <class T>
void run_tap_tiles(const DirectConv<T>& problem, int threads);

}  // namespace fastconv
