// Loops, outside in: (image, group, block of rows, share of the channels) per task; blocks of output channels; the part
// of the weights that fits the L2 cache; rows; pixel tiles. The sum over taps and channels always runs in the same
// order, in one accumulator chain per output, so neither blocks nor threads change a bit of the result.
#include "cpu/direct_conv.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/border.h"
#include "cpu/image_tiles.h"
#include "cpu/pack_weight.h"
#include "cpu/scratch.h"
#include "cpu/tap_tiles.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kBlockPixels = 512;              // a block of output pixels: its outputs stay in the L2 cache
constexpr std::int64_t kSourceBytes = 256 * 1024;       // ... and so do its source rows
constexpr std::int64_t kStreamBytes = 8 * 1024 * 1024;  // outputs from here on are stored past the caches
constexpr std::int64_t kWeightBytes = 400 * 1024;       // ... beside the weights of one channel block

// Where the outputs of all images lie one after the other, rows need not matter: a pointwise problem has none, and very
// narrow rows are joined.
template <class T>
DirectConv<T> flattened(DirectConv<T> p, const ConvKernels<T>& kernels) {
  if (p.output_row != p.out_w * p.output_pixel || p.output_image != p.out_h * p.output_row) return p;
  if (pointwise(p))
    flatten_grid(p);
  else if (narrow(p, kernels.max_pixels[p.ocg > kernels.vector_size ? 1 : 0]))
    flatten_narrow(p);
  else
    return p;
  p.output_row = p.output_image = p.out_w * p.output_pixel;
  return p;
}

// Only whole lines, stored once.
template <class T>
bool streams(const DirectConv<T>& p, const DirectPlan& plan, int vector) {
  return may_stream(p, 2 * vector) && plan.chunk_run == p.icg && plan.chunk_taps_w == p.taps_w &&
         plan.chunk_taps_h == p.taps_h;
}

// The smallest number of blocks, at least units / most, that shares `others` * blocks tasks evenly among the threads.
std::int64_t even_blocks(std::int64_t units, std::int64_t most, std::int64_t others, int threads) {
  const std::int64_t least = ceil_div(units, most);
  if (threads == 1) return least;
  const std::int64_t limit = std::min<std::int64_t>(units, std::max<std::int64_t>(2 * least, 8 * threads));
  std::int64_t best = least;
  double best_share = 0;
  for (std::int64_t blocks = least; blocks <= limit; ++blocks) {
    const std::int64_t per_block = ceil_div(units, blocks);
    const std::int64_t tasks = others * ceil_div(units, per_block);
    const double share = static_cast<double>(units * others) /
                         (static_cast<double>(ceil_div(tasks, threads) * threads) * static_cast<double>(per_block));
    if (share > best_share + 0.01) best_share = share, best = blocks;
    if (best_share > 0.96) break;
  }
  return best;
}

// Tiles of four vectors read the source half as often, and six pixels never fight for one set of the L1 cache. Not
// where windows are gathered, nor where the weights of two blocks would have to be cut.
template <class T>
bool wants_wide(const DirectConv<T>& p, const ConvKernels<T>& kernels) {
  if (kernels.max_pixels[3] == 0 || p.ocg <= 3 * kernels.vector_size || p.flat_w > 0) return false;
  const std::int64_t taps = p.taps_h * p.taps_w;
  return taps == 1 || taps * p.icg * 4 * kernels.vector_size * static_cast<std::int64_t>(sizeof(T)) <= kWeightBytes;
}

template <class T>
void plan_weights(const DirectConv<T>& p, const ConvKernels<T>& kernels, DirectPlan& plan) {
  const std::int64_t width = (p.ocg > kernels.vector_size ? 2 : 1) * (plan.wide ? 2 : 1) * kernels.vector_size;
  const std::int64_t most = std::max<std::int64_t>(64, kWeightBytes / static_cast<std::int64_t>(sizeof(T)) / width);
  plan.chunk_run = ceil_div(p.icg, ceil_div(p.icg, most));
  plan.chunk_taps_w = plan.chunk_run < p.icg ? 1 : std::min(p.taps_w, std::max<std::int64_t>(1, most / p.icg));
  plan.chunk_taps_h = plan.chunk_taps_w < p.taps_w || plan.chunk_run < p.icg
                          ? 1
                          : std::min(p.taps_h, std::max<std::int64_t>(1, most / (p.icg * p.taps_w)));
}

}  // namespace

template <class T>
bool may_stream(const DirectConv<T>& p, std::int64_t channels) {
  const auto whole = [](std::int64_t elements) { return elements * static_cast<std::int64_t>(sizeof(T)) % 64 == 0; };
  return p.may_stream && p.n * p.output_image * static_cast<std::int64_t>(sizeof(T)) >= kStreamBytes &&
         p.ocg % channels == 0 && whole(channels) && whole(p.output_pixel) && whole(p.output_row) &&
         whole(p.output_image) && reinterpret_cast<std::uintptr_t>(p.output) % 64 == 0;
}

