// The gradient of a convolution's weight on the tensor cores of sm_90a, of 16-bit types and one group; wgmma_tiles.h
// tells how tiles are computed, conv2d_backward_weight.h what slices are.
//
//   rows = output channels, columns = (kh, kw, c) of a filter, depth = output pixels
//
// A slab is 64 pixels. Columns come in blocks of 64 channels of one tap, the last of each tap with what is left of
// them: so a block is one box of the input, as the tap sees it. Both operands have channels inside (they are turned).
// Boxes that would lie beyond the last block are not asked for; what is there in their place is multiplied, and not
// stored.
#pragma once

#include "cuda/kernels/conv2d_backward_weight.h"
#include "cuda/kernels/wgmma_store.h"

namespace fastconv {
namespace cuda {

template <class T>
struct Conv2dBackwardWeightWgmmaParams : Conv2dBackwardWeightParams<T> {
  TensorMap grad_output_map, input_map;
  std::int64_t tiles;
  std::int32_t blocks_of_tap;

  Conv2dBackwardWeightWgmmaParams(const Conv2dBackwardWeightParams<T>& p)
      : Conv2dBackwardWeightParams<T>(p), grad_output_map{}, input_map{}, tiles(0), blocks_of_tap(0) {}
};

// Two neighbours of a sum: into the result, or into a workspace that is not aligned. What is NaN is computed again by
// the definition. Not where it is called: there are 64 pairs.
template <class T>
FASTCONV_DEVICE_NOINLINE void put_pair(const Conv2dBackwardWeightParams<T>& p, float* partial, std::int32_t channel,
                                       std::int32_t position, float first, float second) {
  const std::int64_t positions = p.geometry.kh * p.geometry.kw * p.geometry.ic;
  if (!partial && p.whole_packs && !p.accumulate && first == first && second == second) {
    const std::int64_t element = channel * positions + position;
    if (p.wide) return store(static_cast<float*>(p.grad_weight) + element, Pack<float, 2>{{first, second}});
    Pack<std::uint32_t, 1> word;
    join_words<T>(word.at[0], first, second);
    return store(reinterpret_cast<std::uint32_t*>(static_cast<T*>(p.grad_weight) + element), word);
  }
  for (int k = 0; k < 2; ++k, ++position, first = second) {
    const std::int64_t element = channel * positions + position;
    if (partial)
      partial[element] = first;
    else
      p.put(element, first == first ? first : backward_weight_sum_inside(p, channel, position));
  }
}

template <class T, int rows, int columns>
struct BackwardWeightWgmma {
  using Params = Conv2dBackwardWeightWgmmaParams<T>;
  using Tile = WgmmaTile<T, rows, columns, true, true>;
  static constexpr int kBlocks = columns / kWgmmaBlock;
  struct Slab {
    std::int32_t pixel;
  };
  struct Block {
    std::int32_t kh, kw, c;
    FASTCONV_DEVICE Block(const Params& p, std::int32_t number) {
      const std::int32_t tap = number / p.blocks_of_tap;
      c = number % p.blocks_of_tap * kWgmmaBlock, kh = tap / p.geometry.kw, kw = tap % p.geometry.kw;
    }
  };

  const Params& p;
  WeightTile<Tile> tile;

  FASTCONV_DEVICE BackwardWeightWgmma(const Params& params, std::int64_t number)
      : p(params), tile(params, static_cast<std::int32_t>(number)) {}

  FASTCONV_DEVICE std::int32_t all_blocks() const { return p.geometry.kh * p.geometry.kw * p.blocks_of_tap; }

  template <class Function>
  FASTCONV_DEVICE void each_slab(const Function& f) const {
    for (std::int32_t pixel = tile.begin; pixel < tile.end; pixel += Tile::kDepth) f(Slab{pixel}, tile.end - pixel);
  }

