#include <algorithm>

#include "cpu/isa.h"
#include "cpu/pool2d.h"
#include "cpu/pool2d_beside.h"
#include "cpu/pool2d_plans.h"
#include "cpu/pool2d_tasks.h"
#include "cpu/scratch.h"

namespace fastconv {

namespace {

// What an average divides by: rows times columns of the window. Padding counts if the caller wants it; what ceil_mode
// lets a window reach beyond it never does (PyTorch's rule).
template <class T>
struct Counts {
  Scratch memory;
  T *rows, *columns;

  Counts(const Pool2dShape& s, const AvgPool2dOptions& options)
      : memory(static_cast<std::size_t>(s.oh + s.ow) * sizeof(T)), rows(memory.as<T>()), columns(rows + s.oh) {
    if (options.divisor_override != 0) {
      std::fill(rows, rows + s.oh, static_cast<T>(options.divisor_override));
      std::fill(columns, columns + s.ow, T(1));
      return;
    }
    const bool pad = options.count_include_pad;
    for (std::int64_t oh = 0; oh < s.oh; ++oh)
      rows[oh] = counted(oh * s.stride_h - s.pad_top, s.kh, pad ? -s.pad_top : 0, s.ih + (pad ? s.pad_bottom : 0));
    for (std::int64_t ow = 0; ow < s.ow; ++ow)
      columns[ow] = counted(ow * s.stride_w - s.pad_left, s.kw, pad ? -s.pad_left : 0, s.iw + (pad ? s.pad_right : 0));
  }