template <class T>
DirectPlan plan_direct(const DirectConv<T>& original) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const DirectConv<T> p = flattened(original, kernels);
  DirectPlan plan{};
  const std::int64_t item = static_cast<std::int64_t>(sizeof(T));
  const double operations = 2.0 * static_cast<double>(p.n * p.out_h * p.out_w) *
                            static_cast<double>(p.taps_h * p.taps_w * p.icg) * static_cast<double>(p.ocg * p.groups);
  plan.threads = threads_for(operations);
  plan.image_tiles = takes_image_tiles(original);
  plan.tap_tiles = !plan.image_tiles && takes_tap_tiles(original);
  if (plan.image_tiles || plan.tap_tiles) return plan;
  plan.channel_blocks = block_count(p.ocg, kernels.vector_size);
  plan.wide = wants_wide(p, kernels);
  plan_weights(p, kernels, plan);
  const std::int64_t tile = kernels.max_pixels[plan.wide ? 3 : p.ocg > kernels.vector_size ? 1 : 0];
  plan.source = plan_source<T>(p, tile);
  plan.stream = streams(p, plan, kernels.vector_size);

  // Columns are split only where one row is too much.
  std::int64_t columns = p.out_w;
  while (columns > tile &&
         (columns > 2 * kBlockPixels || block_elements<T>(p, plan.source, 1, columns) * item > kSourceBytes))
    columns = std::max(tile, std::min(ceil_div(columns, 2), kBlockPixels / tile * tile));
  std::int64_t rows = columns < p.out_w ? 1 : std::max<std::int64_t>(1, std::min(p.out_h, kBlockPixels / columns));
  while (rows > 1 && block_elements<T>(p, plan.source, rows, columns) * item > kSourceBytes) --rows;

  const std::int64_t pixels = p.n * p.out_h * p.out_w;
  plan.channel_chunks = 1;
  if (plan.threads > 1 && pixels < 128 * plan.threads)
    plan.channel_chunks = std::min<std::int64_t>(plan.channel_blocks, plan.threads);
  const std::int64_t others = p.n * p.groups * plan.channel_chunks;
  if (columns < p.out_w || p.out_h == 1) {
    plan.row_blocks = p.out_h;
    plan.rows_per_block = 1;
    plan.column_blocks = even_blocks(ceil_div(p.out_w, tile), ceil_div(columns, tile), others * p.out_h, plan.threads);
    plan.columns_per_block = ceil_div(ceil_div(p.out_w, tile), plan.column_blocks) * tile;
    plan.column_blocks = ceil_div(p.out_w, plan.columns_per_block);
  } else {
    plan.column_blocks = 1;
    plan.columns_per_block = p.out_w;
    plan.rows_per_block = ceil_div(p.out_h, even_blocks(p.out_h, rows, others, plan.threads));
    plan.row_blocks = ceil_div(p.out_h, plan.rows_per_block);
  }
  const std::int64_t tasks = others * plan.row_blocks * plan.column_blocks;
  if (plan.channel_chunks == 1 && tasks < plan.threads)
    plan.channel_chunks =
        std::min<std::int64_t>(plan.channel_blocks, ceil_div(plan.threads, std::max<std::int64_t>(tasks, 1)));

  plan.columns_per_block = std::min(plan.columns_per_block, p.out_w);
  if (plan.source.mode != SourceMode::in_place)
    plan.scratch_elements =
        round_up(block_elements<T>(p, plan.source, plan.rows_per_block, plan.columns_per_block), 16);
  return plan;
}

namespace {

// All pixels of a block for one block of output channels and one part of the sum.
template <class T>
void run_tiles(const DirectConv<T>& p, const Block& b, const SourceView<T>& source, ConvTileArgs<T> args, int vectors,
               const ConvKernels<T>& kernels) {
  const auto* tiles = kernels.conv_tile[vectors - 1];
  const std::int64_t count = ceil_div(b.columns, kernels.max_pixels[vectors - 1]);
  const std::int64_t size = b.columns / count, larger = b.columns % count;  // balanced: 27 = 14 + 13
  const T* input = args.input;
  T* output = args.output;
  for (std::int64_t r = 0; r < b.rows; ++r) {
    args.input = input + r * source.row;
    args.output = output + r * p.output_row;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t pixels = size + (t < larger ? 1 : 0);
      tiles[pixels - 1](args);
      args.input += pixels * args.input_pixel;
      args.output += pixels * args.output_pixel;
    }
  }
}

