// The gradients with respect to weight and bias: sums over all output pixels of the batch. The pixels are cut into
// blocks and the blocks into groups, both by shape alone; a group is summed in order, then the groups in order. So the
// bits do not depend on the threads.
#include <algorithm>
#include <cstring>

#include "core/checked_math.h"
#include "cpu/border.h"
#include "cpu/collect_weight_gradient.h"
#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/grouped_conv.h"
#include "cpu/layout.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/whole_weight.h"

namespace fastconv {

namespace {

constexpr std::int64_t kBlockPixels = 512;         // a block of pixels is copied once ...
constexpr std::int64_t kLeastBlockPixels = 192;    // ... and not many fewer, or the gradient is loaded too often
constexpr std::int64_t kTilePixels = 256;          // ... and summed in parts that nearly fit the L1 cache
constexpr std::int64_t kSourceBytes = 256 * 1024;  // its source rows stay in the L2 cache
constexpr std::int64_t kGroupPixels = 256;         // a group needs some pixels to be worth its partial sums ...
constexpr std::int64_t kGoodGroupPixels = 1024;    // ... and these to make the cost of the sums vanish
constexpr std::int64_t kLeastTasks = 8;            // shares of work that are worth small groups ...
constexpr std::int64_t kTasks = 32;                // ... and large ones, so that many threads find some
constexpr std::int64_t kSlice = 256;               // input channels copied at once: few pages, few cache sets
constexpr std::int64_t kLeastSlice = 64;           // ... but not fewer, where fewer make room for more pixels
constexpr std::int64_t kTaskBytes = 256 * 1024;    // a task's part of the gradient stays in the L2 cache
constexpr std::int64_t kInPlaceEntries = 32;       // so few entries of a filter do not repay the packing of grad_output
constexpr std::int64_t kInPlacePixelBytes = 1024;  // ... and pixels so close together fill all sets of the caches
constexpr std::int64_t kPartialBytes = 32 * 1024 * 1024;  // most memory for the groups' partial sums

struct WeightPlan {
  SourcePlan source;
  std::int64_t images_per_block, rows_per_block, row_blocks, columns_per_block, column_blocks;
  std::int64_t slice;                   // input channels copied at once
  std::int64_t blocks;                  // of pixels, over the batch
  std::int64_t pixel_groups;            // partial sums
  std::int64_t channel_blocks, shares;  // of output channels in one group of the convolution
  std::int64_t blocks_per_task;         // channel blocks that share one copy of the source rows
  std::int64_t group_elements;          // packed gradient of one group of the convolution
  std::int64_t source_elements;         // scratch per thread for the source rows ...
  std::int64_t grad_elements;           // ... and for one channel block of grad_output
  std::int64_t partial_elements;        // scratch in all
  bool grad_in_place;                   // grad_output is read where it is
  int threads;
};

std::int64_t thread_elements(const WeightPlan& plan) { return plan.source_elements + plan.grad_elements; }

template <class T>
ConvGrid<T> weight_grid(const Conv2dShape& s) {
  ConvGrid<T> grid = forward_problem<T>(s);
  if (pointwise(grid)) flatten_grid(grid);
  return grid;
}

// The pixels of a block: rows of one image, or several small images.
template <class T>
void plan_blocks(const ConvGrid<T>& grid, WeightPlan& plan) {
  const std::int64_t item = static_cast<std::int64_t>(sizeof(T));
  plan.source = plan_source_slices(grid, plan.slice);
  const auto bytes = [&](std::int64_t rows, std::int64_t columns) {
    if (plan.source.mode == SourceMode::in_place && grid.taps_h * grid.taps_w == 1)
      return rows * columns * grid.icg * item;
    return block_elements(grid, plan.source, rows, columns) * item;
  };
  std::int64_t columns = grid.out_w;
  while (columns > 16 && (columns > 2 * kBlockPixels || bytes(1, columns) > kSourceBytes))
    columns = std::max<std::int64_t>(16, std::min(ceil_div(columns, 2), kBlockPixels));
  std::int64_t rows =
      columns < grid.out_w ? 1 : std::min(grid.out_h, std::max<std::int64_t>(1, kBlockPixels / columns));
  while (rows > 1 && bytes(rows, columns) > kSourceBytes) --rows;
  plan.rows_per_block = ceil_div(grid.out_h, ceil_div(grid.out_h, rows));
  plan.row_blocks = ceil_div(grid.out_h, plan.rows_per_block);
  plan.columns_per_block = ceil_div(grid.out_w, ceil_div(grid.out_w, columns));
  plan.column_blocks = ceil_div(grid.out_w, plan.columns_per_block);
  plan.images_per_block = 1;
  if (plan.row_blocks * plan.column_blocks == 1)
    plan.images_per_block = std::clamp<std::int64_t>(
        std::min(kBlockPixels / (grid.out_h * grid.out_w), kSourceBytes / bytes(grid.out_h, grid.out_w)), 1, grid.n);
}

template <class T>
WeightPlan plan_weight(const Conv2dShape& s, const ConvGrid<T>& grid, const ConvKernels<T>& kernels) {
  const std::int64_t item = static_cast<std::int64_t>(sizeof(T));
  WeightPlan plan{};
  plan.shares = plan.pixel_groups = 1;
  plan.threads = threads_for(static_cast<double>(s.flops()));
  plan.slice = ceil_div(grid.icg, ceil_div(grid.icg, kSlice));
  plan_blocks(grid, plan);
  while (plan.source.mode == SourceMode::rows && plan.slice >= 2 * kLeastSlice &&
         plan.images_per_block * plan.rows_per_block * plan.columns_per_block <
             std::min(kLeastBlockPixels, grid.n * grid.out_h * grid.out_w)) {
    plan.slice = ceil_div(plan.slice, 2);
    plan_blocks(grid, plan);
  }
  plan.blocks = ceil_div(grid.n, plan.images_per_block) * plan.row_blocks * plan.column_blocks;

  plan.channel_blocks = block_count(s.ocg(), kernels.vector_size);
  // Shares and groups are powers of two, so that two, four or eight threads get the same.
  const std::int64_t filter = s.kh * s.kw == 1 ? plan.slice : s.icg() * s.kh * s.kw;  // one tap: seen slice by slice
  const std::int64_t task_bytes = plan.source.mode == SourceMode::in_place ? kTaskBytes / 2 : kTaskBytes;
  const std::int64_t together = std::max<std::int64_t>(1, task_bytes / item / (filter * 2 * kernels.vector_size));
  const std::int64_t pixels = s.n * s.oh * s.ow;
  const std::int64_t most_groups = std::max<std::int64_t>(1, s.groups * std::min(plan.blocks, pixels / kGroupPixels));
  while (plan.shares < plan.channel_blocks &&
         (plan.shares * together < plan.channel_blocks || plan.shares * most_groups < kLeastTasks))
    plan.shares *= 2;
  plan.shares = std::min(plan.shares, plan.channel_blocks);
  plan.blocks_per_task = ceil_div(plan.channel_blocks, plan.shares);
  plan.shares = ceil_div(plan.channel_blocks, plan.blocks_per_task);
  plan.group_elements = packed_group_elements(s.ocg(), s.icg(), s.kh * s.kw, kernels.vector_size);
  const std::int64_t affordable = kPartialBytes / item / std::max<std::int64_t>(1, plan.group_elements * s.groups);
  const std::int64_t others = plan.shares * s.groups;
  const std::int64_t wanted = std::max(std::min(ceil_div(kTasks, others), pixels / kGoodGroupPixels),
                                       std::min(ceil_div(kLeastTasks, others), pixels / kGroupPixels));
  while (2 * plan.pixel_groups <= std::min({wanted, affordable, plan.blocks})) plan.pixel_groups *= 2;
  if (grid.n * grid.out_h == 1) {  // a row of pixels can be cut evenly
    const std::int64_t each = std::max<std::int64_t>(1, (plan.blocks + plan.pixel_groups / 2) / plan.pixel_groups);
    plan.columns_per_block = ceil_div(grid.out_w, each * plan.pixel_groups);
    plan.blocks = plan.column_blocks = ceil_div(grid.out_w, plan.columns_per_block);
    plan.pixel_groups = std::min(plan.pixel_groups, plan.blocks);
  }
  if (plan.source.mode != SourceMode::in_place)
    plan.source_elements = round_up(
        plan.images_per_block * block_elements(grid, plan.source, plan.rows_per_block, plan.columns_per_block), 16);
  plan.grad_elements = plan.images_per_block * plan.rows_per_block * plan.columns_per_block * 2 * kernels.vector_size;
  plan.partial_elements = plan.pixel_groups * s.groups * plan.group_elements;
  plan.grad_in_place = s.ocg() % kernels.vector_size == 0 && s.icg() * s.kh * s.kw <= kInPlaceEntries &&
                       s.oc * item <= kInPlacePixelBytes;
  return plan;
}

// Brings one block of output channels of grad_output to [pixel][width]; false if some value is not finite.
template <class T>
bool pack_grad(const Conv2dShape& s, const ConvGrid<T>& grid, const Block& b, const T* grad_output,
               std::int64_t channel, std::int64_t valid, std::int64_t width, T* packed, const ConvKernels<T>& kernels) {
  bool finite = true;
  for (std::int64_t line = 0; line < b.images * b.rows; ++line, packed += b.columns * width) {
    const std::int64_t image = b.image + line / b.rows, row = b.row0 + line % b.rows;
    const T* from = grad_output + ((image * grid.out_h + row) * grid.out_w + b.column0) * s.oc + channel;
    finite =
        kernels.pack_pixels(from, b.columns, s.oc, static_cast<int>(valid), static_cast<int>(width), packed) && finite;
  }
  return finite;
}

// Lines of memory that will be wanted soon, as jobs: each fetches one line of every pixel of a block. A tile takes one
// job along, so that memory is read while the tiles compute.
class Prefetch {
 public:
  // Lines of `bytes` at every pixel, rows and pixels so many bytes apart.
  void add(const void* first, std::int64_t bytes, std::int64_t row, std::int64_t pixel) {
    if (count_ < kMost) jobs_[count_++] = {static_cast<const char*>(first), ceil_div(bytes, 64), row, pixel};
  }
  template <class T>
  void next(WeightTileArgs<T>& a, std::int64_t first_row) const {
    if (job_ == count_) {
      a.prefetch = nullptr;
      a.prefetch_row = a.prefetch_pixel = 0;
      return;
    }
    const Job& job = jobs_[job_];
    a.prefetch = job.first + line_ * 64 + first_row * job.row;
    a.prefetch_row = job.row, a.prefetch_pixel = job.pixel;
  }
  void done() {
    if (job_ < count_ && ++line_ == jobs_[job_].lines) line_ = 0, ++job_;
  }

