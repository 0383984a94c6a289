#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/fold_conv.h"
#include "cpu/grouped_conv.h"
#include "cpu/layout.h"
#include "cpu/scratch.h"

namespace fastconv {

template <class T>
DirectConv<T> forward_problem(const Conv2dShape& s) {
  DirectConv<T> p{};
  p.n = s.n, p.source_h = s.ih, p.source_w = s.iw, p.groups = s.groups, p.icg = s.icg();
  p.origin_h = -s.pad_top, p.origin_w = -s.pad_left;
  p.step_h = s.stride_h, p.step_w = s.stride_w;
  p.taps_h = s.kh, p.taps_w = s.kw, p.tap_step_h = s.dilation_h, p.tap_step_w = s.dilation_w;
  p.out_h = s.oh, p.out_w = s.ow, p.ocg = s.ocg();
  p.output_pixel = s.oc, p.output_row = s.ow * s.oc, p.output_image = s.oh * s.ow * s.oc;
  p.activation = Activation::none;
  return p;
}

template <class T>
WeightView<T> forward_weight(const Conv2dShape& s, const T* weight) {
  const std::int64_t taps = s.kh * s.kw, filter = s.icg() * taps;
  return {weight, s.groups, s.ocg(), s.icg(), s.kh, s.kw, s.ocg() * filter, filter, taps, s.kw, 1};
}

template <class T>
void conv2d_forward(const Conv2dShape& s, const T* input, const T* weight, const T* bias, T* output, Layout layout,
                    Activation activation, bool max_pool, Algorithm algorithm, const T* packed) {
  if (s.n == 0) return;
  const ChannelsLastInput<T> source(s.input_shape(), layout, input);
  const ChannelsLastOutput<T> target(max_pool ? max_pooled_shape(s) : s.output_shape(), layout, output);
  const Scratch own(
      packed ? 0 : static_cast<std::size_t>(packed_weight_elements<T>(s, Pass::forward, algorithm)) * sizeof(T));
  if (!packed) {
    pack_conv2d_weight(s, weight, Pass::forward, algorithm, own.as<T>());
    packed = own.as<T>();
  }
  const Conv2dChoice choice = choose_conv2d<T>(s, Pass::forward, algorithm);
  if (choice.method() == Method::grouped) {
    grouped_forward(s, source.data(), packed, bias, target.data(), activation, target.data() == output);
  } else if (choice.method() == Method::fold) {
    FoldConv<T> p = forward_fold<T>(s);
    p.source = source.data();
    p.weight = packed;
    p.bias = bias;
    p.target = target.data();
    p.activation = activation;
    run_fold(p);
  } else {
    DirectConv<T> p = forward_problem<T>(s);
    p.source = source.data();
    p.weight = packed;
    p.bias = bias;
    p.output = target.data();
    p.activation = activation;
    if (max_pool) {
      p.max_pool = true;
      p.output_row = s.ow / 2 * s.oc, p.output_image = s.oh / 2 * p.output_row;
    }
    p.may_stream = target.data() == output;
    run_problem(choice, p, forward_weight(s, weight));
  }
  target.finish();
}

Shape4 max_pooled_shape(const Conv2dShape& s) { return {s.n, s.oc, s.oh / 2, s.ow / 2}; }

template <class T>
bool fuses_max_pool(const Conv2dShape& s, Algorithm algorithm) {
  return s.dilation_h == 1 && s.dilation_w == 1 && s.oh > 1 && s.ow > 1 &&
         choose_conv2d<T>(s, Pass::forward, algorithm).method() == Method::winograd;
}

template bool fuses_max_pool<float>(const Conv2dShape&, Algorithm);
template bool fuses_max_pool<double>(const Conv2dShape&, Algorithm);
template DirectConv<float> forward_problem(const Conv2dShape&);
template DirectConv<double> forward_problem(const Conv2dShape&);
template WeightView<float> forward_weight(const Conv2dShape&, const float*);
template WeightView<double> forward_weight(const Conv2dShape&, const double*);
template void conv2d_forward(const Conv2dShape&, const float*, const float*, const float*, float*, Layout, Activation,
                             bool, Algorithm, const float*);
template void conv2d_forward(const Conv2dShape&, const double*, const double*, const double*, double*, Layout,
                             Activation, bool, Algorithm, const double*);

}  // namespace fastconv
