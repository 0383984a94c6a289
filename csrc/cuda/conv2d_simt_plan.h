// How a convolution in exact arithmetic is shared out: the chunks of a deep sum, by the geometry of an image alone, and
// the tiles and blocks, by how many of them a GPU needs. Only the chunks have to do with the bits of a result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/checked_math.h"
#include "core/conv2d_shape.h"
#include "cuda/kernels/depth_chunks.h"

namespace fastconv {
namespace cuda {

// A product as the kernels see it: rows are pixels, of one image and of all.
struct SimtProduct {
  std::int64_t image_rows, rows, columns, depth;  // columns and depth of one group
  std::int64_t groups, phases;                    // phases have as many rows and as much depth each, or less
  std::int64_t elements;                          // of the result
};

SimtProduct forward_product(const Conv2dShape& shape);
SimtProduct backward_input_product(const Conv2dShape& shape);

// 512 deep or more each, and no more of them than blocks that one image keeps busy.
struct ChunkPlan {
  std::int64_t depth, count;
};
ChunkPlan plan_chunks(const SimtProduct& product);

struct SimtPlan {
  int rows, columns;  // of a tile: 128 x 16, 64 or 128, or 64 x 32 or 64
  bool split;         // a block for each chunk, and so a workspace
};

// What would take least time on so many multiprocessors, by counting. `any_tile`: else
// there are those of 128 x 16 and 64 alone.
SimtPlan plan_simt(const SimtProduct& product, int multiprocessors, std::int64_t workspace_bytes, bool any_tile);

// Of a split product; 17.3 MB at most, else it is not split.
std::int64_t simt_workspace_bytes(const SimtProduct& product);

// What the exact kernel of a pass does on so many multiprocessors, all channels coming in fours.
std::string explain_simt(const Conv2dShape& shape, bool backward_input, int multiprocessors);

// For kernels: nothing is split where `partial` is null.
DepthChunks depth_chunks(const SimtProduct& product, float* partial);

}  // namespace cuda
}  // namespace fastconv
