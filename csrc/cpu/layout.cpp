#include "cpu/layout.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/isa.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// Images are matrices of channels by pixels; blocks of 256 of their pixels are the tasks.
constexpr std::int64_t kBlockPixels = 256;

template <class T, bool ToChannelsLast>
void convert(const Shape4& s, const T* input, T* output) {
  const std::int64_t channels = s[1], pixels = s[2] * s[3], blocks = ceil_div(pixels, kBlockPixels);
  const auto transpose = active_kernel_set<T>().conv.transpose;
  const int threads = threads_for(8.0 * static_cast<double>(element_count(s)));
  parallel_for(s[0] * blocks, threads, [&](std::int64_t task, int) {
    const std::int64_t image = task / blocks * channels * pixels, p0 = task % blocks * kBlockPixels;
    const std::int64_t count = std::min(kBlockPixels, pixels - p0);
    if (ToChannelsLast)
      transpose(input + image + p0, channels, count, pixels, output + image + p0 * channels, channels);
    else
      transpose(input + image + p0 * channels, count, channels, channels, output + image + p0, pixels);
  });
}

}  // namespace

std::size_t element_count(const Shape4& s) { return static_cast<std::size_t>(s[0] * s[1] * s[2] * s[3]); }

template <class T>
void nchw_to_nhwc(const Shape4& shape, const T* input, T* output) {
  convert<T, true>(shape, input, output);
}

template <class T>
void nhwc_to_nchw(const Shape4& shape, const T* input, T* output) {
  convert<T, false>(shape, input, output);
}

template void nchw_to_nhwc(const Shape4&, const float*, float*);
template void nchw_to_nhwc(const Shape4&, const double*, double*);
template void nhwc_to_nchw(const Shape4&, const float*, float*);
template void nhwc_to_nchw(const Shape4&, const double*, double*);

}  // namespace fastconv
