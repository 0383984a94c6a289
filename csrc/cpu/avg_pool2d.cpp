#include <algorithm>

#include "cpu/isa.h"
#include "cpu/pool2d.h"
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

}  // namespace

template <class T>
void avg_pool2d_forward(const Pool2dShape& s, const AvgPool2dOptions& options, const T* input, T* output,
                        Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.avg_row_nhwc : kernels.avg_row_nchw;
  const Counts<T> counts(s, options);
  const PoolColumns columns = pool_columns(s);
  for_each_pool_task(s, layout, s.oh, kPoolChannelBlock, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    AvgPoolRowArgs<T> a{};
    a.columns = columns;
    a.rows = taps_inside(t.row * s.stride_h - s.pad_top, s.kh, 1, s.ih);
    a.counted_rows = counts.rows[t.row];
    a.counted_columns = counts.columns;
    a.input = input + t.element(s.ih * s.iw, 0);
    a.pixel = t.pixel, a.channels = t.channels;
    a.output = output + t.element(s.oh * s.ow, t.row * s.ow);
    kernel(a);
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, const AvgPool2dOptions& options, const T* grad_output, T* grad_input,
                         Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.avg_backward_row_nhwc : kernels.avg_backward_row_nchw;
  const Counts<T> counts(s, options);
  const PoolColumns columns = pool_columns(s);
  const int threads = pool_threads(s, sizeof(T));
  const std::int64_t sums_pitch = round_up(s.ow, kAlignment / sizeof(T));
  const Scratch sums(static_cast<std::size_t>(threads * sums_pitch) * sizeof(T));
  for_each_pool_task(s, layout, s.ih, kPoolChannelBlock, threads, [&](const PoolTask& t) {
    AvgPoolBackwardRowArgs<T> a{};
    a.columns = columns;
    a.windows = windows_over(t.row, s.kh, s.stride_h, s.pad_top, s.oh);
    a.counted_rows = counts.rows, a.counted_columns = counts.columns;
    a.sums = sums.as<T>() + t.thread * sums_pitch;
    a.grad_output = grad_output + t.element(s.oh * s.ow, 0);
    a.pixel = t.pixel, a.channels = t.channels;
    a.grad_input = grad_input + t.element(s.ih * s.iw, t.row * s.iw);
    kernel(a);
  });
}

template void avg_pool2d_forward(const Pool2dShape&, const AvgPool2dOptions&, const float*, float*, Layout);
template void avg_pool2d_forward(const Pool2dShape&, const AvgPool2dOptions&, const double*, double*, Layout);
template void avg_pool2d_backward(const Pool2dShape&, const AvgPool2dOptions&, const float*, float*, Layout);
template void avg_pool2d_backward(const Pool2dShape&, const AvgPool2dOptions&, const double*, double*, Layout);

}  // namespace fastconv