  FASTCONV_DEVICE auto source() const {
    struct Copy {
      const BackwardWeightWgmma& own;
      std::int32_t c[kBlocks], tap_h[kBlocks], tap_w[kBlocks], row_boxes, boxes;

      FASTCONV_DEVICE void operator()(const Slab& slab, unsigned char* stage, Barrier& landed) const {
        const Params& p = own.p;
        barrier_expect(landed, (row_boxes + boxes) * kWgmmaBlockBytes);
        FASTCONV_UNROLL_ON_GPU
        for (int box = 0; box < rows / kWgmmaBlock; ++box)
          if (box < row_boxes)
            tma_load(stage + box * kWgmmaBlockBytes, p.grad_output_map, landed, own.tile.first_row + box * kWgmmaBlock,
                     0, slab.pixel);
        const InputPixel at = input_pixel(p.geometry, slab.pixel);
        FASTCONV_UNROLL_ON_GPU
        for (int box = 0; box < kBlocks; ++box)
          if (box < boxes)
            tma_load_im2col(stage + Tile::kRowBytes + box * kWgmmaBlockBytes, p.input_map, landed, c[box], at.w, at.h,
                            at.n, tap_w[box], tap_h[box]);
      }
    };
    Copy copy{*this, {}, {}, {}, 0, 0};
    const std::int32_t first = tile.first_column / kWgmmaBlock;
    const std::int32_t left = all_blocks() - first, left_rows = p.geometry.oc - tile.first_row;
    copy.boxes = left < kBlocks ? left : kBlocks;
    copy.row_boxes = left_rows > kWgmmaBlock ? rows / kWgmmaBlock : 1;
    FASTCONV_UNROLL_ON_GPU
    for (int box = 0; box < kBlocks; ++box) {
      const Block block(p, first + box);
      copy.c[box] = block.c;
      copy.tap_h[box] = block.kh * p.geometry.dilation_h, copy.tap_w[box] = block.kw * p.geometry.dilation_w;
    }
    return copy;
  }

  // Lanes hold two neighbouring columns of every eight.
  FASTCONV_DEVICE void store(float (&sums)[Tile::kSums], std::int32_t own_row, std::int32_t own_column) const {
    const Conv2dGeometry& g = p.geometry;
    const std::int32_t positions = g.kh * g.kw * g.ic;
    const std::int32_t row = tile.first_row + own_row + warp() % 4 * 16 + lane() / 4;  // and eight further
    float* const partial = p.partial ? p.partial + static_cast<std::int64_t>(tile.slice) * g.oc * positions : nullptr;
    FASTCONV_UNROLL_ON_GPU
    for (int i = 0; i < Tile::kOwnColumns / kWgmmaBlock; ++i) {
      const std::int32_t number = (tile.first_column + own_column) / kWgmmaBlock + i;
      if (number >= all_blocks()) return;
      const Block block(p, number);
      const std::int32_t first = (block.kh * g.kw + block.kw) * g.ic + block.c + lane() % 4 * 2;
      const std::int32_t left = g.ic - block.c - lane() % 4 * 2;  // channels of the tap from there on, an even number
      FASTCONV_UNROLL_ON_GPU
      for (int eight = 0; eight < kWgmmaBlock / 8; ++eight) {
        if (eight * 8 >= left) continue;
        FASTCONV_UNROLL_ON_GPU
        for (int half = 0; half < 2; ++half) {
          const std::int32_t channel = row + half * 8;
          if (channel >= g.oc) continue;
          const std::int32_t position = first + eight * 8;
          const Pack<float, 2> pair = {
              {sums[(i * 8 + eight) * 4 + half * 2], sums[(i * 8 + eight) * 4 + half * 2 + 1]}};
          if (partial && p.whole_packs)
            cuda::store(partial + static_cast<std::int64_t>(channel) * positions + position, pair);
          else
            put_pair<T>(p, partial, channel, position, pair.at[0], pair.at[1]);
        }
      }
    }
  }
};

template <class T, int rows, int columns>
FASTCONV_BOUNDED_KERNEL(3 * kWarpgroup, 1)
conv2d_backward_weight_wgmma(FASTCONV_GRID_CONSTANT const Conv2dBackwardWeightWgmmaParams<T> p) {
  wgmma_tiles<BackwardWeightWgmma<T, rows, columns>>(p);
}

}  // namespace cuda
}  // namespace fastconv
