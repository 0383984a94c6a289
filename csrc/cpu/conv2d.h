// The convolution passes on the CPU. Data in either layout, weights always (OC, IC/groups, KH, KW); outputs fully
// written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/conv2d_shape.h"
#include "core/layout.h"
#include "cpu/kernels/conv_kernels.h"

namespace fastconv {

enum class Pass { forward, backward_input, backward_weight };
enum class Algorithm { automatic, direct, winograd };

Pass parse_pass(const char* op, const std::string& name);
Algorithm parse_algorithm(const char* op, const std::string& name);

// packed: the result of pack_conv2d_weight for this weight, shape, pass, algorithm and instruction set, or null to pack
// in the call.
// max_pool: the output is the largest of each 2 x 2 results, where fuses_max_pool says that the algorithm can.
template <class T>
void conv2d_forward(const Conv2dShape& shape, const T* input, const T* weight, const T* bias, T* output, Layout layout,
                    Activation activation, bool max_pool, Algorithm algorithm, const T* packed);
template <class T>
bool fuses_max_pool(const Conv2dShape& shape, Algorithm algorithm);
Shape4 max_pooled_shape(const Conv2dShape& shape);
// As a transposed convolution it has a bias of IC values, or null, and an activation.
template <class T>
void conv2d_backward_input(const Conv2dShape& shape, const T* weight, const T* grad_output, const T* bias,
                           T* grad_input, Layout layout, Activation activation, Algorithm algorithm, const T* packed);
// accumulate: add to what grad_weight holds.
template <class T>
void conv2d_backward_weight(const Conv2dShape& shape, const T* input, const T* grad_output, T* grad_weight,
                            Layout layout, Algorithm algorithm, bool accumulate);
template <class T>
void conv2d_backward_bias(const Shape4& grad_output_shape, const T* grad_output, T* grad_bias, Layout layout,
                          bool accumulate);

// Forward and backward-input read the weight in tile order; elements of that, and the packing itself.
template <class T>
std::int64_t packed_weight_elements(const Conv2dShape& shape, Pass pass, Algorithm algorithm);
template <class T>
void pack_conv2d_weight(const Conv2dShape& shape, const T* weight, Pass pass, Algorithm algorithm, T* packed);

// What a call would do, for people and for memory plans.
struct Conv2dExplanation {
  std::string algorithm, kernel;
  std::vector<std::string> rejected;                   // the other algorithms, each with the reason
  std::vector<std::string> layout_conversions, notes;  // a note "slow: ..." names a path that wastes most lanes
  std::int64_t scratch_bytes, packed_weight_bytes;
  int threads;
};

template <class T>
Conv2dExplanation explain_conv2d(const Conv2dShape& shape, Pass pass, Layout layout, Algorithm algorithm);

}  // namespace fastconv
