// Driver of the weight's gradient of a convolution of images with few channels: how threads and tiles share it out.
#include <algorithm>
#include <limits>

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/conv2d_params.h"
#include "cuda/kernels/stem_conv2d_weight.h"
#include "cuda/launch.h"
#include "cuda/stem_conv2d.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kMostSharedBytes = 48 << 10;  // what every GPU has without asking
constexpr std::int64_t kFloat = sizeof(float);
// As for other layers: two blocks for each of the 132 SMs of an H200, 17.3 MB of workspace, and not too little work.
constexpr std::int64_t kMostBlocks = 264, kMostWorkspace = kMostBlocks * 128 * 128 * kFloat, kLeastPixels = 256;

struct Plan {
  int taps, shift;  // of the kernel
  std::int64_t lanes, groups, parts, threads, chunks, channel_tiles, group_tiles;
  std::int64_t tile_rows, strips_across, patch_rows, patch_columns, same_remainder, pitch;
  std::int64_t gradient_floats, stage_floats, shared_bytes;
  std::int64_t row_tiles, column_tiles, tiles, tiles_of_slice, slices;
};

// How many taps a thread owns: the fewest cycles for a filter row, where a multiply-add takes one and a number read
// from shared memory four.
void choose_taps(const Conv2dShape& s, Plan& p) {
  struct Choice {
    int taps, shift;
    std::int64_t cycles;  // of a pixel
  };
  constexpr Choice choices[] = {{9, 3, 72}, {9, 0, 72}, {7, 0, 60}, {5, 1, 40}};
  const std::int64_t row = s.kw * s.ic, shift = s.dilation_w == 1 ? s.stride_w * s.ic : 0;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const Choice& c : choices) {
    const std::int64_t cycles = ceil_div(row, c.taps) * c.cycles;
    if (cycles >= least || (c.shift && c.shift != shift)) continue;
    least = cycles, p.taps = c.taps, p.shift = c.shift;
  }
}

// What does not depend on the tile of the output.
Plan plan_threads(const Conv2dShape& s) {
  Plan p{};
  choose_taps(s, p);
  // 64 output channels a block; fewer where more would be idle.
  p.lanes = s.oc <= 8 ? 1 : s.oc <= 16 ? 2 : s.oc <= 32 || (s.oc > 64 && (s.oc - 1) % 64 < 32) ? 4 : 8;
  p.channel_tiles = ceil_div(s.oc, p.lanes * kStemOwn);
  p.chunks = ceil_div(s.kw * s.ic, p.taps);
  const std::int64_t groups = p.chunks * s.kh;
  p.group_tiles = ceil_div(groups * p.lanes, kStemWeightThreads);
  p.groups = ceil_div(groups, p.group_tiles);
  return p;
}

