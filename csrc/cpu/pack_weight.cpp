#include "cpu/pack_weight.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "cpu/threads.h"

namespace fastconv {

template <class T>
void pack_weight(const WeightView<T>& w, int vector_size, T* packed) {
  const std::int64_t taps = w.taps_h * w.taps_w;
  const std::int64_t blocks = block_count(w.outputs, vector_size);
  const std::int64_t group_elements = packed_group_elements(w.outputs, w.inputs, taps, vector_size);
  const int threads = threads_for(8.0 * static_cast<double>(w.groups) * static_cast<double>(group_elements));

  std::atomic<bool> finite{true};
  parallel_for(w.groups * blocks, threads, [&](std::int64_t task, int) {
    const std::int64_t group = task / blocks, first = task % blocks * 2 * vector_size;
    const int width = block_vectors(w.outputs, first, vector_size) * vector_size;
    const std::int64_t valid = std::min<std::int64_t>(width, w.outputs - first);
    T* block = packed + group * group_elements + first * w.inputs * taps;
    const T* source = w.data + group * w.group_stride + first * w.output_stride;
    T zero = T(0);  // becomes NaN with the first weight that is not finite
    for (std::int64_t th = 0; th < w.taps_h; ++th)
      for (std::int64_t tw = 0; tw < w.taps_w; ++tw)
        for (std::int64_t i = 0; i < w.inputs; ++i) {
          const T* from = source + th * w.tap_h_stride + tw * w.tap_w_stride + i * w.input_stride;
          T* to = block + ((th * w.taps_w + tw) * w.inputs + i) * width;
          for (std::int64_t o = 0; o < valid; ++o) {
            to[o] = from[o * w.output_stride];
            zero += to[o] * T(0);
          }
          for (std::int64_t o = valid; o < width; ++o) to[o] = T(0);
        }
    if (zero != T(0)) finite.store(false, std::memory_order_relaxed);
  });
  packed[w.groups * group_elements] = finite.load() ? T(0) : std::numeric_limits<T>::quiet_NaN();
}

template void pack_weight(const WeightView<float>&, int, float*);
template void pack_weight(const WeightView<double>&, int, double*);

}  // namespace fastconv
