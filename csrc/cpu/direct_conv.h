// The direct convolution's loop nest, shared by forward, backward-input and linear: a correlation of a zero-padded
// channels-last source with packed weights. No im2col matrix: the register tile reads image rows as they lie.
#pragma once

#include <cstdint>

#include "cpu/isa.h"
#include "cpu/source_block.h"

namespace fastconv {

// output[n][oh][ow][g*ocg + oc] = activation(bias + sum over (th, tw, c) of window(oh, ow)(th, tw)[g*icg + c] *
// weight[g][oc][th][tw][c])
template <class T>
struct DirectConv : ConvGrid<T> {
  const T* weight;  // packed, one group after the other
  const T* bias;
  T* output;
  std::int64_t ocg;
  std::int64_t output_image, output_row, output_pixel;  // elements between neighbours
  Activation activation;
  bool max_pool;  // Winograd only: the largest of each 2 x 2 outputs is stored, and the strides are those of that image
  bool may_stream;  // the output is the caller's memory, not scratch that is read again at once
};

// Outputs that the caches cannot hold are stored past them: a plain store would first read the line from memory.
// Whether this problem's are, when they are stored `channels` at a time.
template <class T>
bool may_stream(const DirectConv<T>& problem, std::int64_t channels);

struct DirectPlan {
  SourcePlan source;
  std::int64_t rows_per_block, row_blocks, columns_per_block, column_blocks;
  std::int64_t channel_blocks, channel_chunks;         // blocks of output channels, and shares of them for threads
  std::int64_t chunk_taps_h, chunk_taps_w, chunk_run;  // the part of the weights that stays in the L2 cache
  std::int64_t scratch_elements;                       // per thread
  bool stream;                                         // stores go past the caches
  bool image_tiles, tap_tiles;                         // image_tiles.h, tap_tiles.h: nothing else in this plan counts
  bool wide;                                           // tiles of two blocks of output channels
  int threads;
};

template <class T>
DirectPlan plan_direct(const DirectConv<T>& problem);

template <class T>
void run_direct(const DirectConv<T>& problem);

}  // namespace fastconv
