#include "cpu/channel_lanes.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kTaskPixels = 1024;  // a multiple of every vector, so that only the last task has a tail

}  // namespace

template <class T>
std::int64_t channel_lanes_weight_elements(const WeightView<T>& w) {
  return w.outputs * round_up(w.inputs, active_kernel_set<T>().conv.vector_size);
}

template <class T>
void pack_channel_lanes_weight(const WeightView<T>& w, T* packed) {
  const std::int64_t pitch = round_up(w.inputs, active_kernel_set<T>().conv.vector_size);
  for (std::int64_t o = 0; o < w.outputs; ++o, packed += pitch) {
    for (std::int64_t i = 0; i < w.inputs; ++i) packed[i] = w.data[o * w.output_stride + i * w.input_stride];
    std::fill(packed + w.inputs, packed + pitch, T(0));
  }
}

template <class T>
int channel_lanes_threads(const DirectConv<T>& p) {
  return threads_for(2.0 * static_cast<double>(p.n * p.out_h * p.out_w) * static_cast<double>(p.icg * p.ocg));
}

// A result's order of sums does not depend on its place in a task: the split is free.
template <class T>
void run_channel_lanes(const DirectConv<T>& p) {
  const auto kernel = active_kernel_set<T>().conv.channel_lanes[p.ocg - 1];
  const std::int64_t pixels = p.n * p.out_h * p.out_w;
  parallel_for(ceil_div(pixels, kTaskPixels), channel_lanes_threads(p), [&](std::int64_t task, int) {
    const std::int64_t first = task * kTaskPixels;
    ChannelLanesArgs<T> a{};
    a.input = p.source + first * p.icg;
    a.input_pixel = a.channels = p.icg;
    a.pixels = std::min(kTaskPixels, pixels - first);
    a.weight = p.weight;
    a.bias = p.bias;
    a.output = p.output + first * p.ocg;
    a.activation = p.activation;
    kernel(a);
  });
}

template std::int64_t channel_lanes_weight_elements(const WeightView<float>&);
template std::int64_t channel_lanes_weight_elements(const WeightView<double>&);
template void pack_channel_lanes_weight(const WeightView<float>&, float*);
template void pack_channel_lanes_weight(const WeightView<double>&, double*);
template int channel_lanes_threads(const DirectConv<float>&);
template int channel_lanes_threads(const DirectConv<double>&);
template void run_channel_lanes(const DirectConv<float>&);
template void run_channel_lanes(const DirectConv<double>&);

}  // namespace fastconv
