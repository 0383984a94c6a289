// Loops, outside in: (group, block of tiles, share of the output channels) per task; the block's pixels go to the
// points once, all input channels; then for each block of output channels the products at every point, and the way back
// while the results are hot. Only the points of one block of tiles and of one block of output channels are ever in
// memory.
#include "cpu/winograd.h"

#include <algorithm>
#include <cstring>

#include "core/checked_math.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kBlockTiles = 28;  // two register tiles; their points stay in the L2 cache up to 64 channels
constexpr std::int64_t kLargeBlockTiles = 56;  // where the filters come from memory, each visit should be worth it
constexpr std::int64_t kLargeFilterBytes = 16 * 1024 * 1024;
constexpr std::int64_t kMaxChannelChunks = 8;  // each transforms the same input again

const WinogradKernels& winograd_kernels() { return active_kernels().winograd; }
int vector_size() { return active_kernel_set<float>().conv.vector_size; }

struct Task {
  std::int64_t group, tile0, tiles, block0, block1;
};

void multiply_points(WinogradTile tile, const DirectConv<float>& p, const WinogradPlan& plan, const Task& task,
                     const float* filters, int vectors, const float* points, float* products) {
  const ConvKernels<float>& kernels = active_kernel_set<float>().conv;
  const auto* tiles = kernels.conv_tile[vectors - 1];
  const std::int64_t width = vectors * kernels.vector_size;
  const std::int64_t count = ceil_div(task.tiles, kernels.max_pixels[vectors - 1]);
  const std::int64_t size = task.tiles / count, larger = task.tiles % count;
  ConvTileArgs<float> a{};
  a.input_pixel = plan.point_pitch;
  a.taps_h = a.taps_w = 1;
  a.run = p.icg;
  a.output_pixel = width;
  a.channels = static_cast<int>(width);
  for (int point = 0; point < winograd_size(tile).points(); ++point) {
    a.input = points + point * point_stride(task.tiles, plan.point_pitch);
    a.weight = filters + point * p.icg * width;
    a.output = products + point * point_stride(task.tiles, width);
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t pixels = size + (t < larger ? 1 : 0);
      tiles[pixels - 1](a);
      a.input += pixels * a.input_pixel;
      a.output += pixels * a.output_pixel;
    }
  }
}

// Marks the tiles with results that are not finite.
void points_to_output(WinogradTile tile, const DirectConv<float>& p, const WinogradPlan& plan, const Task& task,
                      std::int64_t channel, std::int64_t channels, std::int64_t width, const float* products,
                      std::uint8_t* marks) {
  const auto transform = winograd_kernels().output[p.max_pool][static_cast<int>(tile)];
  WinogradFromPoints a{};
  a.point = point_stride(task.tiles, width);
  a.channels = channels;
  a.bias = p.bias ? p.bias + channel : nullptr;
  a.activation = p.activation;
  a.stream = plan.stream;
  a.row = plan.grid.phases_h * p.output_row;
  a.pixel = plan.grid.phases_w * p.output_pixel;
  TileWalk walk(tile, plan.grid, p, task.tile0);
  for (std::int64_t i = 0; i < task.tiles; ++i, ++walk) {
    const TilePlace& t = *walk;
    a.points = products + i * width;
    const int window = p.max_pool ? 2 : 1;  // windows that the image's edge cuts are left out
    a.rows = t.rows / window * window, a.columns = t.columns / window * window;
    a.pixels = p.output + t.image * p.output_image + t.row / window * p.output_row +
               t.column / window * p.output_pixel + channel;
    if (!transform(a)) marks[i] = 1;
  }
}

// One row of tiles, `q`, by the direct kernel to scratch, then the largest of each 2 x 2 to the pooled image of `p`.
void redo_pooled(DirectConv<float> q, const DirectConv<float>& p, const TilePlace& t, float* outputs) {
  const std::int64_t pixel = q.groups * q.ocg;
  q.output = outputs;
  q.max_pool = q.may_stream = false;
  q.output_pixel = pixel, q.output_row = q.out_w * pixel, q.output_image = q.out_h * q.output_row;
  run_direct(q);
  for (std::int64_t row = 0; row + 1 < q.out_h; row += 2)
    for (std::int64_t column = 0; column + 1 < q.out_w; column += 2) {
      const float* from = outputs + row * q.output_row + column * pixel;
      float* to = p.output + t.image * p.output_image + (t.row + row) / 2 * p.output_row +
                  (t.column + column) / 2 * p.output_pixel;
      for (std::int64_t c = 0; c < pixel; ++c) {
        float largest = from[c];
        for (const float x : {from[c + pixel], from[c + q.output_row], from[c + q.output_row + pixel]})
          largest = largest < x || x != x ? x : largest;
        to[c] = largest;
      }
    }
}

