// The gradient with respect to the input. With stride s the input positions fall into s*s phases; each is a stride-1
// convolution of grad_output with its own subset of the taps, so that no product with an inserted zero is ever formed.
// grad_input[ih] = sum over kh of grad_output[oh] * weight[kh]  where  oh*stride_h - pad_top + kh*dilation_h = ih.
#include <numeric>

#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/fold_conv.h"
#include "cpu/grouped_conv.h"
#include "cpu/layout.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

PhaseAxis phase_axis(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad, std::int64_t dilation,
                     std::int64_t phase) {
  // Taps with (phase + pad - k*dilation) divisible by the stride: first, first + stride/g, ... with g = gcd.
  const std::int64_t g = std::gcd(stride, dilation), period = stride / g;
  PhaseAxis axis{};
  axis.positions = phase < in ? (in - phase - 1) / stride + 1 : 0;
  axis.tap_stride = period;
  axis.grad_step = dilation / g;
  // Only offsets modulo the stride decide; a wide dilation must not overflow.
  const std::int64_t want = (phase + pad) % stride, each = dilation % stride;
  for (std::int64_t k = 0; k < std::min(period, kernel); ++k) {
    if ((want - k * each % stride + stride) % stride != 0) continue;
    axis.first_tap = k;
    axis.taps = (kernel - 1 - k) / period + 1;
    axis.origin = (phase + pad - k * dilation) / stride;
    break;
  }
  return axis;
}

BackwardInputPhase backward_input_phase(const Conv2dShape& s, std::int64_t row, std::int64_t column) {
  return {phase_axis(s.ih, s.kh, s.stride_h, s.pad_top, s.dilation_h, row),
          phase_axis(s.iw, s.kw, s.stride_w, s.pad_left, s.dilation_w, column), row, column};
}

template <class T>
DirectConv<T> backward_input_problem(const Conv2dShape& s, const BackwardInputPhase& phase) {
  DirectConv<T> p{};
  p.n = s.n, p.source_h = s.oh, p.source_w = s.ow, p.groups = s.groups, p.icg = s.ocg();
  // Taps in reverse, so that they step forward through grad_output.
  p.origin_h = phase.h.origin - (phase.h.taps - 1) * phase.h.grad_step;
  p.origin_w = phase.w.origin - (phase.w.taps - 1) * phase.w.grad_step;
  p.step_h = p.step_w = 1;
  p.taps_h = phase.h.taps, p.taps_w = phase.w.taps;
  p.tap_step_h = phase.h.grad_step, p.tap_step_w = phase.w.grad_step;
  p.out_h = phase.h.positions, p.out_w = phase.w.positions, p.ocg = s.icg();
  p.output_pixel = s.stride_w * s.ic;
  p.output_row = s.stride_h * s.iw * s.ic;
  p.output_image = s.ih * s.iw * s.ic;
  p.activation = Activation::none;
  return p;
}

template <class T>
WeightView<T> backward_input_weight(const Conv2dShape& s, const BackwardInputPhase& phase, const T* weight) {
  const std::int64_t taps = s.kh * s.kw, filter = s.icg() * taps;
  const std::int64_t last_h = phase.h.first_tap + (phase.h.taps - 1) * phase.h.tap_stride;
  const std::int64_t last_w = phase.w.first_tap + (phase.w.taps - 1) * phase.w.tap_stride;
  return {weight ? weight + last_h * s.kw + last_w : nullptr,
          s.groups,
          s.icg(),
          s.ocg(),
          phase.h.taps,
          phase.w.taps,
          s.ocg() * filter,
          taps,
          filter,
          -phase.h.tap_stride * s.kw,
          -phase.w.tap_stride};
}

namespace {

// Input positions of a phase that no tap reaches have no gradient; a transposed convolution has its bias there.
template <class T>
void fill_phase(const Conv2dShape& s, const BackwardInputPhase& phase, const T* bias, Activation activation,
                T* grad_input) {
  const auto value = [&](std::int64_t c) {
    return !bias || (activation == Activation::relu && bias[c] <= T(0)) ? T(0) : bias[c];
  };
  parallel_for(s.n * phase.h.positions, threads_for(static_cast<double>(s.n * s.ih) * static_cast<double>(s.iw * s.ic)),
               [&](std::int64_t task, int) {
                 const std::int64_t image = task / phase.h.positions;
                 const std::int64_t ih = phase.row + task % phase.h.positions * s.stride_h;
                 T* row = grad_input + (image * s.ih + ih) * s.iw * s.ic;
                 for (std::int64_t iw = phase.column; iw < s.iw; iw += s.stride_w)
                   for (std::int64_t c = 0; c < s.ic; ++c) row[iw * s.ic + c] = value(c);
               });
}

}  // namespace

template <class T>
void conv2d_backward_input(const Conv2dShape& s, const T* weight, const T* grad_output, const T* bias, T* grad_input,
                           Layout layout, Activation activation, Algorithm algorithm, const T* packed) {
  if (s.n == 0) return;
  const ChannelsLastInput<T> source(s.output_shape(), layout, grad_output);
  const ChannelsLastOutput<T> target(s.input_shape(), layout, grad_input);
  const Conv2dChoice choice = choose_conv2d<T>(s, Pass::backward_input, algorithm);
  const std::int64_t elements = packed ? 0 : packed_weight_elements<T>(s, Pass::backward_input, algorithm);
  const Scratch own(static_cast<std::size_t>(elements) * sizeof(T));
  if (!packed) {
    pack_conv2d_weight(s, weight, Pass::backward_input, algorithm, own.as<T>());
    packed = own.as<T>();
  }
  if (choice.method() == Method::grouped) {
    grouped_backward_input(s, packed, source.data(), bias, target.data(), activation, target.data() == grad_input);
  } else if (choice.method() == Method::fold) {
    FoldConv<T> p = backward_input_fold<T>(s);
    p.source = source.data();
    p.weight = packed;
    p.bias = bias;
    p.target = target.data();
    p.activation = activation;
    run_fold(p);
  } else {
    for_each_phase(s, [&](const BackwardInputPhase& phase) {
      if (phase.no_taps()) return fill_phase(s, phase, bias, activation, target.data());
      DirectConv<T> p = backward_input_problem<T>(s, phase);
      p.source = source.data();
      p.weight = packed;
      p.bias = bias;
      p.activation = activation;
      p.output = target.data() + (phase.row * s.iw + phase.column) * s.ic;
      p.may_stream = target.data() == grad_input;
      run_problem(choice, p, backward_input_weight(s, phase, weight));
      packed += packed_phase_elements<T>(s, phase);
    });
  }
  target.finish();
}

template DirectConv<float> backward_input_problem(const Conv2dShape&, const BackwardInputPhase&);
template DirectConv<double> backward_input_problem(const Conv2dShape&, const BackwardInputPhase&);
template WeightView<float> backward_input_weight(const Conv2dShape&, const BackwardInputPhase&, const float*);
template WeightView<double> backward_input_weight(const Conv2dShape&, const BackwardInputPhase&, const double*);
template void conv2d_backward_input(const Conv2dShape&, const float*, const float*, const float*, float*, Layout,
                                    Activation, Algorithm, const float*);
template void conv2d_backward_input(const Conv2dShape&, const double*, const double*, const double*, double*, Layout,
                                    Activation, Algorithm, const double*);

}  // namespace fastconv
