// Packed weights of a convolution: which passes need them, how large they are, and the packing.
#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/depthwise.h"

namespace fastconv {

template <class T>
std::int64_t packed_weight_elements(const Conv2dShape& s, Pass pass) {
  if (pass == Pass::backward_weight) return 0;
  if (takes_depthwise(s)) return s.kh * s.kw * s.oc;
  if (pass == Pass::forward)
    return packed_elements(s.groups, s.ocg(), s.icg(), s.kh * s.kw, active_kernel_set<T>().conv.vector_size);
  std::int64_t elements = 0;
  for_each_phase(s, [&](const BackwardInputPhase& phase) {
    if (!phase.no_taps()) elements += packed_phase_elements<T>(s, phase);
  });
  return elements;
}

template <class T>
void pack_conv2d_weight(const Conv2dShape& s, const T* weight, Pass pass, T* packed) {
  const int vector_size = active_kernel_set<T>().conv.vector_size;
  if (takes_depthwise(s)) return pack_depthwise_weight(s, weight, packed);
  if (pass == Pass::forward) return pack_weight(forward_weight(s, weight), vector_size, packed);
  for_each_phase(s, [&](const BackwardInputPhase& phase) {
    if (phase.no_taps()) return;
    pack_weight(backward_input_weight(s, phase, weight), vector_size, packed);
    packed += packed_phase_elements<T>(s, phase);
  });
}

template std::int64_t packed_weight_elements<float>(const Conv2dShape&, Pass);
template std::int64_t packed_weight_elements<double>(const Conv2dShape&, Pass);
template void pack_conv2d_weight(const Conv2dShape&, const float*, Pass, float*);
template void pack_conv2d_weight(const Conv2dShape&, const double*, Pass, double*);

}  // namespace fastconv