// Sizes that follow from a tile of so many rows and strips; false if shared memory is too small for it.
bool size_tile(const Conv2dShape& s, std::int64_t rows, std::int64_t strips, Plan& p) {
  p.tile_rows = rows, p.strips_across = strips;
  p.patch_rows = (rows - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
  p.patch_columns = (strips * kStemStrip - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1;
  p.same_remainder = ceil_div(p.patch_columns, s.dilation_w);
  p.pitch = (p.same_remainder * s.dilation_w * s.ic) | 1;  // odd: rows begin in other banks
  p.gradient_floats = rows * strips * kStemStrip * p.lanes * kStemOwn;
  p.stage_floats = p.gradient_floats + round_up(p.patch_rows * p.pitch + p.taps, 4);  // the last taps may not exist
  const std::int64_t owners = p.lanes * p.groups, most_parts = kStemWeightThreads / owners;
  p.parts = ceil_div(rows * strips, ceil_div(rows * strips, most_parts));
  p.threads = round_up(owners * p.parts, 32);
  p.shared_bytes =
      std::max((strips * kStemStrip + 2 * p.stage_floats), p.taps * kStemOwn * owners * (p.parts / 2)) * kFloat;
  p.row_tiles = ceil_div(s.oh, rows), p.column_tiles = ceil_div(s.ow, strips * kStemStrip);
  return p.shared_bytes <= kMostSharedBytes;
}

// Instructions of a block's warps for one image, roughly: the copies of a tile, and its strips.
std::int64_t cost(const Plan& p) {
  const std::int64_t warps = p.threads / 32;
  const std::int64_t strip = kStemStrip * (p.taps * (kStemOwn + 1) + 2) + 16;
  const std::int64_t copies = (p.gradient_floats / 4 + p.patch_rows * p.patch_columns) * 12 / 32;
  const std::int64_t tile = warps * (ceil_div(p.tile_rows * p.strips_across, p.parts) * strip + 80) + copies;
  return p.row_tiles * p.column_tiles * tile;
}

bool small_window(const Conv2dShape& s) {  // and so nothing above overflows
  const auto fits = [](std::int64_t size) { return size <= 1024; };
  return fits(s.kh) && fits(s.kw) && fits(s.stride_h) && fits(s.stride_w) && fits(s.dilation_h) && fits(s.dilation_w);
}

// The tile that costs least, by the geometry of an image alone.
Plan plan_tile(const Conv2dShape& s) {
  Plan p = plan_threads(s);
  size_tile(s, 1, 1, p);
  Plan best = p;
  std::int64_t least = cost(p);
  const std::int64_t across = ceil_div(s.ow, kStemStrip);
  for (std::int64_t parts = 1; parts <= across; parts *= 2) {  // of a row of outputs
    const std::int64_t strips = ceil_div(across, parts);
    for (std::int64_t rows = 1; rows <= std::min<std::int64_t>(s.oh, 8) && size_tile(s, rows, strips, p); ++rows) {
      const std::int64_t instructions = cost(p);
      if (instructions < least) least = instructions, best = p;
    }
  }
  return best;
}

Plan plan(const Conv2dShape& s) {
  Plan p = plan_tile(s);
  p.tiles = checked_mul(s.n, p.row_tiles * p.column_tiles, "conv2d_backward_weight");
  const std::int64_t beside = p.channel_tiles * p.group_tiles, bytes = s.oc * s.kh * s.kw * s.ic * kFloat;
  const std::int64_t most =
      std::min({kMostBlocks / beside, kMostWorkspace / bytes, s.n * s.oh * s.ow / kLeastPixels, p.tiles});
  p.tiles_of_slice = ceil_div(p.tiles, std::max<std::int64_t>(most, 1));
  p.slices = p.tiles == 0 ? 1 : ceil_div(p.tiles, p.tiles_of_slice);
  return p;
}

auto kernel_of(const Plan& p) {
  if (p.taps == 9) return p.shift ? stem_conv2d_backward_weight<9, 3> : stem_conv2d_backward_weight<9, 0>;
  return p.taps == 7 ? stem_conv2d_backward_weight<7, 0> : stem_conv2d_backward_weight<5, 1>;
}

}  // namespace

bool stem_conv2d_backward_weight_takes(const Conv2dShape& shape) {
  if (shape.groups != 1 || shape.ic > kMostStemChannels || !small_window(shape)) return false;
  Plan p = plan_threads(shape);
  return size_tile(shape, 1, 1, p);
}

std::int64_t stem_conv2d_backward_weight_workspace(const Conv2dShape& s) {
  return plan(s).slices * s.oc * s.kh * s.kw * s.ic * kFloat;
}

void stem_conv2d_backward_weight(const Conv2dShape& s, const float* input, bool planar, const float* grad_output,
                                 float* grad_weight, void* workspace, bool accumulate, Stream stream) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const auto fit = [&](std::int64_t value) { return to_int32("conv2d_backward_weight", value, kMost, s); };
  const Plan plan = cuda::plan(s);
  fit(s.ih + s.pad_top + s.pad_bottom), fit(s.iw + s.pad_left + s.pad_right);
  StemWeightParams p{};
  p.input = input, p.grad_output = grad_output, p.grad_weight = grad_weight;
  p.partial = static_cast<float*>(workspace);
  p.row_step = planar ? s.iw : s.iw * s.ic, p.column_step = planar ? 1 : s.ic,
  p.channel_step = planar ? s.ih * s.iw : 1;
  p.images = fit(s.n), p.ih = fit(s.ih), p.iw = fit(s.iw), p.ic = fit(s.ic);
  p.oh = fit(s.oh), p.ow = fit(s.ow), p.oc = fit(s.oc);
  p.kh = fit(s.kh), p.kw = fit(s.kw), p.stride_h = fit(s.stride_h), p.stride_w = fit(s.stride_w);
  p.pad_top = fit(s.pad_top), p.pad_left = fit(s.pad_left);
  p.dilation_h = fit(s.dilation_h), p.dilation_w = fit(s.dilation_w);
  p.lanes = fit(plan.lanes), p.groups = fit(plan.groups), p.parts = fit(plan.parts), p.chunks = fit(plan.chunks);
  p.channel_tiles = fit(plan.channel_tiles), p.group_tiles = fit(plan.group_tiles);
  while (1 << p.channel_bits < plan.lanes * kStemOwn) ++p.channel_bits;
  p.tiles = fit(plan.tiles), p.tiles_of_slice = fit(plan.tiles_of_slice), p.slices = fit(plan.slices);
  p.tile_rows = fit(plan.tile_rows), p.strips_across = fit(plan.strips_across);
  p.patch_rows = fit(plan.patch_rows), p.patch_columns = fit(plan.patch_columns), p.pitch = fit(plan.pitch);
  p.same_remainder = fit(plan.same_remainder);
  p.gradient_floats = fit(plan.gradient_floats), p.stage_floats = fit(plan.stage_floats);
  p.by_column_tiles = FastDivide(fit(plan.column_tiles)), p.by_row_tiles = FastDivide(fit(plan.row_tiles));
  p.by_strips_across = FastDivide(p.strips_across), p.by_dilation = FastDivide(p.dilation_w);
  p.planar = planar, p.in_fours = s.oc % 4 == 0 && aligned(grad_output, 16), p.accumulate = accumulate;
  const std::int64_t blocks = plan.slices * plan.channel_tiles * plan.group_tiles;
  launch({"stem_conv2d_backward_weight", blocks, static_cast<int>(plan.threads), plan.shared_bytes, stream},
         kernel_of(plan), p, s);
  launch({"stem_conv2d_weight_sum", ceil_div(s.oc * s.kh * s.kw * s.ic, kSumElements), kSumThreads, kSumSharedBytes,
          stream},
         stem_conv2d_weight_sum, p, s);
}

}  // namespace cuda
}  // namespace fastconv
