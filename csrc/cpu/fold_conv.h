// Convolution by folding, for few outputs: every source pixel is multiplied by its whole window of filters at once, so
// that taps and output channels together fill the vector lanes, and the windows are added up where they overlap.
// Padding takes no part: what falls outside the target is left out. See docs/kernels.md.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"
#include "cpu/isa.h"
#include "cpu/pack_weight.h"

namespace fastconv {

// target[n][y*step_h + th*tap_step_h + origin_h][x*step_w + tw*tap_step_w + origin_w][g*outputs + o] +=
//   sum over i of source[n][y][x][g*inputs + i] * weight[g][o][i][th][tw]
// The gradient of the input is this with the convolution's own stride; forward with stride 1 is this with the taps
// reversed.
template <class T>
struct FoldConv {
  const T* source;
  std::int64_t n, source_h, source_w, groups, inputs;  // inputs and outputs of one group
  std::int64_t taps_h, taps_w, outputs;
  std::int64_t origin_h, origin_w, step_h, step_w, tap_step_h, tap_step_w;
  const T* weight;  // packed by pack_fold_weight
  const T* bias;
  T* target;
  std::int64_t target_h, target_w;
  Activation activation;
};

template <class T>
FoldConv<T> forward_fold(const Conv2dShape& shape);  // stride 1 only
template <class T>
FoldConv<T> backward_input_fold(const Conv2dShape& shape);
template <class T>
WeightView<T> forward_fold_weight(const Conv2dShape& shape, const T* weight);
template <class T>
WeightView<T> backward_input_fold_weight(const Conv2dShape& shape, const T* weight);

// Filters as the tiles read them: for each group and block of window entries (th, tw, o) [input][lanes].
inline std::int64_t fold_weight_elements(std::int64_t groups, std::int64_t outputs, std::int64_t inputs,
                                         std::int64_t taps, int vector_size) {
  return groups * packed_group_elements(outputs * taps, inputs, 1, vector_size);
}
template <class T>
void pack_fold_weight(const WeightView<T>& weight, T* packed);

// A run of elements that lie side by side in the window and in the target.
struct FoldPieces {
  std::int64_t count, elements;  // in one row of taps
};

template <class T>
FoldPieces fold_pieces(const FoldConv<T>& p) {
  if (p.groups == 1 && p.tap_step_w == 1) return {1, p.taps_w * p.outputs};
  return {p.taps_w, p.outputs};
}

struct FoldPlan {
  std::int64_t pitch;                       // elements of one window
  std::int64_t rows, columns;               // source pixels whose windows are in scratch at once
  std::int64_t rows_per_block, row_blocks;  // target rows of a task
  std::int64_t scratch_elements;            // per thread
  int threads;
};

template <class T>
FoldPlan plan_fold(const FoldConv<T>& problem);
template <class T>
void run_fold(const FoldConv<T>& problem);

}  // namespace fastconv
