// The gradient of the filters at the points: the sum over tiles of input points times points of grad_output, then one
// way back for all tiles together. Loops, outside in: (group of tiles, group of channels, share of the output channels)
// per task; blocks of tiles, whose input goes to the points; blocks of output channels, whose gradient does; slices
// of the input channels; points; register tiles. Groups of tiles are split by shape alone and added in order.
#include <algorithm>
#include <atomic>

#include "core/checked_math.h"
#include "cpu/collect_weight_gradient.h"
#include "cpu/conv2d_problems.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/winograd.h"

namespace fastconv {

namespace {

constexpr std::int64_t kBlockTiles = 64;        // summed in registers before the sums go back to memory ...
constexpr std::int64_t kLargeBlockTiles = 128;  // ... where that is the L3 cache, less often
constexpr std::int64_t kLargeSumBytes = 1024 * 1024;
constexpr std::int64_t kSlice = 64;                       // input channels: at one point a block's stay in the L1 cache
constexpr std::int64_t kTileGroups = 8;                   // shares of work, so that more threads than two find some
constexpr std::int64_t kPartialBytes = 32 * 1024 * 1024;  // most memory for the groups' partial sums

struct Plan {
  WinogradGrid grid;
  std::int64_t tiles_per_block, blocks, tile_groups;
  std::int64_t channel_blocks, shares, slices;
  std::int64_t pitch, group_points, group_taps;  // elements: of a tile's points; of one group's sums and gradient
  std::int64_t input_elements, grad_elements, local_elements;  // of one thread
  bool whole;  // one block of tiles is everything: its sums go straight back from the points
  int threads;

  std::int64_t thread_elements() const { return input_elements + grad_elements + local_elements; }
};

int vector_size() { return active_kernel_set<float>().conv.vector_size; }

Plan make_plan(WinogradTile tile, const Conv2dShape& s, const ConvGrid<float>& problem) {
  const WinogradSize size = winograd_size(tile);
  const int vector = vector_size();
  Plan plan{};
  plan.grid = winograd_grid(tile, problem);
  plan.channel_blocks = block_count(s.ocg(), vector);
  plan.group_points = packed_group_elements(s.ocg(), s.icg(), size.points(), vector);
  const bool large = plan.group_points * static_cast<std::int64_t>(sizeof(float)) > kLargeSumBytes;
  plan.blocks = std::max<std::int64_t>(1, ceil_div(plan.grid.tiles, large ? kLargeBlockTiles : kBlockTiles));
  plan.tiles_per_block = std::max<std::int64_t>(1, ceil_div(plan.grid.tiles, plan.blocks));
  plan.blocks = std::max<std::int64_t>(1, ceil_div(plan.grid.tiles, plan.tiles_per_block));
  plan.group_taps = packed_group_elements(s.ocg(), s.icg(), size.taps * size.taps, vector);
  const std::int64_t affordable =
      kPartialBytes / static_cast<std::int64_t>(sizeof(float)) / (s.groups * plan.group_points);
  plan.tile_groups = std::clamp<std::int64_t>(std::min(kTileGroups, affordable), 1, ceil_div(plan.blocks, 2));
  plan.whole = plan.blocks == 1;
  plan.threads = threads_for(static_cast<double>(s.flops()) / 4);
  // Shares of the output channels transform the same input again, but change no sum: as many as the threads need.
  plan.shares = 1;
  const std::int64_t tasks = plan.tile_groups * s.groups;
  while (plan.shares < plan.channel_blocks && tasks * plan.shares < 4 * plan.threads &&
         tasks * plan.shares % plan.threads != 0)
    ++plan.shares;
  plan.pitch = point_pitch(s.icg());
  plan.input_elements = size.points() * point_stride(plan.tiles_per_block, plan.pitch);
  plan.grad_elements = size.points() * point_stride(plan.tiles_per_block, 2 * vector);
  plan.slices = ceil_div(s.icg(), kSlice);
  plan.local_elements = size.points() * ceil_div(s.icg(), plan.slices) * 2 * vector;
  return plan;
}

// The points of one block of grad_output's channels: [point][tile][width].
void gradient_to_points(WinogradTile tile, const Conv2dShape& s, const ConvGrid<float>& problem, const Plan& plan,
                        const float* grad_output, std::int64_t tile0, std::int64_t tiles, std::int64_t channel,
                        std::int64_t channels, std::int64_t width, float* points) {
  const auto transform = active_kernels().winograd.gradient[static_cast<int>(tile)];
  WinogradToPoints a{};
  a.row = plan.grid.phases_h * s.ow * s.oc;
  a.pixel = plan.grid.phases_w * s.oc;
  a.channels = channels;
  a.prefetch = winograd_size(tile).outputs * a.pixel;
  a.point = point_stride(tiles, width);
  TileWalk t(tile, plan.grid, problem, tile0);
  for (std::int64_t i = 0; i < tiles; ++i, ++t, points += width) {
    a.row0 = a.column0 = 0, a.row1 = t->rows, a.column1 = t->columns;
    a.pixels = grad_output + ((t->image * s.oh + t->row) * s.ow + t->column) * s.oc + channel;
    a.points = points;
    transform(a);
  }
}

}  // namespace

bool run_winograd_backward_weight(WinogradTile tile, const Conv2dShape& s, const float* input, const float* grad_output,
                                  float* grad_weight, bool accumulate) {
  const ConvKernels<float>& kernels = active_kernel_set<float>().conv;
  const auto back = active_kernels().winograd.filter_gradient[static_cast<int>(tile)];
  DirectConv<float> problem = forward_problem<float>(s);
  problem.source = input;
  const Plan plan = make_plan(tile, s, problem);
  const int vector = kernels.vector_size, points = winograd_size(tile).points();
  const std::int64_t icg = s.icg(), taps = s.kh * s.kw;
  const std::int64_t all_sums = plan.whole ? 0 : plan.tile_groups * s.groups * plan.group_points;
  const Scratch gradient(static_cast<std::size_t>(s.groups * plan.group_taps) * sizeof(float));
  const Scratch sums(static_cast<std::size_t>(all_sums) * sizeof(float));
  const Scratch scratch(static_cast<std::size_t>(plan.threads * plan.thread_elements()) * sizeof(float));
  const auto first_of_slice = [&](std::int64_t slice) { return icg * slice / plan.slices; };
  std::atomic<bool> finite{true};

  // From the sums at the points of some input channels to their gradient.
  const auto finish = [&](std::int64_t group, std::int64_t block, std::int64_t width, std::int64_t entry,
                          std::int64_t entries, const float* at_points) {
    WinogradFilters f{};
    f.inputs = entries, f.lanes = width;
    f.point = entries * width, f.tap = icg * width;
    float* to = gradient.as<float>() + group * plan.group_taps + block * 2 * vector * icg * taps + entry * width;
    if (!back(f, at_points, to)) finite.store(false, std::memory_order_relaxed);
  };

  parallel_for(plan.tile_groups * s.groups * plan.shares, plan.threads, [&](std::int64_t task, int thread) {
    const std::int64_t share = task % plan.shares, group = task / plan.shares % s.groups;
    const std::int64_t tile_group = task / plan.shares / s.groups;
    float* input_points = scratch.as<float>() + thread * plan.thread_elements();
    float* grad_points = input_points + plan.input_elements;
    float* local = grad_points + plan.grad_elements;
    float* group_sums = sums.as<float>() + (tile_group * s.groups + group) * plan.group_points;
    const std::int64_t begin = plan.blocks * tile_group / plan.tile_groups;
    const std::int64_t end = plan.blocks * (tile_group + 1) / plan.tile_groups;
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t tile0 = index * plan.tiles_per_block;
      const std::int64_t tiles = std::min(plan.tiles_per_block, plan.grid.tiles - tile0);
      tiles_to_points(tile, plan.grid, problem, group, tile0, tiles, plan.pitch, input_points);
      const std::int64_t block1 = plan.channel_blocks * (share + 1) / plan.shares;
      for (std::int64_t block = plan.channel_blocks * share / plan.shares; block < block1; ++block) {
        const std::int64_t first = block * 2 * vector;
        const int vectors = block_vectors(s.ocg(), first, vector);
        const std::int64_t width = vectors * vector;
        gradient_to_points(tile, s, problem, plan, grad_output, tile0, tiles, group * s.ocg() + first,
                           std::min(width, s.ocg() - first), width, grad_points);
        for (std::int64_t slice = 0; slice < plan.slices; ++slice) {
          const std::int64_t entry = first_of_slice(slice), entries = first_of_slice(slice + 1) - entry;
          float* at_points = plan.whole ? local : group_sums + (first * icg + entry * width) * points;
          WeightTileArgs<float> a{};
          a.input_pixel = plan.pitch;
          a.grad_pixel = width;
          a.grad_pitch = width;
          a.images = a.rows = 1, a.pixels = tiles;
          a.accumulate = index > begin;
          for (int point = 0; point < points; ++point) {
            a.input = input_points + point * point_stride(tiles, plan.pitch) + entry;
            a.grad_output = grad_points + point * point_stride(tiles, width);
            a.grad = at_points + point * entries * width;
            const std::int64_t count = ceil_div(entries, kernels.max_entries);
            for (std::int64_t t = 0; t < count; ++t) {
              const std::int64_t size = entries * (t + 1) / count - entries * t / count;
              kernels.weight_tile[vectors - 1][size - 1](a);
              a.input += size;
              a.grad += size * width;
            }
          }
          if (plan.whole) finish(group, block, width, entry, entries, local);
        }
      }
    }
  });

