// A task is a plane (NCHW), or some channels of an image (NHWC): nobody else writes there, so that neither threads nor
// equal indices change a bit.
#include "cpu/plane_indices.h"

#include <algorithm>
#include <atomic>

#include "core/checked_math.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kChannels = 16;  // a line of floats

// each(large, small, channels, pitch): offsets of a task's first elements, its channels and the pixels' distance.
template <class T, class Each>
void for_planes(const Shape4& shape, std::int64_t small_pixels, Layout layout, Each&& each) {
  const bool planes = layout == Layout::nchw;
  const std::int64_t images = planes ? shape[0] * shape[1] : shape[0], pitch = planes ? 1 : shape[1];
  const std::int64_t pixels = shape[2] * shape[3], blocks = ceil_div(pitch, kChannels);
  const double elements = static_cast<double>(images * pitch) * static_cast<double>(pixels + 2 * small_pixels);
  parallel_for(images * blocks, threads_for_bytes(elements * sizeof(T)), [&](std::int64_t task, int) {
    const std::int64_t image = task / blocks, channel = task % blocks * kChannels;
    each(image * pixels * pitch + channel, image * small_pixels * pitch + channel, std::min(kChannels, pitch - channel),
         pitch);
  });
}

}  // namespace

template <class T>
bool scatter_planes(const Shape4& shape, std::int64_t small_pixels, const T* values, const std::int32_t* indices,
                    bool add, T* large, Layout layout) {
  const std::int64_t pixels = shape[2] * shape[3];
  std::atomic<bool> inside{true};
  for_planes<T>(shape, small_pixels, layout,
                [&](std::int64_t to, std::int64_t from, std::int64_t channels, std::int64_t pitch) {
                  for (std::int64_t p = 0; p < pixels; ++p) std::fill_n(large + to + p * pitch, channels, T(0));
                  for (std::int64_t p = 0; p < small_pixels; ++p)
                    for (std::int64_t c = 0; c < channels; ++c) {
                      const std::int64_t at = from + p * pitch + c, index = indices[at];
                      if (index < 0 || index >= pixels) {
                        inside.store(false, std::memory_order_relaxed);
                        continue;
                      }
                      T& target = large[to + index * pitch + c];
                      target = add ? target + values[at] : values[at];
                    }
                });
  return inside.load();
}

template <class T>
bool gather_planes(const Shape4& shape, std::int64_t small_pixels, const T* large, const std::int32_t* indices,
                   T* values, Layout layout) {
  const std::int64_t pixels = shape[2] * shape[3];
  std::atomic<bool> inside{true};
  for_planes<T>(shape, small_pixels, layout,
                [&](std::int64_t from, std::int64_t to, std::int64_t channels, std::int64_t pitch) {
                  for (std::int64_t p = 0; p < small_pixels; ++p)
                    for (std::int64_t c = 0; c < channels; ++c) {
                      const std::int64_t at = to + p * pitch + c, index = indices[at];
                      const bool fits = index >= 0 && index < pixels;
                      if (!fits) inside.store(false, std::memory_order_relaxed);
                      values[at] = fits ? large[from + index * pitch + c] : T(0);
                    }
                });
  return inside.load();
}

template bool scatter_planes(const Shape4&, std::int64_t, const float*, const std::int32_t*, bool, float*, Layout);
template bool scatter_planes(const Shape4&, std::int64_t, const double*, const std::int32_t*, bool, double*, Layout);
template bool gather_planes(const Shape4&, std::int64_t, const float*, const std::int32_t*, float*, Layout);
template bool gather_planes(const Shape4&, std::int64_t, const double*, const std::int32_t*, double*, Layout);

}  // namespace fastconv