// Inf and NaN spread over a whole tile, and a tile may overflow where a sum would not: such tiles are computed again by
// the direct kernel, neighbours in a row together.
void redo_marked(WinogradTile tile, const DirectConv<float>& p, const WinogradPlan& plan, const std::uint8_t* marks,
                 std::int64_t copies, const WeightView<float>& weight, float* packed, float* outputs) {
  const auto marked = [&](std::int64_t index) {
    bool any = false;
    for (std::int64_t copy = 0; copy < copies; ++copy) any = any || marks[copy * plan.grid.tiles + index] != 0;
    return any;
  };
  bool is_packed = false;
  for (std::int64_t index = 0; index < plan.grid.tiles; ++index) {
    if (!marked(index)) continue;
    if (!is_packed) pack_weight(weight, vector_size(), packed);
    is_packed = true;
    const TilePlace t = *TileWalk(tile, plan.grid, p, index);
    std::int64_t columns = t.columns;
    while ((index + 1) % plan.grid.tiles_w != 0 && marked(index + 1))
      columns += TileWalk(tile, plan.grid, p, ++index)->columns;
    DirectConv<float> q = p;
    q.n = 1;
    q.source += t.image * p.source_h * p.source_w * p.groups * p.icg;
    if (!p.max_pool) q.output += t.image * p.output_image + t.row * p.output_row + t.column * p.output_pixel;
    q.origin_h += t.row, q.origin_w += t.column;
    q.step_h = plan.grid.phases_h, q.step_w = plan.grid.phases_w;
    q.out_h = t.rows, q.out_w = columns;
    q.output_row *= plan.grid.phases_h, q.output_pixel *= plan.grid.phases_w;
    q.weight = packed;
    if (q.out_h == 0 || q.out_w == 0) continue;
    if (p.max_pool)
      redo_pooled(q, p, t, outputs);
    else
      run_direct(q);
  }
}

std::int64_t direct_elements(const DirectConv<float>& p) {
  return packed_elements(p.groups, p.ocg, p.icg, p.taps_h * p.taps_w, vector_size());
}

// Where a row of tiles is computed again before it is pooled; taken for every problem, so that explain() need not ask.
std::int64_t redo_elements(WinogradTile tile, const DirectConv<float>& p) {
  return winograd_size(tile).outputs * p.out_w * p.groups * p.ocg;
}

}  // namespace

std::int64_t winograd_weight_elements(WinogradTile tile, std::int64_t groups, std::int64_t outputs,
                                      std::int64_t inputs) {
  return groups * packed_group_elements(outputs, inputs, winograd_size(tile).points(), vector_size());
}

void pack_winograd_weight(WinogradTile tile, const WeightView<float>& w, float* packed) {
  const WinogradSize size = winograd_size(tile);
  const std::int64_t taps = size.taps * size.taps, points = size.points();
  const int vector = vector_size();
  const Scratch direct(static_cast<std::size_t>(packed_elements(w.groups, w.outputs, w.inputs, taps, vector)) *
                       sizeof(float));
  pack_weight(w, vector, direct.as<float>());
  const std::int64_t blocks = block_count(w.outputs, vector), group = packed_group_elements(w.outputs, 1, 1, vector);
  const auto transform = winograd_kernels().filters[static_cast<int>(tile)];
  constexpr std::int64_t kInputs =
      32;  // a share of the input channels, so that one block of outputs feeds more threads
  const std::int64_t shares = ceil_div(w.inputs, kInputs);
  const int threads = threads_for(8.0 * static_cast<double>(w.groups * group) * static_cast<double>(w.inputs * points));
  parallel_for(w.groups * blocks * shares, threads, [&](std::int64_t task, int) {
    const std::int64_t first_input = task % shares * kInputs, block = task / shares % blocks;
    const std::int64_t channel = task / shares / blocks * group + block * 2 * vector;
    const std::int64_t width = block_vectors(w.outputs, block * 2 * vector, vector) * vector;
    WinogradFilters f{};
    f.inputs = std::min(kInputs, w.inputs - first_input);
    f.lanes = width;
    f.tap = f.point = w.inputs * width;
    transform(f, direct.as<float>() + channel * w.inputs * taps + first_input * width,
              packed + channel * w.inputs * points + first_input * width);
  });
}

