#include "cpu/isa.h"
#include "cpu/pool2d.h"
#include "cpu/pool2d_tasks.h"

namespace fastconv {

namespace {

// Padding counts if the caller wants it; what ceil_mode lets a window reach beyond it never does (PyTorch's rule).
AvgDivisor divisor(const Pool2dShape& s, const AvgPool2dOptions& options) {
  const bool pad = options.count_include_pad;
  return {{s.kh, s.stride_h, s.pad_top, pad ? -s.pad_top : 0, s.ih + (pad ? s.pad_bottom : 0)},
          {s.kw, s.stride_w, s.pad_left, pad ? -s.pad_left : 0, s.iw + (pad ? s.pad_right : 0)},
          options.divisor_override};
}

}  // namespace

template <class T>
void avg_pool2d_forward(const Pool2dShape& s, const AvgPool2dOptions& options, const T* input, T* output,
                        Layout layout) {
  const PoolKernels<T>& kernels = active_kernel_set<T>().pool;
  const auto kernel = layout == Layout::nhwc ? kernels.avg_row_nhwc : kernels.avg_row_nchw;
  for_each_pool_task(s, layout, s.oh, kPoolChannelBlock, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    AvgPoolRowArgs<T> a{};
    a.columns = pool_columns(s);
    a.rows = taps_inside(t.row * s.stride_h - s.pad_top, s.kh, 1, s.ih);
    a.divisor = divisor(s, options);
    a.oh = t.row;
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
  for_each_pool_task(s, layout, s.ih, kPoolChannelBlock, pool_threads(s, sizeof(T)), [&](const PoolTask& t) {
    AvgPoolBackwardRowArgs<T> a{};
    a.columns = pool_columns(s);
    a.windows = windows_over(t.row, s.kh, s.stride_h, s.pad_top, s.oh);
    a.divisor = divisor(s, options);
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