  if (!plan.whole)
    parallel_for(s.groups * plan.channel_blocks * plan.slices, plan.threads, [&](std::int64_t task, int) {
      const std::int64_t slice = task % plan.slices, block = task / plan.slices % plan.channel_blocks;
      const std::int64_t group = task / plan.slices / plan.channel_blocks, first = block * 2 * vector;
      const std::int64_t width = block_vectors(s.ocg(), first, vector) * vector;
      const std::int64_t entry = first_of_slice(slice), entries = first_of_slice(slice + 1) - entry;
      float* total = sums.as<float>() + group * plan.group_points + (first * icg + entry * width) * points;
      for (std::int64_t g = 1; g < plan.tile_groups; ++g) {
        const float* more = total + g * s.groups * plan.group_points;
        for (std::int64_t i = 0; i < points * entries * width; ++i) total[i] += more[i];
      }
      finish(group, block, width, entry, entries, total);
    });

  if (!finite.load()) return false;
  collect_weight_gradient(s, gradient.as<float>(), 1, grad_weight, accumulate, plan.threads);
  return true;
}

std::int64_t winograd_backward_weight_scratch_bytes(WinogradTile tile, const Conv2dShape& s) {
  const Plan plan = make_plan(tile, s, forward_problem<float>(s));
  const std::int64_t sums = plan.whole ? 0 : plan.tile_groups * s.groups * plan.group_points;
  const auto bytes = [](std::int64_t elements) {
    return round_up(elements * static_cast<std::int64_t>(sizeof(float)), 64);
  };
  return bytes(s.groups * plan.group_taps) + bytes(sums) + bytes(plan.threads * plan.thread_elements());
}

}  // namespace fastconv
