// Loops, outside in: (image, block of target rows) per task; chunks of source rows; the windows of a chunk as one
// matrix product; each source pixel's window added to the target. Whatever the blocks, a target element adds its
// windows in the order of rows, segments, passes and pixels of the source, so neither threads nor the batch change a
// bit. Windows across a block's border are computed by both its neighbours.
#include "cpu/fold_conv.h"

#include <algorithm>
#include <array>

#include "core/checked_math.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kWindowBytes = 64 * 1024;  // the windows of a chunk stay in the L2 cache ...
constexpr std::int64_t kTilePixels = 14;          // ... and are a whole number of tiles
constexpr std::int64_t kMaxRowBlocks = 64;
constexpr int kLanes = 32;  // widest block of window entries

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }
std::int64_t ceil_div_signed(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

struct Range {
  std::int64_t begin, end;
};

// Of `count` positions start, start + step, ...: those inside [low, high).
Range inside(std::int64_t start, std::int64_t step, std::int64_t count, std::int64_t low, std::int64_t high) {
  const std::int64_t begin = std::clamp<std::int64_t>(ceil_div_signed(low - start, step), 0, count);
  return {begin, std::clamp<std::int64_t>(ceil_div_signed(high - start, step), begin, count)};
}

// Blocks of target rows: the least work of the busiest thread, rows computed twice included.
std::int64_t count_row_blocks(std::int64_t images, std::int64_t rows, std::int64_t overlap, int threads) {
  std::int64_t best = 1;
  double least = 0;
  for (std::int64_t blocks = 1; blocks <= std::min(rows, kMaxRowBlocks); ++blocks) {
    const std::int64_t per_block = ceil_div(rows, blocks);
    const auto turns = static_cast<double>(ceil_div(images * ceil_div(rows, per_block), threads));
    const double work = turns * static_cast<double>(per_block + std::min(overlap, rows));
    if (blocks == 1 || work < 0.98 * least) best = blocks, least = work;
    if (threads == 1) break;
  }
  return best;
}

struct Task {
  std::int64_t image, row0, row1;  // target rows
};

template <class T>
void start_rows(const FoldConv<T>& p, T* image, std::int64_t begin, std::int64_t end) {
  const std::int64_t channels = p.groups * p.outputs;
  T* to = image + begin * p.target_w * channels;
  if (!p.bias) {
    std::fill_n(to, (std::max(begin, end) - begin) * p.target_w * channels, T(0));
    return;
  }
  for (std::int64_t pixel = begin * p.target_w; pixel < end * p.target_w; ++pixel, to += channels)
    std::copy_n(p.bias, channels, to);
}

// The windows of `pixels` source pixels, which lie one after the other.
template <class T>
void make_windows(const FoldConv<T>& p, const FoldPlan& plan, const T* source, std::int64_t pixels, const T* weight,
                  T* windows, const ConvKernels<T>& kernels) {
  const std::int64_t entries = p.taps_h * p.taps_w * p.outputs, vector = kernels.vector_size;
  ConvTileArgs<T> a{};
  a.input_pixel = p.groups * p.inputs;
  a.taps_h = a.taps_w = 1;
  a.run = p.inputs;
  a.output_pixel = plan.pitch;
  for (std::int64_t first = 0; first < entries; first += 2 * vector) {
    const int vectors = block_vectors(entries, first, kernels.vector_size);
    const auto* tiles = kernels.conv_tile[vectors - 1];
    const std::int64_t count = ceil_div(pixels, kernels.max_pixels[vectors - 1]);
    const std::int64_t size = pixels / count, larger = pixels % count;
    a.channels = static_cast<int>(vectors * vector);
    a.weight = weight + first * p.inputs;
    a.input = source;
    a.output = windows + first;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t tile = size + (t < larger ? 1 : 0);
      tiles[tile - 1](a);
      a.input += tile * a.input_pixel;
      a.output += tile * a.output_pixel;
    }
  }
}

