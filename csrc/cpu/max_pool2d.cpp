#include "cpu/isa.h"
#include "cpu/pool2d.h"
#include "cpu/pool2d_tasks.h"

namespace fastconv {

namespace {

// A cache line of floats: tasks that scatter write to columns of memory of their own.
constexpr std::int64_t kScatterChannels = 16;

// Gathering visits every window over a pixel, scattering only every window's maximum, but one element at a time.
bool few_windows_overlap(const Pool2dShape& s) {
  if (s.dilation_h != 1 || s.dilation_w != 1) return false;
  const std::int64_t over_h = (s.kh - 1) / s.stride_h + 1, over_w = (s.kw - 1) / s.stride_w + 1;
  return over_h <= 4 && over_w <= 4 && over_h * over_w <= 4;
}

template <class T>
void gather(const Pool2dShape& s, const T* grad_output, const std::int32_t* indices, const T* output, T* grad_input) {
  const auto kernel = active_kernel_set<T>().pool.max_gather_nhwc;
  const PoolColumns columns = pool_columns(s);
  for_each_pool_task(s, Layout::nhwc, s.ih, kPoolChannelBlock, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    const std::int64_t image = t.element(s.oh * s.ow, 0);
    MaxPoolGatherArgs<T> a{};
    a.columns = columns;
    a.windows = windows_over(t.row, s.kh, s.stride_h, s.pad_top, s.oh);
    a.ih = t.row;
    a.grad_output = grad_output + image;
    a.indices = indices + image;
    a.output = output ? output + image : nullptr;
    a.pixel = t.pixel, a.channels = t.channels;
    a.grad_input = grad_input + t.element(s.ih * s.iw, t.row * s.iw);
    kernel(a);
  });
}

template <class T>
void scatter(const Pool2dShape& s, const T* grad_output, const std::int32_t* indices, const T* output, T* grad_input,
             Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.max_scatter_nhwc : kernels.max_scatter_nchw;
  for_each_pool_task(s, layout, 1, kScatterChannels, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    const std::int64_t image = t.element(s.oh * s.ow, 0);
    MaxPoolScatterArgs<T> a{};
    a.windows = s.oh * s.ow;
    a.pixels = s.ih * s.iw;
    a.grad_output = grad_output + image;
    a.indices = indices + image;
    a.output = output ? output + image : nullptr;
    a.pixel = t.pixel, a.channels = t.channels;
    a.grad_input = grad_input + t.element(s.ih * s.iw, 0);
    kernel(a);
  });
}

}  // namespace

template <class T>
void max_pool2d_forward(const Pool2dShape& s, const T* input, T* output, std::int32_t* indices, Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.max_row_nhwc : kernels.max_row_nchw;
  const PoolColumns columns = pool_columns(s);
  for_each_pool_task(s, layout, s.oh, kPoolChannelBlock, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    const std::int64_t row = t.element(s.oh * s.ow, t.row * s.ow);
    MaxPoolRowArgs<T> a{};
    a.columns = columns;
    a.rows = taps_inside(t.row * s.stride_h - s.pad_top, s.kh, s.dilation_h, s.ih);
    a.dilation_h = s.dilation_h;
    a.input = input + t.element(s.ih * s.iw, 0);
    a.pixel = t.pixel, a.channels = t.channels;
    a.output = output + row;
    a.indices = indices ? indices + row : nullptr;
    kernel(a);
  });
}

template <class T>
void max_pool2d_backward(const Pool2dShape& s, const T* grad_output, const std::int32_t* indices, const T* output,
                         T* grad_input, Layout layout) {
  if (layout == Layout::nhwc && few_windows_overlap(s))
    gather(s, grad_output, indices, output, grad_input);
  else
    scatter(s, grad_output, indices, output, grad_input, layout);
}

template void max_pool2d_forward(const Pool2dShape&, const float*, float*, std::int32_t*, Layout);
template void max_pool2d_forward(const Pool2dShape&, const double*, double*, std::int32_t*, Layout);
template void max_pool2d_backward(const Pool2dShape&, const float*, const std::int32_t*, const float*, float*, Layout);
template void max_pool2d_backward(const Pool2dShape&, const double*, const std::int32_t*, const double*, double*,
                                  Layout);

}  // namespace fastconv
