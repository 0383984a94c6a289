#include <atomic>

#include "cpu/isa.h"
#include "cpu/pool2d.h"
#include "cpu/pool2d_beside.h"
#include "cpu/pool2d_plans.h"
#include "cpu/pool2d_tasks.h"
#include "cpu/scratch.h"

namespace fastconv {

namespace {

// A cache line of floats: tasks that scatter write to columns of memory of their own.
constexpr std::int64_t kScatterChannels = 16;

template <class T>
std::int64_t place_size(const T& places) {
  return places.indices ? sizeof(*places.indices) : places.taps ? sizeof(*places.taps) : 0;
}

// The stages of all threads: for results, and for places.
class Stages {
 public:
  Stages(const PoolPlan& plan, std::int64_t item_size, std::int64_t place_size)
      : results_(plan.stage_bytes(item_size)),
        bytes_(results_ + (place_size ? plan.stage_bytes(place_size) : 0)),
        memory_(static_cast<std::size_t>(plan.threads * bytes_)) {}

  template <class T>
  T* results(int thread) const {
    return bytes_ ? reinterpret_cast<T*>(memory_.as<char>() + thread * bytes_) : nullptr;
  }
  template <class I>
  I* places(int thread) const {
    return bytes_ ? reinterpret_cast<I*>(memory_.as<char>() + thread * bytes_ + results_) : nullptr;
  }

 private:
  std::int64_t results_, bytes_;
  Scratch memory_;
};

template <class T>
void gather(const Pool2dShape& s, const T* grad_output, const ConstMaxPlaces& places, const T* output, T* grad_input,
            Layout layout, std::atomic<bool>& all_inside) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.max_gather_nhwc : kernels.max_gather_nchw;
  const PoolPlan plan = plan_max_backward<T>(s, layout, place_size(places));
  const Stages stages(plan, sizeof(T), 0);
  const std::int64_t image = s.oh * s.ow * plan.pixel;
  MaxPoolGatherArgs<T> all{};
  all.windows = pool_windows(s);
  all.pixel = plan.pixel, all.channels = plan.pixel;
  const auto make = [&](std::int64_t first, int thread) {
    return StreamedRun<T>(kernels, grad_input + first * plan.row(), stages.results<T>(thread),
                          plan.in_lines(sizeof(T)));
  };
  for_each_pool_task(plan, make, [&](StreamedRun<T>& writer, int, std::int64_t i, const PoolRun& run) {
    MaxPoolGatherArgs<T> a = all;
    a.run = run;
    a.grad_output = grad_output + i * image;
    a.indices = places.indices ? places.indices + i * image : nullptr;
    a.taps = places.taps ? places.taps + i * image : nullptr;
    a.output = output ? output + i * image : nullptr;
    a.available = (plan.images - i) * image;
    a.grad_input = writer.place(), a.stream = writer.in_lines();
    if (a.indices && run.column == 0) {  // each row of windows once, on its way to the cache
      const auto end = [&](std::int64_t row) {
        const Span over = windows_over(row, s.kh, s.stride_h, s.pad_top, s.oh);
        return over.first + over.count;
      };
      const std::int64_t begin = run.row > 0 ? end(run.row - 1) : 0, rows = end(run.row + run.rows - 1) - begin;
      const std::int64_t row = s.ow * plan.pixel;
      if (!kernels.indices_inside(a.indices + begin * row, rows * row, static_cast<std::int32_t>(s.ih * s.iw)))
        all_inside.store(false, std::memory_order_relaxed);
    }
    kernel(a);
    writer.wrote(run.rows * run.columns * plan.pixel);
  });
}

template <class T>
void scatter(const Pool2dShape& s, const T* grad_output, const ConstMaxPlaces& places, const T* output, T* grad_input,
             Layout layout, std::atomic<bool>& all_inside) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const bool last = layout == Layout::nhwc;
  const auto kernel = last ? kernels.max_scatter_nhwc : kernels.max_scatter_nchw;
  const std::int64_t images = last ? s.n : s.n * s.c, pixel = last ? s.c : 1;
  const std::int64_t blocks = ceil_div(pixel, kScatterChannels), windows = s.oh * s.ow * pixel;
  MaxPoolScatterArgs<T> all{};
  all.windows = pool_windows(s);
  all.pixel = pixel;
  parallel_for(images * blocks, pool_threads(s, sizeof(T)), [&](std::int64_t task, int) {
    const std::int64_t image = task / blocks, channel = task % blocks * kScatterChannels;
    const std::int64_t at = image * windows + channel;
    MaxPoolScatterArgs<T> a = all;
    a.grad_output = grad_output + at;
    a.indices = places.indices ? places.indices + at : nullptr;
    a.taps = places.taps ? places.taps + at : nullptr;
    a.output = output ? output + at : nullptr;
    a.channels = std::min(kScatterChannels, pixel - channel);
    a.grad_input = grad_input + image * s.ih * s.iw * pixel + channel;
    if (!kernel(a)) all_inside.store(false, std::memory_order_relaxed);
  });
}