// Adds the windows of source pixels [x0, x1) of row y.
template <class T>
void fold_row(const FoldConv<T>& p, const FoldPlan& plan, std::int64_t y, std::int64_t x0, std::int64_t x1,
              const T* windows, const Task& task, T* group_target, const ConvKernels<T>& kernels) {
  const std::int64_t channels = p.groups * p.outputs, pixel = p.step_w * channels;
  const std::int64_t top = y * p.step_h + p.origin_h;
  const Range rows = inside(top, p.tap_step_h, p.taps_h, task.row0, task.row1);
  if (rows.begin == rows.end) return;
  const FoldPieces pieces = fold_pieces(p);
  FoldRowArgs<T> a{};
  a.window = plan.pitch;
  a.target_pixel = pixel;
  a.taps_h = rows.end - rows.begin;
  a.window_tap_h = p.taps_w * p.outputs;
  a.target_tap_h = p.tap_step_h * p.target_w * channels;
  a.target_piece = p.tap_step_w * channels;
  T* target = group_target + (top + rows.begin * p.tap_step_h) * p.target_w * channels;
  const T* first_window = windows + rows.begin * a.window_tap_h;
  // Pixels whose windows lie inside the row are folded together, the others one by one with the taps inside.
  const auto whole = [&](std::int64_t x) {
    const std::int64_t left = x * p.step_w + p.origin_w;
    return left >= 0 && left + (p.taps_w - 1) * p.tap_step_w < p.target_w;
  };
  for (std::int64_t x = x0; x < x1;) {
    const std::int64_t left = x * p.step_w + p.origin_w;
    a.windows = first_window + (x - x0) * plan.pitch;
    if (whole(x)) {
      const std::int64_t last = (p.target_w - 1 - (p.taps_w - 1) * p.tap_step_w - p.origin_w) / p.step_w;
      a.pixels = std::min(x1, last + 1) - x;
      a.target = target + left * channels;
      a.pieces = pieces.count;
      a.piece = pieces.elements;
      a.passes = pieces.count == 1 ? ceil_div(round_up(pieces.elements, kernels.vector_size), pixel) : 1;
    } else {
      const Range taps = inside(left, p.tap_step_w, p.taps_w, 0, p.target_w);
      a.pixels = a.passes = 1;
      a.windows += taps.begin * p.outputs;
      a.target = target + (left + taps.begin * p.tap_step_w) * channels;
      a.pieces = pieces.count == 1 ? 1 : taps.end - taps.begin;
      a.piece = pieces.count == 1 ? (taps.end - taps.begin) * p.outputs : p.outputs;
      if (taps.begin == taps.end) {
        ++x;
        continue;
      }
    }
    kernels.fold_row(a);
    x += a.pixels;
  }
}

// At stride 1 each target pixel gathers from the windows over it.
template <class T>
bool gathers(const FoldConv<T>& p) {
  return p.groups == 1 && p.step_h == 1 && p.step_w == 1 && p.outputs <= kFoldGatherChannels;
}

// Adds the windows of source pixels [y0, y1) x [x0, x1) to the task's rows: windows[y - y0][x - x0]. Taps run from the
// last to the first, because source pixels run from the first to the last.
template <class T>
void gather_chunk(const FoldConv<T>& p, const FoldPlan& plan, std::int64_t y0, std::int64_t y1, std::int64_t x0,
                  std::int64_t x1, const T* windows, const Task& task, T* image, const ConvKernels<T>& kernels) {
  const std::int64_t dh = p.tap_step_h, dw = p.tap_step_w, tap_row = p.taps_w * p.outputs;
  FoldGatherArgs<T> a{};
  a.window = plan.pitch;
  a.row_step = dh * (x1 - x0) * plan.pitch - tap_row;
  a.tap_step = dw * plan.pitch - p.outputs;
  a.channels = p.outputs;
  const std::int64_t row_begin = std::max(task.row0, y0 + p.origin_h);
  const std::int64_t row_end = std::min(task.row1, y1 + p.origin_h + (p.taps_h - 1) * dh);
  const std::int64_t begin = std::max<std::int64_t>(0, x0 + p.origin_w);
  const std::int64_t end = std::min(p.target_w, x1 + p.origin_w + (p.taps_w - 1) * dw);
  // Pixels [whole_begin, whole_end) meet all taps.
  const std::int64_t whole_begin = std::clamp(x0 + p.origin_w + (p.taps_w - 1) * dw, begin, std::max(begin, end));
  const std::int64_t whole_end = std::clamp(x1 + p.origin_w, whole_begin, std::max(whole_begin, end));
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    // Source row y = row - origin - th*dh, of the last tap first.
    const Range rows = inside(row - p.origin_h - (p.taps_h - 1) * dh, dh, p.taps_h, y0, y1);
    if (rows.begin == rows.end) continue;
    const std::int64_t th = p.taps_h - 1 - rows.begin, y = row - p.origin_h - th * dh;
    const T* from = windows + (y - y0) * (x1 - x0) * plan.pitch + th * tap_row;
    a.taps_h = rows.end - rows.begin;
    for (std::int64_t column = begin; column < end; column += a.pixels) {
      const Range taps = inside(column - p.origin_w - (p.taps_w - 1) * dw, dw, p.taps_w, x0, x1);
      a.pixels = column == whole_begin && whole_begin < whole_end ? whole_end - whole_begin : 1;
      a.taps_w = taps.end - taps.begin;
      if (a.taps_w == 0) continue;
      const std::int64_t tw = p.taps_w - 1 - taps.begin, x = column - p.origin_w - tw * dw;
      a.windows = from + (x - x0) * plan.pitch + tw * p.outputs;
      a.target = image + (row * p.target_w + column) * p.outputs;
      a.readable = (p.target_w - column) * p.outputs;
      kernels.fold_gather(a);
    }
  }
}

