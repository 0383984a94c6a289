// Packed weights of a convolution: which passes need them, how large they are, and the packing.
#include "cpu/channel_lanes.h"
#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/fold_conv.h"
#include "cpu/grouped_conv.h"
#include "cpu/pixel_lanes.h"

namespace fastconv {

namespace {

// Of a pass whose problem is one correlation of stride 1.
template <class T>
WeightView<T> stride_1_weight(const Conv2dShape& s, Pass pass, const T* weight) {
  return pass == Pass::forward ? forward_weight(s, weight)
                               : backward_input_weight(s, backward_input_phase(s, 0, 0), weight);
}

}  // namespace

template <class T>
std::int64_t packed_weight_elements(const Conv2dShape& s, Pass pass, Algorithm algorithm) {
  if (pass == Pass::backward_weight) return 0;
  const Conv2dChoice choice = choose_conv2d<T>(s, pass, algorithm);
  if (choice.method() == Method::grouped) return packed_grouped_elements<T>(s, pass);
  if (choice.method() == Method::fold) {
    const bool forward = pass == Pass::forward;
    return fold_weight_elements(s.groups, forward ? s.ocg() : s.icg(), forward ? s.icg() : s.ocg(), s.kh * s.kw,
                                active_kernel_set<T>().conv.vector_size);
  }
  if (choice.method() == Method::pixel_lanes) return pixel_lanes_weight_elements(stride_1_weight<T>(s, pass, nullptr));
  if (choice.method() == Method::channel_lanes)
    return channel_lanes_weight_elements(stride_1_weight<T>(s, pass, nullptr));
  if (choice.method() == Method::winograd)
    return pass == Pass::forward ? winograd_weight_elements(choice.tile(), s.groups, s.ocg(), s.icg())
                                 : winograd_weight_elements(choice.tile(), s.groups, s.icg(), s.ocg());
  if (pass == Pass::forward)
    return packed_elements(s.groups, s.ocg(), s.icg(), s.kh * s.kw, active_kernel_set<T>().conv.vector_size);
  std::int64_t elements = 0;
  for_each_phase(s, [&](const BackwardInputPhase& phase) {
    if (!phase.no_taps()) elements += packed_phase_elements<T>(s, phase);
  });
  return elements;
}

template <class T>
void pack_conv2d_weight(const Conv2dShape& s, const T* weight, Pass pass, Algorithm algorithm, T* packed) {
  const int vector_size = active_kernel_set<T>().conv.vector_size;
  const Conv2dChoice choice = choose_conv2d<T>(s, pass, algorithm);
  if (choice.method() == Method::grouped) return pack_grouped_weight(s, weight, pass, packed);
  if (choice.method() == Method::fold)
    return pack_fold_weight(
        pass == Pass::forward ? forward_fold_weight(s, weight) : backward_input_fold_weight(s, weight), packed);
  if (choice.method() == Method::pixel_lanes) return pack_pixel_lanes_weight(stride_1_weight(s, pass, weight), packed);
  if (choice.method() == Method::channel_lanes)
    return pack_channel_lanes_weight(stride_1_weight(s, pass, weight), packed);
  if constexpr (std::is_same_v<T, float>)
    if (choice.method() == Method::winograd)
      return pack_winograd_weight(choice.tile(), stride_1_weight(s, pass, weight), packed);
  if (pass == Pass::forward) return pack_weight(forward_weight(s, weight), vector_size, packed);
  for_each_phase(s, [&](const BackwardInputPhase& phase) {
    if (phase.no_taps()) return;
    pack_weight(backward_input_weight(s, phase, weight), vector_size, packed);
    packed += packed_phase_elements<T>(s, phase);
  });
}

template std::int64_t packed_weight_elements<float>(const Conv2dShape&, Pass, Algorithm);
template std::int64_t packed_weight_elements<double>(const Conv2dShape&, Pass, Algorithm);
template void pack_conv2d_weight(const Conv2dShape&, const float*, Pass, Algorithm, float*);
template void pack_conv2d_weight(const Conv2dShape&, const double*, Pass, Algorithm, double*);

}  // namespace fastconv