 private:
  static constexpr int kMost = 5;
  struct Job {
    const char* first;
    std::int64_t lines, row, pixel;
  } jobs_[kMost];
  int count_ = 0, job_ = 0;
  std::int64_t line_ = 0;
};

// One block of output channels of grad_output at a block of pixels.
template <class T>
struct GradView {
  const T* data;
  std::int64_t row, pixel;
};

// Adds one slice of one block of pixels to the gradient of one channel block: all tiles of (kh, kw, ic) entries.
template <class T>
void add_tiles(const Conv2dShape& s, const Block& b, const SourceView<T>& source, const GradView<T>& grad_output,
               int vectors, T* grad, bool accumulate, Prefetch& prefetch, const ConvKernels<T>& kernels) {
  const std::int64_t icg = s.icg(), width = vectors * kernels.vector_size;
  const bool merged = source.tap_w == icg && b.channels == icg;  // the taps of a kernel row lie side by side
  const std::int64_t run = merged ? s.kw * icg : b.channels, runs = merged ? 1 : s.kw;
  const std::int64_t count = ceil_div(run, kernels.max_entries), size = run / count, larger = run % count;
  const std::int64_t parts = b.images > 1 ? 1 : ceil_div(b.rows * b.columns, kTilePixels);
  const std::int64_t part = ceil_div(b.rows, std::min(parts, b.rows));
  const Prefetch start = prefetch;
  for (std::int64_t row = 0; row < b.rows; row += part) {
    prefetch = start;  // the same lines, of this part's pixels
    WeightTileArgs<T> a{};
    a.input_image = source.image, a.input_row = source.row, a.input_pixel = source.pixel;
    a.grad_output = grad_output.data + row * grad_output.row;
    a.grad_row = grad_output.row, a.grad_pixel = grad_output.pixel;
    a.grad_pitch = width;
    a.images = b.images, a.rows = std::min(part, b.rows - row), a.pixels = b.columns;
    a.accumulate = accumulate || row > 0;
    for (std::int64_t kh = 0; kh < s.kh; ++kh)
      for (std::int64_t r = 0; r < runs; ++r) {
        a.input = source.data + row * source.row + kh * source.tap_h + r * source.tap_w;
        a.grad = grad + ((kh * s.kw + r) * icg + b.channel0) * width;
        for (std::int64_t t = 0; t < count; ++t) {
          const std::int64_t entries = size + (t < larger ? 1 : 0);
          prefetch.next(a, row);
          kernels.weight_tile[vectors - 1][entries - 1](a);
          prefetch.done();
          a.input += entries;
          a.grad += entries * width;
        }
      }
  }
}

// The source pixels of a block, as far as the block above it does not share them.
template <class T>
void prefetch_source(const ConvGrid<T>& g, const Block& b, Prefetch& prefetch) {
  const std::int64_t pixel = g.groups * g.icg, reach = (g.taps_h - 1) * g.tap_step_h + 1;
  const std::int64_t shared = b.row0 > 0 ? std::max<std::int64_t>(0, reach - g.step_h) : 0;
  const std::int64_t ih = std::max<std::int64_t>(0, g.origin_h + b.row0 * g.step_h + shared);
  const std::int64_t iw = std::max<std::int64_t>(0, g.origin_w + b.column0 * g.step_w);
  const std::int64_t item = static_cast<std::int64_t>(sizeof(T)), row = g.source_w * pixel * item;
  const auto first = reinterpret_cast<std::uintptr_t>(g.source + b.group * g.icg + b.channel0) +
                     static_cast<std::uintptr_t>(((b.image * g.source_h + ih) * g.source_w + iw) * pixel * item);
  for (std::int64_t h = 0; h < std::min(g.step_h, g.taps_h); ++h)
    for (std::int64_t w = 0; w < std::min(g.step_w, g.taps_w); ++w)
      prefetch.add(reinterpret_cast<const void*>(first + static_cast<std::uintptr_t>(h * row + w * pixel * item)),
                   b.channels * item, g.step_h * row, g.step_w * pixel * item);
}

// Adds one block of pixels to the gradient of the channel blocks [block0, block1) of one group.
template <class T>
void add_block(const Conv2dShape& s, const ConvGrid<T>& grid, const WeightPlan& plan, Block b, const Block* next,
               std::int64_t block0, std::int64_t block1, const T* grad_output, bool in_place, T* partial, T* scratch,
               bool accumulate, const ConvKernels<T>& kernels) {
  T* packed = scratch + plan.source_elements;
  for (std::int64_t c = 0; c < s.icg(); c += plan.slice) {
    b.channel0 = c;
    b.channels = std::min(plan.slice, s.icg() - c);
    const SourceView<T> source = view_source(grid, plan.source, b, scratch);
    Prefetch prefetch;
    if (c + plan.slice < s.icg()) {
      Block after = b;
      after.channel0 = c + plan.slice;
      after.channels = std::min(plan.slice, s.icg() - after.channel0);
      prefetch_source(grid, after, prefetch);
    } else if (next) {
      const std::int64_t pixel = s.oc * static_cast<std::int64_t>(sizeof(T)), first = block0 * 2 * kernels.vector_size;
      const std::int64_t channels = std::min(block1 * 2 * kernels.vector_size, s.ocg()) - first;
      prefetch.add(grad_output + ((next->image * grid.out_h + next->row0) * grid.out_w + next->column0) * s.oc +
                       b.group * s.ocg() + first,
                   channels * static_cast<std::int64_t>(sizeof(T)), grid.out_w * pixel, pixel);
      Block after = *next;
      after.channels = std::min(plan.slice, s.icg());
      prefetch_source(grid, after, prefetch);
    }
    for (std::int64_t block = block0; block < block1; ++block) {
      const std::int64_t first = block * 2 * kernels.vector_size;
      const int vectors = block_vectors(s.ocg(), first, kernels.vector_size);
      const std::int64_t width = vectors * kernels.vector_size;
      T* grad = partial + first * s.icg() * s.kh * s.kw;
      if (in_place) {
        const T* data = grad_output + ((b.image * grid.out_h + b.row0) * grid.out_w + b.column0) * s.oc;
        const GradView<T> view{data + b.group * s.ocg() + first, grid.out_w * s.oc, s.oc};
        add_tiles(s, b, source, view, vectors, grad, accumulate, prefetch, kernels);
        continue;
      }
      const bool finite = pack_grad(s, grid, b, grad_output, b.group * s.ocg() + first,
                                    std::min(width, s.ocg() - first), width, packed, kernels);
      if (finite || !touches_padding(grid)) {
        add_tiles(s, b, source, {packed, b.columns * width, width}, vectors, grad, accumulate, prefetch, kernels);
        continue;
      }
      if (!accumulate && c == 0) std::fill_n(grad, width * s.icg() * s.kh * s.kw, T(0));
      add_weight_gradient_inside(grid, b, packed, width, grad);
    }
  }
}

Conv2dShape exchanged(Conv2dShape s) {
  std::swap(s.ic, s.oc);
  return s;
}

template <class T>
void direct_backward_weight(const Conv2dShape& shape, const T* input, const T* grad_output, T* grad_weight,
                            bool accumulate) {
  if (takes_whole_weight<T>(shape)) return run_whole_weight(shape, input, grad_output, grad_weight, accumulate);
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const bool exchange = exchanges<T>(shape);
  const Conv2dShape s = exchange ? exchanged(shape) : shape;
  if (exchange) std::swap(input, grad_output);
  ConvGrid<T> grid = weight_grid<T>(s);
  grid.source = input;
  const WeightPlan plan = plan_weight(s, grid, kernels);
  const Scratch partials(static_cast<std::size_t>(plan.partial_elements) * sizeof(T));
  const Scratch blocks(static_cast<std::size_t>(plan.threads * thread_elements(plan)) * sizeof(T));

  parallel_for(plan.pixel_groups * s.groups * plan.shares, plan.threads, [&](std::int64_t task, int thread) {
    const std::int64_t share = task % plan.shares, group = task / plan.shares % s.groups;
    const std::int64_t pixel_group = task / plan.shares / s.groups;
    const std::int64_t block0 = share * plan.blocks_per_task;
    const std::int64_t block1 = std::min(plan.channel_blocks, block0 + plan.blocks_per_task);
    T* partial = partials.as<T>() + (pixel_group * s.groups + group) * plan.group_elements;
    T* scratch = blocks.as<T>() + thread * thread_elements(plan);
    const std::int64_t begin = plan.blocks * pixel_group / plan.pixel_groups;
    const std::int64_t end = plan.blocks * (pixel_group + 1) / plan.pixel_groups;
    const auto block_at = [&](std::int64_t index) {
      Block b{};
      b.group = group;
      b.column0 = index % plan.column_blocks * plan.columns_per_block;
      b.row0 = index / plan.column_blocks % plan.row_blocks * plan.rows_per_block;
      b.image = index / plan.column_blocks / plan.row_blocks * plan.images_per_block;
      b.images = std::min(plan.images_per_block, grid.n - b.image);
      b.rows = std::min(plan.rows_per_block, grid.out_h - b.row0);
      b.columns = std::min(plan.columns_per_block, grid.out_w - b.column0);
      return b;
    };
    const auto sum_blocks = [&](bool in_place) {
      for (std::int64_t index = begin; index < end; ++index) {
        const Block next = block_at(std::min(index + 1, end - 1));
        add_block(s, grid, plan, block_at(index), index + 1 < end ? &next : nullptr, block0, block1, grad_output,
                  in_place, partial, scratch, index > begin, kernels);
      }
    };
    sum_blocks(plan.grad_in_place);
    if (!plan.grad_in_place || !touches_padding(grid)) return;
    // A value that is not finite may have met the padding: packing looks at each block and leaves such taps out.
    const std::int64_t filter = s.icg() * s.kh * s.kw, vector = kernels.vector_size;
    const std::int64_t first = block0 * 2 * vector, channels = std::min(block1 * 2 * vector, s.ocg()) - first;
    if (!all_finite(partial + first * filter, channels / vector * filter, vector)) sum_blocks(false);
  });
  collect_weight_gradient(s, partials.as<T>(), plan.pixel_groups, grad_weight, accumulate, plan.threads, exchange);
}

constexpr std::int64_t kBiasGroups = 16;
constexpr std::int64_t kBiasRows =
    256;  // rows summed before their sum is added to the group's: keeps the rounding small

}  // namespace

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, const T* input, const T* grad_output, T* grad_weight, Layout layout,
                            Algorithm algorithm, bool accumulate) {
  if (s.n == 0) {
    if (!accumulate) std::fill_n(grad_weight, element_count(s.weight_shape()), T(0));
    return;
  }
  const ChannelsLastInput<T> source(s.input_shape(), layout, input);
  const ChannelsLastInput<T> gradient(s.output_shape(), layout, grad_output);
  const Conv2dChoice choice = choose_conv2d<T>(s, Pass::backward_weight, algorithm);
  if (choice.method() == Method::grouped)
    return grouped_backward_weight(s, source.data(), gradient.data(), grad_weight, accumulate);
  bool done = false;
  if constexpr (std::is_same_v<T, float>)
    done = choice.method() == Method::winograd &&
           run_winograd_backward_weight(choice.tile(), s, source.data(), gradient.data(), grad_weight, accumulate);
  if (!done) direct_backward_weight(s, source.data(), gradient.data(), grad_weight, accumulate);
}