template <class T>
void run_block(const DirectConv<T>& p, const DirectPlan& plan, const Block& b, std::int64_t block0, std::int64_t block1,
               T* scratch, const ConvKernels<T>& kernels) {
  const SourceView<T> source = view_source<T>(p, plan.source, b, scratch);
  const std::int64_t taps = p.taps_h * p.taps_w;
  const int vector = kernels.vector_size;
  const T* weights = p.weight + b.group * packed_group_elements(p.ocg, p.icg, taps, vector);
  T* output =
      p.output + b.image * p.output_image + b.row0 * p.output_row + b.column0 * p.output_pixel + b.group * p.ocg;

  for (std::int64_t block = block0; block < block1;) {
    const std::int64_t first = block * 2 * vector;
    const bool wide = plan.wide && block + 1 < block1 && block_vectors(p.ocg, first + 2 * vector, vector) == 2;
    const int vectors = wide ? 4 : block_vectors(p.ocg, first, vector);
    block += wide ? 2 : 1;
    const std::int64_t width = std::min(vectors, 2) * vector;  // of one block
    const T* block_weights = weights + first * p.icg * taps;
    ConvTileArgs<T> args{};
    args.input_pixel = source.pixel;
    args.input_tap_h = source.tap_h;
    args.output = output + first;
    args.output_pixel = p.output_pixel;
    args.channels = static_cast<int>(std::min<std::int64_t>(vectors * vector, p.ocg - first));
    // Each source pixel of a pointwise problem is read once by the first block, maybe from memory: fetch the next tile.
    args.prefetch = block0 == first / (2 * vector) && plan.source.mode == SourceMode::in_place && taps == 1
                        ? kernels.max_pixels[vectors - 1] * source.pixel
                        : 0;
    args.weight_block = width * p.icg * taps;
    args.bias = p.bias ? p.bias + b.group * p.ocg + first : nullptr;
    for (std::int64_t th = 0; th < p.taps_h; th += plan.chunk_taps_h)
      for (std::int64_t tw = 0; tw < p.taps_w; tw += plan.chunk_taps_w)
        for (std::int64_t r = 0; r < p.icg; r += plan.chunk_run) {
          args.input = source.data + th * source.tap_h + tw * source.tap_w + r;
          args.weight = block_weights + ((th * p.taps_w + tw) * p.icg + r) * width;
          args.taps_h = std::min(plan.chunk_taps_h, p.taps_h - th);
          args.taps_w = std::min(plan.chunk_taps_w, p.taps_w - tw);
          args.input_tap_w = source.tap_w;
          args.run = std::min(plan.chunk_run, p.icg - r);
          if (source.tap_w == args.run) {  // taps of a row lie side by side: one run
            args.run *= args.taps_w;
            args.taps_w = 1;
          }
          if (source.tap_h == args.run && args.taps_w == 1) {
            args.run *= args.taps_h;
            args.taps_h = 1;
          }
          args.accumulate = th + tw + r > 0;
          const bool last =
              th + plan.chunk_taps_h >= p.taps_h && tw + plan.chunk_taps_w >= p.taps_w && r + plan.chunk_run >= p.icg;
          args.activation = last ? p.activation : Activation::none;
          args.stream = last && plan.stream;
          run_tiles(p, b, source, args, vectors, kernels);
        }
  }
}

}  // namespace

template <class T>
void run_direct(const DirectConv<T>& original) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const DirectConv<T> p = flattened(original, kernels);
  if (p.n * p.out_h * p.out_w == 0) return;
  const DirectPlan plan = plan_direct(original);
  if (plan.image_tiles) return run_image_tiles(original, plan.threads);
  if (plan.tap_tiles) return run_tap_tiles(original, plan.threads);
  const Scratch scratch(static_cast<std::size_t>(plan.threads * plan.scratch_elements) * sizeof(T));
  const std::int64_t blocks = plan.row_blocks * plan.column_blocks * plan.channel_chunks;

  parallel_for(p.n * p.groups * blocks, plan.threads, [&](std::int64_t task, int thread) {
    const std::int64_t chunk = task % plan.channel_chunks;
    std::int64_t rest = task / plan.channel_chunks;
    Block b{};
    b.images = 1;
    b.channels = p.icg;
    b.column0 = rest % plan.column_blocks * plan.columns_per_block;
    rest /= plan.column_blocks;
    b.row0 = rest % plan.row_blocks * plan.rows_per_block;
    rest /= plan.row_blocks;
    b.group = rest % p.groups;
    b.image = rest / p.groups;
    b.rows = std::min(plan.rows_per_block, p.out_h - b.row0);
    b.columns = std::min(plan.columns_per_block, p.out_w - b.column0);
    const std::int64_t block0 = plan.channel_blocks * chunk / plan.channel_chunks;
    const std::int64_t block1 = plan.channel_blocks * (chunk + 1) / plan.channel_chunks;
    run_block(p, plan, b, block0, block1, scratch.as<T>() + thread * plan.scratch_elements, kernels);
    if (plan.stream) kernels.store_fence();
  });
  const std::int64_t group_elements = packed_group_elements(p.ocg, p.icg, p.taps_h * p.taps_w, kernels.vector_size);
  if (p.weight[p.groups * group_elements] != T(0) && touches_padding<T>(original)) redo_border(original);
}

template bool may_stream(const DirectConv<float>&, std::int64_t);
template bool may_stream(const DirectConv<double>&, std::int64_t);
template DirectPlan plan_direct(const DirectConv<float>&);
template DirectPlan plan_direct(const DirectConv<double>&);
template void run_direct(const DirectConv<float>&);
template void run_direct(const DirectConv<double>&);

}  // namespace fastconv