  static T counted(std::int64_t start, std::int64_t kernel, std::int64_t begin, std::int64_t end) {
    return static_cast<T>(std::min(start + kernel, end) - std::max(start, begin));
  }
};

template <class T>
T* stage_of(const Scratch& stages, std::int64_t bytes, int thread) {
  return bytes ? reinterpret_cast<T*>(stages.as<char>() + thread * bytes) : nullptr;
}

template <class T>
void pool_beside(const Pool2dShape& s, const Counts<T>& counts, const T* input, T* output) {
  const auto kernel = active_kernel_set<T>().pool.avg_nhwc;
  const std::int64_t pixels = s.ih * s.iw, windows = s.oh * s.ow;
  using Beside = PlanesBeside<T>;
  Beside(s, false, false).for_each([&](const typename Beside::Band& band) {
    AvgPoolArgs<T> a{};
    a.windows = pool_windows(s);
    a.counted_rows = counts.rows, a.counted_columns = counts.columns;
    a.pixel = Beside::kPlanes, a.channels = band.planes;
    a.input = band.pixels - band.read.first * s.iw * a.pixel;
    Beside::gather(input + band.plane * pixels + band.read.first * s.iw, band.planes, pixels, band.read.count * s.iw,
                   band.pixels);
    for (std::int64_t i = 0; i < band.written.count; ++i) {
      a.run = {band.written.first + i, 1, 0, s.ow};
      a.output = band.results + i * s.ow * a.pixel;
      kernel(a);
    }
    Beside::scatter(band.results, band.planes, windows, band.written.count * s.ow,
                    output + band.plane * windows + band.written.first * s.ow);
  });
}

template <class T>
void spread_beside(const Pool2dShape& s, const Counts<T>& counts, const T* grad_output, T* grad_input) {
  const auto kernel = active_kernel_set<T>().pool.avg_backward_nhwc;
  const std::int64_t pixels = s.ih * s.iw, windows = s.oh * s.ow;
  using Beside = PlanesBeside<T>;
  Beside(s, true, false).for_each([&](const typename Beside::Band& band) {
    AvgPoolBackwardArgs<T> a{};
    a.windows = pool_windows(s);
    a.counted_rows = counts.rows, a.counted_columns = counts.columns;
    a.pixel = Beside::kPlanes, a.channels = band.planes;
    a.grad_output = band.pixels - band.read.first * s.ow * a.pixel;
    Beside::gather(grad_output + band.plane * windows + band.read.first * s.ow, band.planes, windows,
                   band.read.count * s.ow, band.pixels);
    for (std::int64_t i = 0; i < band.written.count; ++i) {
      a.run = {band.written.first + i, 1, 0, s.iw};
      a.grad_input = band.results + i * s.iw * a.pixel;
      kernel(a);
    }
    Beside::scatter(band.results, band.planes, pixels, band.written.count * s.iw,
                    grad_input + band.plane * pixels + band.written.first * s.iw);
  });
}

}  // namespace

template <class T>
void avg_pool2d_forward(const Pool2dShape& shape, const AvgPool2dOptions& options, const T* input, T* output,
                        Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.avg_nhwc : kernels.avg_nchw;
  if (forward_beside(shape, layout, false)) return pool_beside(shape, Counts<T>(shape, options), input, output);
  const Pool2dShape s = stacked(shape, layout);
  const Counts<T> counts(s, options);
  const PoolPlan plan = plan_avg<T>(s, layout, false);
  const std::int64_t image = s.ih * s.iw * plan.pixel;
  AvgPoolArgs<T> all{};
  all.windows = pool_windows(s);
  all.counted_rows = counts.rows, all.counted_columns = counts.columns;
  all.input_end = input + s.n * s.c * s.ih * s.iw;
  all.pixel = plan.pixel, all.channels = plan.pixel;
  if (splits_channels(plan)) {
    for_each_channel_block(plan, [&](std::int64_t i, const PoolRun& run, std::int64_t channel, std::int64_t channels) {
      AvgPoolArgs<T> a = all;
      a.run = run;
      a.input = input + i * image + channel;
      a.channels = channels;
      a.output = output + (i * plan.rows + run.row) * plan.row() + channel;
      kernel(a);
    });
    return;
  }
  const std::int64_t stage = plan.stage_bytes(sizeof(T));
  const Scratch stages(static_cast<std::size_t>(plan.threads * stage));
  const auto make = [&](std::int64_t first, int thread) {
    return StreamedRun<T>(kernels, output + first * plan.row(), stage_of<T>(stages, stage, thread),
                          plan.in_lines(sizeof(T)));
  };
  for_each_pool_task(plan, make, [&](StreamedRun<T>& writer, int, std::int64_t i, const PoolRun& run) {
    AvgPoolArgs<T> a = all;
    a.run = run;
    a.input = input + i * image;
    const MemoryAhead ahead = memory_ahead(s, plan, a.input, run);
    a.ahead = ahead.from, a.ahead_lines = ahead.lines;
    a.output = writer.place(), a.stream = writer.in_lines();
    kernel(a);
    writer.wrote(run.rows * run.columns * plan.pixel);
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, const AvgPool2dOptions& options, const T* grad_output, T* grad_input,
                         Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.avg_backward_nhwc : kernels.avg_backward_nchw;
  const Counts<T> counts(s, options);
  if (backward_beside(s, layout)) return spread_beside(s, counts, grad_output, grad_input);
  const PoolPlan plan = plan_avg<T>(s, layout, true);
  const std::int64_t room = avg_backward_room(s, plan), image = s.oh * s.ow * plan.pixel;
  const std::int64_t stage = plan.stage_bytes(sizeof(T));
  const Scratch stages(static_cast<std::size_t>(plan.threads * stage));
  const Scratch rooms(static_cast<std::size_t>(plan.threads * room) * sizeof(T));
  AvgPoolBackwardArgs<T> all{};
  all.windows = pool_windows(s);
  all.counted_rows = counts.rows, all.counted_columns = counts.columns;
  all.pixel = plan.pixel, all.channels = plan.pixel;
  const auto make = [&](std::int64_t first, int thread) {
    return StreamedRun<T>(kernels, grad_input + first * plan.row(), stage_of<T>(stages, stage, thread),
                          plan.in_lines(sizeof(T)));
  };
  for_each_pool_task(plan, make, [&](StreamedRun<T>& writer, int thread, std::int64_t i, const PoolRun& run) {
    AvgPoolBackwardArgs<T> a = all;
    a.run = run;
    a.room = rooms.as<T>() + thread * room;
    a.grad_output = grad_output + i * image;
    a.grad_input = writer.place(), a.stream = writer.in_lines();
    kernel(a);
    writer.wrote(run.rows * run.columns * plan.pixel);
  });
}

template void avg_pool2d_forward(const Pool2dShape&, const AvgPool2dOptions&, const float*, float*, Layout);
template void avg_pool2d_forward(const Pool2dShape&, const AvgPool2dOptions&, const double*, double*, Layout);
template void avg_pool2d_backward(const Pool2dShape&, const AvgPool2dOptions&, const float*, float*, Layout);
template void avg_pool2d_backward(const Pool2dShape&, const AvgPool2dOptions&, const double*, double*, Layout);

}  // namespace fastconv