template <class T>
void conv2d_backward_bias(const Shape4& shape, const T* grad_output, T* grad_bias, Layout layout, bool accumulate) {
  const std::int64_t channels = shape[1], rows = shape[0] * shape[2] * shape[3];
  if (!accumulate) std::fill_n(grad_bias, channels, T(0));
  if (rows == 0) return;
  const ChannelsLastInput<T> gradient(shape, layout, grad_output);
  const auto column_sum = active_kernel_set<T>().conv.column_sum;
  const std::int64_t groups = std::min(kBiasGroups, ceil_div(rows, kBiasRows));
  const std::int64_t pitch = round_up(channels, 16);
  const Scratch sums(static_cast<std::size_t>(2 * groups * pitch) * sizeof(T));
  parallel_for(groups, threads_for(static_cast<double>(rows * channels)), [&](std::int64_t group, int) {
    T* total = sums.as<T>() + 2 * group * pitch;
    T* part = total + pitch;
    std::fill_n(total, channels, T(0));
    const std::int64_t end = rows * (group + 1) / groups;
    for (std::int64_t row = rows * group / groups; row < end; row += kBiasRows) {
      std::fill_n(part, channels, T(0));
      column_sum(gradient.data() + row * channels, std::min(kBiasRows, end - row), channels, part);
      for (std::int64_t c = 0; c < channels; ++c) total[c] += part[c];
    }
  });
  for (std::int64_t group = 0; group < groups; ++group)
    for (std::int64_t c = 0; c < channels; ++c) grad_bias[c] += sums.as<T>()[2 * group * pitch + c];
}

