// Winograd convolution, stride 1, float: see docs/kernels.md. Takes the same problem as the direct loop nest.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"
#include "cpu/direct_conv.h"
#include "cpu/kernels/winograd_kernels.h"
#include "cpu/pack_weight.h"
#include "cpu/winograd_grid.h"

namespace fastconv {

// Filters at the points, packed as the tiles read them: for each group and block of output channels
// [point][input][lanes].
std::int64_t winograd_weight_elements(WinogradTile tile, std::int64_t groups, std::int64_t outputs,
                                      std::int64_t inputs);
void pack_winograd_weight(WinogradTile tile, const WeightView<float>& weight, float* packed);

// problem.weight: what pack_winograd_weight made of `weight`.
void run_winograd(WinogradTile tile, const DirectConv<float>& problem, const WeightView<float>& weight);

struct WinogradPlan {
  WinogradGrid grid;
  std::int64_t tiles_per_block, blocks;
  std::int64_t channel_blocks, channel_chunks;  // blocks of output channels, and shares of them for threads
  std::int64_t point_pitch;                     // elements from one tile's points to the next's
  std::int64_t input_elements;                  // points of the input, of a thread
  std::int64_t thread_elements, scratch_bytes;
  bool stream;  // stores go past the caches
  int threads;
};

// The gradient of the filters. False: some result is not finite, which calls for the direct kernel; grad_weight is
// untouched then.
bool run_winograd_backward_weight(WinogradTile tile, const Conv2dShape& shape, const float* input,
                                  const float* grad_output, float* grad_weight, bool accumulate);
std::int64_t winograd_backward_weight_scratch_bytes(WinogradTile tile, const Conv2dShape& shape);

WinogradPlan plan_winograd(WinogradTile tile, const DirectConv<float>& problem);

}  // namespace fastconv
