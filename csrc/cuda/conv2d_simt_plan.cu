#include "cuda/conv2d_simt_plan.h"

#include "cuda/conv2d_backward_input.h"
#if !defined(__CUDACC__)
#include "cuda/emulator/grid.h"
#endif

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kLeastDepth = 512;  // of a chunk: below, storing its sums takes more than 4% of the instructions
constexpr std::int64_t kManyBlocks = 264;  // two for each of the 132 SMs of an H200
constexpr std::int64_t kMostWorkspace = kManyBlocks * 128 * 128 * static_cast<int>(sizeof(float));

struct Tile {
  int rows, columns;
  // Per slab of 8 deep, in the time that an SM with two blocks needs for one tile of 128 x 128: of each block if there
  // are several, and at least, since a block alone waits for its copies. By counting multiply-adds and reads of shared
  // memory; nobody has measured it.
  double each, least;
};
constexpr Tile kTiles[] = {
    {128, 128, 1.0, 1.3}, {128, 64, 0.6, 0.9}, {64, 64, 0.36, 0.5}, {64, 32, 0.24, 0.4}, {128, 16, 0.24, 0.5}};

// Half a tile has nothing to do otherwise.
bool fits(const Tile& tile, std::int64_t columns, bool any_tile) {
  if (tile.columns == 16 || columns <= 16) return tile.columns == 16 && columns <= 16;
  if (!any_tile) return tile.rows == 128 && tile.columns == 64;
  return tile.columns == 32 || columns > tile.columns / 2;
}

double time_of(const Tile& tile, const SimtProduct& p, const ChunkPlan& chunks, bool split, int multiprocessors) {
  const std::int64_t tiles = ceil_div(p.rows, tile.rows) * ceil_div(p.columns, tile.columns) * p.groups * p.phases;
  const auto side_by_side = static_cast<double>(ceil_div(tiles * (split ? chunks.count : 1), multiprocessors));
  const auto slabs = static_cast<double>(split ? chunks.depth : p.depth) / 8 + 4;  // and what begins and ends a block
  double time = slabs * std::max(side_by_side * tile.each, tile.least);
  if (split) {  // a second kernel; and chunks are written and read, at 16 bytes a cycle where a slab takes 1024
    const auto bytes = static_cast<double>(p.elements * chunks.count) * 8;
    time += 4 + bytes / multiprocessors / 16 / 1024;
  }
  return time;
}

std::int64_t bytes_of_chunks(const SimtProduct& p, const ChunkPlan& chunks) {
  return chunks.count * p.elements * static_cast<int>(sizeof(float));
}

}  // namespace

SimtProduct forward_product(const Conv2dShape& s) {
  const std::int64_t pixels = s.oh * s.ow;
  return {pixels, s.n * pixels, s.ocg(), s.kh * s.kw * s.icg(), s.groups, 1, s.n * pixels * s.oc};
}

SimtProduct backward_input_product(const Conv2dShape& s) {
  const PhaseAxis h = phase_axis(s.ih, s.oh, s.kh, s.stride_h, s.pad_top, s.dilation_h);
  const PhaseAxis w = phase_axis(s.iw, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w);
  const std::int64_t pixels = std::int64_t{h.most_pixels} * w.most_pixels;
  return {pixels,
          s.n * pixels,
          s.icg(),
          std::int64_t{h.most_taps} * w.most_taps * s.ocg(),
          s.groups,
          std::int64_t{h.stride} * w.stride,
          s.n * s.ih * s.iw * s.ic};
}

ChunkPlan plan_chunks(const SimtProduct& p) {
  const std::int64_t tiles = ceil_div(p.image_rows, 64) * ceil_div(p.columns, 64) * p.groups * p.phases;
  const std::int64_t count = std::max<std::int64_t>(1, std::min(p.depth / kLeastDepth, kManyBlocks / tiles));
  const std::int64_t depth = round_up(ceil_div(std::max<std::int64_t>(p.depth, 1), count), 8);
  return {depth, std::max<std::int64_t>(1, ceil_div(p.depth, depth))};
}

SimtPlan plan_simt(const SimtProduct& p, int multiprocessors, std::int64_t workspace_bytes, bool any_tile) {
  const ChunkPlan chunks = plan_chunks(p);
  const bool may_split = chunks.count > 1 && bytes_of_chunks(p, chunks) <= workspace_bytes;
#if !defined(__CUDACC__)
  if (emulator::mode().simt_rows) {  // a test wants this one
    const bool split = may_split && emulator::mode().simt_split;
    for (const Tile& tile : kTiles)
      if (tile.rows == emulator::mode().simt_rows && tile.columns == emulator::mode().simt_columns)
        return {tile.rows, tile.columns, split};
  }
#endif
  SimtPlan best{};
  double least = 0;
  for (const Tile& tile : kTiles) {
    if (!fits(tile, p.columns, any_tile)) continue;
    for (const bool split : {false, true}) {
      if (split && !may_split) continue;
      const double time = time_of(tile, p, chunks, split, multiprocessors);
      if (best.rows && time > 0.85 * least) continue;  // large tiles unless another is clearly better
      least = time, best = {tile.rows, tile.columns, split};
    }
  }
  return best;
}

std::int64_t simt_workspace_bytes(const SimtProduct& p) {
  const std::int64_t bytes = bytes_of_chunks(p, plan_chunks(p));
  return bytes <= kMostWorkspace ? bytes : 0;
}

std::string explain_simt(const Conv2dShape& shape, bool backward_input, int multiprocessors) {
  const SimtProduct p = backward_input ? backward_input_product(shape) : forward_product(shape);
  const bool in_fours = shape.icg() % 4 == 0 && (!backward_input || shape.ocg() % 4 == 0);
  const SimtPlan plan = plan_simt(p, multiprocessors, simt_workspace_bytes(p), in_fours);
  const ChunkPlan chunks = plan_chunks(p);
  std::string text = "tiles of " + std::to_string(plan.rows) + "x" + std::to_string(plan.columns);
  if (chunks.count > 1)
    text += ", a sum in " + std::to_string(chunks.count) + " chunks of " + std::to_string(chunks.depth);
  if (plan.split) text += ", a block for each, " + std::to_string(simt_workspace_bytes(p)) + " bytes of workspace";
  return text;
}

DepthChunks depth_chunks(const SimtProduct& p, float* partial) {
  const ChunkPlan chunks = plan_chunks(p);
  DepthChunks c{};
  c.depth = static_cast<std::int32_t>(chunks.depth), c.count = static_cast<std::int32_t>(chunks.count);
  c.elements = p.elements, c.partial = partial;
  return c;
}

}  // namespace cuda
}  // namespace fastconv