template <class T>
void run_task(const FoldConv<T>& p, const FoldPlan& plan, const Task& task, T* windows, const ConvKernels<T>& kernels) {
  const std::int64_t reach = (p.taps_h - 1) * p.tap_step_h, channels = p.groups * p.outputs;
  const std::int64_t group_elements =
      packed_group_elements(p.outputs * p.taps_h * p.taps_w, p.inputs, 1, kernels.vector_size);
  T* image = p.target + task.image * p.target_h * p.target_w * channels;
  const std::int64_t y0 =
      std::clamp<std::int64_t>(ceil_div_signed(task.row0 - p.origin_h - reach, p.step_h), 0, p.source_h);
  const std::int64_t y1 = std::clamp<std::int64_t>(floor_div(task.row1 - 1 - p.origin_h, p.step_h) + 1, y0, p.source_h);
  std::int64_t started = task.row0;  // target rows before it are being summed
  for (std::int64_t y = y0; y < y1; y += plan.rows) {
    const std::int64_t rows = std::min(plan.rows, y1 - y);
    const std::int64_t touched = std::clamp((y + rows - 1) * p.step_h + p.origin_h + reach + 1, started, task.row1);
    start_rows(p, image, started, touched);
    started = touched;
    for (std::int64_t x = 0; x < p.source_w; x += plan.columns) {
      const std::int64_t columns = std::min(plan.columns, p.source_w - x);
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const T* source =
            p.source + ((task.image * p.source_h + y) * p.source_w + x) * p.groups * p.inputs + g * p.inputs;
        make_windows(p, plan, source, rows * columns, p.weight + g * group_elements, windows, kernels);
        if (gathers(p)) {
          gather_chunk(p, plan, y, y + rows, x, x + columns, windows, task, image, kernels);
          continue;
        }
        for (std::int64_t r = 0; r < rows; ++r)
          fold_row(p, plan, y + r, x, x + columns, windows + r * columns * plan.pitch, task, image + g * p.outputs,
                   kernels);
      }
    }
  }
  start_rows(p, image, started, task.row1);
  if (p.activation == Activation::relu) {
    T* rows = image + task.row0 * p.target_w * channels;
    active_kernel_set<T>().elementwise.relu(rows, (task.row1 - task.row0) * p.target_w * channels, rows, false);
  }
}

}  // namespace

template <class T>
FoldConv<T> forward_fold(const Conv2dShape& s) {
  FoldConv<T> p{};
  p.n = s.n, p.source_h = s.ih, p.source_w = s.iw, p.groups = s.groups, p.inputs = s.icg();
  p.taps_h = s.kh, p.taps_w = s.kw, p.outputs = s.ocg();
  p.step_h = p.step_w = 1;
  p.tap_step_h = s.dilation_h, p.tap_step_w = s.dilation_w;
  p.origin_h = s.pad_top - (s.kh - 1) * s.dilation_h, p.origin_w = s.pad_left - (s.kw - 1) * s.dilation_w;
  p.target_h = s.oh, p.target_w = s.ow;
  p.activation = Activation::none;
  return p;
}

template <class T>
FoldConv<T> backward_input_fold(const Conv2dShape& s) {
  FoldConv<T> p{};
  p.n = s.n, p.source_h = s.oh, p.source_w = s.ow, p.groups = s.groups, p.inputs = s.ocg();
  p.taps_h = s.kh, p.taps_w = s.kw, p.outputs = s.icg();
  p.step_h = s.stride_h, p.step_w = s.stride_w;
  p.tap_step_h = s.dilation_h, p.tap_step_w = s.dilation_w;
  p.origin_h = -s.pad_top, p.origin_w = -s.pad_left;
  p.target_h = s.ih, p.target_w = s.iw;
  p.activation = Activation::none;
  return p;
}

template <class T>
WeightView<T> forward_fold_weight(const Conv2dShape& s, const T* weight) {
  const std::int64_t taps = s.kh * s.kw, filter = s.icg() * taps;
  return {weight + taps - 1, s.groups, s.ocg(), s.icg(), s.kh, s.kw, s.ocg() * filter, filter, taps, -s.kw, -1};
}

template <class T>
WeightView<T> backward_input_fold_weight(const Conv2dShape& s, const T* weight) {
  const std::int64_t taps = s.kh * s.kw, filter = s.icg() * taps;
  return {weight, s.groups, s.icg(), s.ocg(), s.kh, s.kw, s.ocg() * filter, taps, filter, s.kw, 1};
}

