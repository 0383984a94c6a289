// A sum over a deep product is defined in chunks of the depth: each is added up by itself, and then the chunks are
// added in their order. The chunks follow from the geometry of an image alone. One block may compute all of them, one
// after the other, its sums so far waiting in the result; or, where there are few tiles, as many blocks as chunks do,
// and a second kernel adds up what they wrote to a workspace. Either way the bits are the same.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace fastconv {
namespace cuda {

constexpr float kNothingToAdd = -0.0f;  // what leaves every number as it is, -0 too

struct DepthChunks {
  std::int32_t depth, count;  // of a chunk, but for the last; of chunks
  std::int32_t tiles;         // blocks that have the same chunk, or all blocks
  std::int64_t elements;      // of the result
  float* partial;             // (chunk, element), or null: a block has all chunks

  FASTCONV_DEVICE std::int32_t tile(std::int32_t block) const { return partial ? block % tiles : block; }
  FASTCONV_DEVICE std::int32_t chunk(std::int32_t block) const { return partial ? block / tiles : 0; }

  // Of the chunk that begins so deep, in a sum over `all`.
  FASTCONV_DEVICE std::int32_t end(std::int32_t begin, std::int32_t all) const {
    return all - begin < depth ? all : begin + depth;
  }

  FASTCONV_DEVICE float sum(std::int64_t element) const {
    float all = partial[element];
    for (std::int32_t chunk = 1; chunk < count; ++chunk) all += partial[chunk * elements + element];
    return all;
  }
};

// Where the sums of a block's chunk go: to the workspace, or to what the chunks before have left in the result; and
// whether they are finished then.
struct ChunkSums {
  float* sums;
  bool adds, last;
  FASTCONV_DEVICE ChunkSums(const DepthChunks& chunks, std::int32_t block, std::int32_t end, std::int32_t all,
                            float* result)
      : sums(chunks.partial ? chunks.partial + chunks.chunk(block) * chunks.elements : result),
        adds(!chunks.partial && end > chunks.depth),
        last(!chunks.partial && end == all) {}
};

constexpr int kChunkSumThreads = 128;
FASTCONV_DEVICE std::int64_t chunked_element() {
  return static_cast<std::int64_t>(block_x()) * kChunkSumThreads + thread_x();
}

}  // namespace cuda
}  // namespace fastconv