WinogradPlan plan_winograd(WinogradTile tile, const DirectConv<float>& p) {
  const WinogradSize size = winograd_size(tile);
  const ConvKernels<float>& kernels = active_kernel_set<float>().conv;
  WinogradPlan plan{};
  plan.grid = winograd_grid(tile, p);
  plan.channel_blocks = block_count(p.ocg, kernels.vector_size);
  const double products = 2.0 * static_cast<double>(plan.grid.tiles * size.points()) *
                          static_cast<double>(p.icg * p.groups) * static_cast<double>(p.ocg);
  plan.threads = threads_for(products);

  const std::int64_t filters =
      winograd_weight_elements(tile, 1, p.ocg, p.icg) * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t most = filters > kLargeFilterBytes ? kLargeBlockTiles : kBlockTiles;
  plan.blocks = ceil_div(plan.grid.tiles, most);
  plan.channel_chunks = 1;
  const std::int64_t tasks = plan.blocks * p.groups;
  if (tasks < plan.threads)
    plan.channel_chunks =
        std::min({ceil_div(plan.threads, std::max<std::int64_t>(tasks, 1)), plan.channel_blocks, kMaxChannelChunks});
  else if (p.groups == 1)
    plan.blocks =
        std::min(ceil_div(plan.blocks, plan.threads) * plan.threads, std::max<std::int64_t>(plan.grid.tiles, 1));
  plan.tiles_per_block = ceil_div(plan.grid.tiles, std::max<std::int64_t>(plan.blocks, 1));
  if (plan.tiles_per_block > 0) plan.blocks = ceil_div(plan.grid.tiles, plan.tiles_per_block);

  plan.stream = kernels.vector_size * sizeof(float) == 64 && may_stream(p, kernels.vector_size);
  plan.point_pitch = point_pitch(p.icg);
  const std::int64_t width = 2 * kernels.vector_size;
  plan.input_elements = size.points() * point_stride(plan.tiles_per_block, plan.point_pitch);
  plan.thread_elements = plan.input_elements + size.points() * point_stride(plan.tiles_per_block, width);
  plan.scratch_bytes = (plan.threads * plan.thread_elements + direct_elements(p) + redo_elements(tile, p)) *
                           static_cast<std::int64_t>(sizeof(float)) +
                       round_up(plan.grid.tiles * p.groups * plan.channel_chunks, 64);
  return plan;
}

void run_winograd(WinogradTile tile, const DirectConv<float>& p, const WeightView<float>& weight) {
  const WinogradPlan plan = plan_winograd(tile, p);
  if (plan.grid.tiles == 0) return;
  const int vector = vector_size();
  const std::int64_t points = winograd_size(tile).points();
  const std::int64_t group_elements = packed_group_elements(p.ocg, p.icg, points, vector);
  const std::int64_t copies = p.groups * plan.channel_chunks;
  // The direct filters' place is taken in advance, so that memory does not depend on the data; it is not touched.
  const Scratch direct(static_cast<std::size_t>(direct_elements(p) + redo_elements(tile, p)) * sizeof(float));
  const Scratch marks(static_cast<std::size_t>(plan.grid.tiles * copies));
  const Scratch scratch(static_cast<std::size_t>(plan.threads * plan.thread_elements) * sizeof(float));
  std::memset(marks.as<std::uint8_t>(), 0, static_cast<std::size_t>(plan.grid.tiles * copies));

  parallel_for(plan.blocks * copies, plan.threads, [&](std::int64_t index, int thread) {
    const std::int64_t chunk = index % plan.channel_chunks, block = index / plan.channel_chunks % plan.blocks;
    Task task{};
    task.group = index / plan.channel_chunks / plan.blocks;
    task.tile0 = block * plan.tiles_per_block;
    task.tiles = std::min(plan.tiles_per_block, plan.grid.tiles - task.tile0);
    task.block0 = plan.channel_blocks * chunk / plan.channel_chunks;
    task.block1 = plan.channel_blocks * (chunk + 1) / plan.channel_chunks;
    float* input = scratch.as<float>() + thread * plan.thread_elements;
    float* products = input + plan.input_elements;
    std::uint8_t* task_marks = marks.as<std::uint8_t>() + (task.group * plan.channel_chunks + chunk) * plan.grid.tiles;
    tiles_to_points(tile, plan.grid, p, task.group, task.tile0, task.tiles, plan.point_pitch, input);
    for (std::int64_t b = task.block0; b < task.block1; ++b) {
      const std::int64_t first = b * 2 * vector;
      const int vectors = block_vectors(p.ocg, first, vector);
      const float* filters = p.weight + task.group * group_elements + first * p.icg * points;
      multiply_points(tile, p, plan, task, filters, vectors, input, products);
      points_to_output(tile, p, plan, task, task.group * p.ocg + first,
                       std::min<std::int64_t>(vectors * vector, p.ocg - first), vectors * vector, products,
                       task_marks + task.tile0);
    }
    if (plan.stream) active_kernel_set<float>().conv.store_fence();
  });
  redo_marked(tile, p, plan, marks.as<std::uint8_t>(), copies, weight, direct.as<float>(),
              direct.as<float>() + direct_elements(p));
}

}  // namespace fastconv
