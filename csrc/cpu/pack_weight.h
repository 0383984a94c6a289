// Weights as the direct tiles read them: for each block of output channels [taps_h][taps_w][run][block], zero-padded to
// whole vectors, so that one step of a tile loads consecutive vectors.
#pragma once

#include <cstdint>

namespace fastconv {

// A weight tensor seen through strides: forward, backward-input and its phases differ only in these.
template <class T>
struct WeightView {
  const T* data;
  std::int64_t groups, outputs, inputs, taps_h, taps_w;  // outputs and inputs of one group
  std::int64_t group_stride, output_stride, input_stride, tap_h_stride, tap_w_stride;
};

// Output channels of the block that starts at channel `first`: two vectors, or one where one suffices for the rest.
inline int block_vectors(std::int64_t outputs, std::int64_t first, int vector_size) {
  return outputs - first > vector_size ? 2 : 1;
}

inline std::int64_t block_count(std::int64_t outputs, int vector_size) {
  return (outputs + 2 * vector_size - 1) / (2 * vector_size);
}

// Elements of one group's packed weights.
inline std::int64_t packed_group_elements(std::int64_t outputs, std::int64_t inputs, std::int64_t taps,
                                          int vector_size) {
  return (outputs + vector_size - 1) / vector_size * vector_size * inputs * taps;
}

// After the last group comes a mark: 0, or NaN when some weight is not finite. Zero padding times an infinite weight is
// NaN, where the tap should take no part; the mark tells the loops that the border needs care.
constexpr std::int64_t kPackedMark = 16;

inline std::int64_t packed_elements(std::int64_t groups, std::int64_t outputs, std::int64_t inputs, std::int64_t taps,
                                    int vector_size) {
  return groups * packed_group_elements(outputs, inputs, taps, vector_size) + kPackedMark;
}

// Whether rows x width values, at most two vectors wide, are neither infinite nor NaN.
template <class T>
bool all_finite(const T* values, std::int64_t rows, std::int64_t width);

template <class T>
void pack_weight(const WeightView<T>& weight, int vector_size, T* packed);

}  // namespace fastconv