template <class T>
void pool_beside(const Pool2dShape& s, const T* input, T* output, std::int32_t* indices) {
  const auto kernel = active_kernel_set<T>().pool.max_nhwc;
  const std::int64_t pixels = s.ih * s.iw, windows = s.oh * s.ow;
  using Beside = PlanesBeside<T>;
  Beside(s, false, indices != nullptr).for_each([&](const typename Beside::Band& band) {
    MaxPoolArgs<T> a{};
    a.windows = pool_windows(s);
    a.pixel = Beside::kPlanes, a.channels = band.planes;
    a.input = band.pixels - band.read.first * s.iw * a.pixel;
    const std::int64_t count = band.written.count * s.ow, at = band.plane * windows + band.written.first * s.ow;
    auto* places = reinterpret_cast<std::int32_t*>(band.results + count * a.pixel);
    Beside::gather(input + band.plane * pixels + band.read.first * s.iw, band.planes, pixels, band.read.count * s.iw,
                   band.pixels);
    for (std::int64_t i = 0; i < band.written.count; ++i) {
      a.run = {band.written.first + i, 1, 0, s.ow};
      a.output = band.results + i * s.ow * a.pixel;
      a.indices = indices ? places + i * s.ow * a.pixel : nullptr;
      kernel(a);
    }
    Beside::scatter(band.results, band.planes, windows, count, output + at);
    if (indices) Beside::scatter(places, band.planes, windows, count, indices + at);
  });
}

}  // namespace

template <class T>
void max_pool2d_forward(const Pool2dShape& s, const T* input, T* output, const MaxPlaces& places, Layout layout) {
  if (!places.taps && forward_beside(s, layout, places.indices != nullptr))
    return pool_beside(s, input, output, places.indices);
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.max_nhwc : kernels.max_nchw;
  const PoolPlan plan = plan_max_forward<T>(s, layout, place_size(places));
  const std::int64_t image = s.ih * s.iw * plan.pixel;
  MaxPoolArgs<T> all{};
  all.windows = pool_windows(s);
  all.input_end = input + s.n * s.c * s.ih * s.iw;
  all.pixel = plan.pixel, all.channels = plan.pixel;
  all.positive_only = places.positive_only;
  if (splits_channels(plan)) {
    for_each_channel_block(plan, [&](std::int64_t i, const PoolRun& run, std::int64_t channel, std::int64_t channels) {
      MaxPoolArgs<T> a = all;
      const std::int64_t at = (i * plan.rows + run.row) * plan.row() + channel;
      a.run = run;
      a.input = input + i * image + channel;
      a.channels = channels;
      a.output = output + at;
      a.indices = places.indices ? places.indices + at : nullptr;
      a.taps = places.taps ? places.taps + at : nullptr;
      kernel(a);
    });
    return;
  }
  const Stages stages(plan, sizeof(T), place_size(places));
  struct Writers {
    StreamedRun<T> values;
    StreamedRun<T, std::int32_t> indices;
    StreamedRun<T, std::uint8_t> taps;
    void finish() { values.finish(), indices.finish(), taps.finish(); }
  };
  const auto make = [&](std::int64_t first, int thread) {
    const std::int64_t at = first * plan.row();
    return Writers{{kernels, output + at, stages.results<T>(thread), plan.in_lines(sizeof(T))},
                   {kernels, places.indices ? places.indices + at : nullptr,
                    places.indices ? stages.places<std::int32_t>(thread) : nullptr},
                   {kernels, places.taps ? places.taps + at : nullptr,
                    places.taps ? stages.places<std::uint8_t>(thread) : nullptr}};
  };
  for_each_pool_task(plan, make, [&](Writers& writers, int, std::int64_t i, const PoolRun& run) {
    const std::int64_t count = run.rows * run.columns * plan.pixel;
    MaxPoolArgs<T> a = all;
    a.run = run;
    a.input = input + i * image;
    const MemoryAhead ahead = memory_ahead(s, plan, a.input, run);
    a.ahead = ahead.from, a.ahead_lines = ahead.lines;
    a.output = writers.values.place(), a.stream = writers.values.in_lines();
    a.indices = places.indices ? writers.indices.place() : nullptr;
    a.taps = places.taps ? writers.taps.place() : nullptr;
    kernel(a);
    writers.values.wrote(count);
    if (places.indices) writers.indices.wrote(count);
    if (places.taps) writers.taps.wrote(count);
  });
}

template <class T>
bool max_pool2d_backward(const Pool2dShape& s, const T* grad_output, const ConstMaxPlaces& places, const T* output,
                         T* grad_input, Layout layout) {
  std::atomic<bool> all_inside{true};
  if (max_backward_gathers(s, plan_max_backward<T>(s, layout, place_size(places))))
    gather(s, grad_output, places, output, grad_input, layout, all_inside);
  else
    scatter(s, grad_output, places, output, grad_input, layout, all_inside);
  return all_inside.load();
}

template void max_pool2d_forward(const Pool2dShape&, const float*, float*, const MaxPlaces&, Layout);
template void max_pool2d_forward(const Pool2dShape&, const double*, double*, const MaxPlaces&, Layout);
template bool max_pool2d_backward(const Pool2dShape&, const float*, const ConstMaxPlaces&, const float*, float*,
                                  Layout);
template bool max_pool2d_backward(const Pool2dShape&, const double*, const ConstMaxPlaces&, const double*, double*,
                                  Layout);

}  // namespace fastconv