template <class T>
std::int64_t backward_weight_scratch_bytes(const Conv2dShape& s) {
  if (takes_grouped<T>(s)) return grouped_backward_weight_elements<T>(s) * static_cast<std::int64_t>(sizeof(T));
  if (takes_whole_weight<T>(s)) return whole_weight_scratch_bytes<T>(s);
  const Conv2dShape shape = exchanges<T>(s) ? exchanged(s) : s;
  const WeightPlan plan = plan_weight(shape, weight_grid<T>(shape), active_kernel_set<T>().conv);
  return (plan.partial_elements + plan.threads * thread_elements(plan)) * static_cast<std::int64_t>(sizeof(T));
}

template std::int64_t backward_weight_scratch_bytes<float>(const Conv2dShape&);
template std::int64_t backward_weight_scratch_bytes<double>(const Conv2dShape&);
template void conv2d_backward_weight(const Conv2dShape&, const float*, const float*, float*, Layout, Algorithm, bool);
template void conv2d_backward_weight(const Conv2dShape&, const double*, const double*, double*, Layout, Algorithm,
                                     bool);
template void conv2d_backward_bias(const Shape4&, const float*, float*, Layout, bool);
template void conv2d_backward_bias(const Shape4&, const double*, double*, Layout, bool);

}  // namespace fastconv