template <class T>
void pack_fold_weight(const WeightView<T>& w, T* packed) {
  const int vector = active_kernel_set<T>().conv.vector_size;
  const std::int64_t entries = w.outputs * w.taps_h * w.taps_w, blocks = block_count(entries, vector);
  const std::int64_t group_elements = packed_group_elements(entries, w.inputs, 1, vector);
  const int threads = threads_for(8.0 * static_cast<double>(w.groups) * static_cast<double>(group_elements));
  parallel_for(w.groups * blocks, threads, [&](std::int64_t task, int) {
    const std::int64_t group = task / blocks, first = task % blocks * 2 * vector;
    const std::int64_t width = block_vectors(entries, first, vector) * vector;
    const std::int64_t valid = std::min(width, entries - first);
    T* to = packed + group * group_elements + first * w.inputs;
    std::array<std::int64_t, kLanes> offset;  // of the block's entries in a filter
    for (std::int64_t lane = 0; lane < valid; ++lane) {
      const std::int64_t output = (first + lane) % w.outputs, tap = (first + lane) / w.outputs;
      offset[static_cast<std::size_t>(lane)] =
          output * w.output_stride + tap / w.taps_w * w.tap_h_stride + tap % w.taps_w * w.tap_w_stride;
    }
    const T* from = w.data + group * w.group_stride;
    for (std::int64_t i = 0; i < w.inputs; ++i, from += w.input_stride, to += width) {
      for (std::int64_t lane = 0; lane < valid; ++lane) to[lane] = from[offset[static_cast<std::size_t>(lane)]];
      std::fill(to + valid, to + width, T(0));
    }
  });
}

template <class T>
FoldPlan plan_fold(const FoldConv<T>& p) {
  const std::int64_t vector = active_kernel_set<T>().conv.vector_size;
  FoldPlan plan{};
  plan.pitch = round_up(p.taps_h * p.taps_w * p.outputs, vector);
  const std::int64_t pixels =
      std::max<std::int64_t>(2, kWindowBytes / (static_cast<std::int64_t>(sizeof(T)) * kTilePixels) / plan.pitch) *
      kTilePixels;
  plan.columns = std::min(p.source_w, pixels);
  plan.rows = plan.columns < p.source_w ? 1 : std::min(p.source_h, pixels / p.source_w);
  const double operations = 2.0 * static_cast<double>(p.n * p.source_h * p.source_w) *
                            static_cast<double>(p.taps_h * p.taps_w * p.inputs) *
                            static_cast<double>(p.outputs * p.groups);
  plan.threads = threads_for(operations);
  const std::int64_t reach = (p.taps_h - 1) * p.tap_step_h;
  const std::int64_t blocks = count_row_blocks(p.n, p.target_h, std::min(reach, p.target_h), plan.threads);
  plan.rows_per_block = ceil_div(p.target_h, blocks);
  plan.row_blocks = ceil_div(p.target_h, plan.rows_per_block);
  // The last window's last tap is read by a whole short vector.
  plan.scratch_elements = round_up(plan.rows * plan.columns * plan.pitch + kFoldGatherChannels, 16);
  return plan;
}

template <class T>
void run_fold(const FoldConv<T>& p) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const FoldPlan plan = plan_fold(p);
  const Scratch scratch(static_cast<std::size_t>(plan.threads * plan.scratch_elements) * sizeof(T));
  parallel_for(p.n * plan.row_blocks, plan.threads, [&](std::int64_t index, int thread) {
    Task task{};
    task.image = index / plan.row_blocks;
    task.row0 = index % plan.row_blocks * plan.rows_per_block;
    task.row1 = std::min(p.target_h, task.row0 + plan.rows_per_block);
    run_task(p, plan, task, scratch.as<T>() + thread * plan.scratch_elements, kernels);
  });
}

template FoldConv<float> forward_fold(const Conv2dShape&);
template FoldConv<double> forward_fold(const Conv2dShape&);
template FoldConv<float> backward_input_fold(const Conv2dShape&);
template FoldConv<double> backward_input_fold(const Conv2dShape&);
template WeightView<float> forward_fold_weight(const Conv2dShape&, const float*);
template WeightView<double> forward_fold_weight(const Conv2dShape&, const double*);
template WeightView<float> backward_input_fold_weight(const Conv2dShape&, const float*);
template WeightView<double> backward_input_fold_weight(const Conv2dShape&, const double*);
template void pack_fold_weight(const WeightView<float>&, float*);
template void pack_fold_weight(const WeightView<double>&, double*);
template FoldPlan plan_fold(const FoldConv<float>&);
template FoldPlan plan_fold(const FoldConv<double>&);
template void run_fold(const FoldConv<float>&);
template void run_fold(const FoldConv<double>&);

}  // namespace fastconv
