// Convolutions whose groups are narrower than half a vector, depthwise among them, channels-last: several groups side
// by side fill the lanes (kernels/grouped_tile.h). conv2d.h's functions choose it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/conv2d_shape.h"
#include "cpu/conv2d.h"
#include "cpu/isa.h"

namespace fastconv {

// Groups in one block of lanes; fewer than two are left to the direct kernels.
template <class T>
std::int64_t groups_per_block(const Conv2dShape& s) {
  return active_kernel_set<T>().conv.vector_size / std::max(s.icg(), s.ocg());
}
template <class T>
bool takes_grouped(const Conv2dShape& s) {
  return s.groups > 1 && groups_per_block<T>(s) > 1;
}

// packed: [block of groups][kh][kw][input of the pass][lanes]
template <class T>
std::int64_t packed_grouped_elements(const Conv2dShape& shape, Pass pass);
template <class T>
void pack_grouped_weight(const Conv2dShape& shape, const T* weight, Pass pass, T* packed);

template <class T>
void grouped_forward(const Conv2dShape& shape, const T* input, const T* packed, const T* bias, T* output,
                     Activation activation, bool may_stream);
template <class T>
void grouped_backward_input(const Conv2dShape& shape, const T* packed, const T* grad_output, const T* bias,
                            T* grad_input, Activation activation, bool may_stream);
template <class T>
void grouped_backward_weight(const Conv2dShape& shape, const T* input, const T* grad_output, T* grad_weight,
                             bool accumulate);

// Outputs that the caches cannot hold are stored past them, if aligned.
template <class T>
bool grouped_streams(const Conv2dShape& shape, Pass pass);
int grouped_threads(const Conv2dShape& shape);
template <class T>
std::int64_t grouped_backward_weight_elements(const Conv2dShape& shape);  // scratch

}  // namespace fastconv
