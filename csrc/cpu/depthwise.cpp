#include "cpu/depthwise.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// Rows of the batch are summed in at most this many groups, each in order, then the groups in order: a split by shape.
constexpr std::int64_t kRowGroups = 16;

int threads_of(const Conv2dShape& s) { return threads_for(4.0 * static_cast<double>(s.flops())); }

}  // namespace

template <class T>
void pack_depthwise_weight(const Conv2dShape& s, const T* weight, T* packed) {
  const std::int64_t taps = s.kh * s.kw;
  active_kernel_set<T>().conv.transpose(weight, s.oc, taps, taps, packed, s.oc);
}

template <class T>
void depthwise_forward(const Conv2dShape& s, const T* input, const T* packed, const T* bias, T* output,
                       Activation activation) {
  const auto row_kernel = active_kernel_set<T>().conv.depthwise_row;
  const int threads = threads_of(s);
  const Scratch rows(static_cast<std::size_t>(threads * s.kh) * sizeof(const T*));
  parallel_for(s.n * s.oh, threads, [&](std::int64_t task, int thread) {
    const std::int64_t image = task / s.oh, oh = task % s.oh;
    const T** input_rows = rows.as<const T*>() + thread * s.kh;
    DepthwiseRowArgs<T> a{};
    std::int64_t first = -1;
    for (std::int64_t kh = 0; kh < s.kh; ++kh) {
      const std::int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
      if (ih < 0 || ih >= s.ih) continue;
      if (first < 0) first = kh;
      input_rows[a.taps_h++] = input + (image * s.ih + ih) * s.iw * s.ic;
    }
    a.input_rows = input_rows;
    a.weight = packed + std::max<std::int64_t>(first, 0) * s.kw * s.ic;
    a.weight_tap_h = s.kw * s.ic;
    a.kw = s.kw;
    a.iw = s.iw, a.ow = s.ow, a.stride_w = s.stride_w, a.pad_left = s.pad_left, a.dilation_w = s.dilation_w;
    a.channels = s.ic;
    a.bias = bias;
    a.output = output + task * s.ow * s.oc;
    a.activation = activation;
    row_kernel(a);
  });
}

template <class T>
void depthwise_backward_input(const Conv2dShape& s, const T* packed, const T* grad_output, T* grad_input) {
  const auto row_kernel = active_kernel_set<T>().conv.depthwise_backward_row;
  const int threads = threads_of(s);
  const Scratch rows(static_cast<std::size_t>(2 * threads * s.kh) * sizeof(const T*));
  parallel_for(s.n * s.ih, threads, [&](std::int64_t task, int thread) {
    const std::int64_t image = task / s.ih, ih = task % s.ih;
    const T** grad_rows = rows.as<const T*>() + 2 * thread * s.kh;
    const T** weight_rows = grad_rows + s.kh;
    DepthwiseBackwardRowArgs<T> a{};
    for (std::int64_t kh = 0; kh < s.kh; ++kh) {
      const std::int64_t at = ih + s.pad_top - kh * s.dilation_h;  // oh * stride_h
      if (at < 0 || at % s.stride_h != 0 || at / s.stride_h >= s.oh) continue;
      grad_rows[a.taps_h] = grad_output + (image * s.oh + at / s.stride_h) * s.ow * s.oc;
      weight_rows[a.taps_h++] = packed + kh * s.kw * s.ic;
    }
    a.grad_rows = grad_rows;
    a.weight_rows = weight_rows;
    a.kw = s.kw;
    a.iw = s.iw, a.ow = s.ow, a.stride_w = s.stride_w, a.pad_left = s.pad_left, a.dilation_w = s.dilation_w;
    a.channels = s.ic;
    a.grad_input = grad_input + task * s.iw * s.ic;
    row_kernel(a);
  });
}

std::int64_t depthwise_backward_weight_elements(const Conv2dShape& s) {
  return std::min(kRowGroups, std::max<std::int64_t>(1, s.n * s.oh)) * s.kh * s.kw * s.ic;
}

template <class T>
void depthwise_backward_weight(const Conv2dShape& s, const T* input, const T* grad_output, T* grad_weight,
                               bool accumulate) {
  const auto row_kernel = active_kernel_set<T>().conv.depthwise_weight_row;
  const std::int64_t rows = s.n * s.oh, groups = std::min(kRowGroups, std::max<std::int64_t>(1, rows));
  const std::int64_t elements = s.kh * s.kw * s.ic;
  const Scratch scratch(static_cast<std::size_t>(depthwise_backward_weight_elements(s)) * sizeof(T));
  T* partial = scratch.as<T>();
  parallel_for(groups, threads_of(s), [&](std::int64_t group, int) {
    T* sum = partial + group * elements;
    std::fill(sum, sum + elements, T(0));
    for (std::int64_t row = rows * group / groups; row < rows * (group + 1) / groups; ++row) {
      const std::int64_t image = row / s.oh, oh = row % s.oh;
      for (std::int64_t kh = 0; kh < s.kh; ++kh) {
        const std::int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
        if (ih < 0 || ih >= s.ih) continue;
        DepthwiseWeightRowArgs<T> a{};
        a.input = input + (image * s.ih + ih) * s.iw * s.ic;
        a.grad_output = grad_output + row * s.ow * s.oc;
        a.kw = s.kw, a.iw = s.iw, a.ow = s.ow;
        a.stride_w = s.stride_w, a.pad_left = s.pad_left, a.dilation_w = s.dilation_w;
        a.channels = s.ic;
        a.grad = sum + kh * s.kw * s.ic;
        row_kernel(a);
      }
    }
  });
  for (std::int64_t c = 0; c < s.ic; ++c)
    for (std::int64_t tap = 0; tap < s.kh * s.kw; ++tap) {
      T sum = accumulate ? grad_weight[c * s.kh * s.kw + tap] : T(0);
      for (std::int64_t group = 0; group < groups; ++group) sum += partial[group * elements + tap * s.ic + c];
      grad_weight[c * s.kh * s.kw + tap] = sum;
    }
}

template void pack_depthwise_weight(const Conv2dShape&, const float*, float*);
template void depthwise_forward(const Conv2dShape&, const float*, const float*, const float*, float*, Activation);
template void depthwise_backward_input(const Conv2dShape&, const float*, const float*, float*);
template void depthwise_backward_weight(const Conv2dShape&, const float*, const float*, float*, bool);
template void pack_depthwise_weight(const Conv2dShape&, const double*, double*);
template void depthwise_forward(const Conv2dShape&, const double*, const double*, const double*, double*, Activation);
template void depthwise_backward_input(const Conv2dShape&, const double*, const double*, double*);
template void depthwise_backward_weight(const Conv2dShape&, const double*, const double*, double*, bool);

}  // namespace fastconv
