#include "cpu/grouped_conv.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/conv2d_problems.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kBlockBytes =
    64 * 1024;                               // rows computed block of lanes by block of lanes: a part of the L2 cache
constexpr std::int64_t kTasksPerThread = 8;  // so that the shares of the threads differ little
constexpr std::int64_t kColumns = 56;        // fewest columns of a task: a few tiles
constexpr std::int64_t kStreamBytes = 8 * 1024 * 1024, kLine = 64;  // as in direct_conv.cpp
constexpr std::int64_t kFetchBytes = 16 * 1024 * 1024;  // arrays from here on come from memory: fetch rows ahead
// The pixels of the batch are summed in at most this many groups, each in order, then the groups in order: a split by
// shape. A group has some pixels, or its partial sums would cost more than they save.
constexpr std::int64_t kPixelGroups = 16, kGroupPixels = 512;

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % kLine == 0; }

// Rows from `row` on of an array of `rows` rows, shared out among as many output vectors as `vectors`.
template <class T>
FetchAhead rows_ahead(const T* array, std::int64_t rows, std::int64_t row_elements, std::int64_t row,
                      std::int64_t count, std::int64_t vectors) {
  const std::int64_t first = std::clamp<std::int64_t>(row, 0, rows), last = std::clamp(row + count, first, rows);
  const std::int64_t lines = ceil_div((last - first) * row_elements * std::int64_t{sizeof(T)}, kLine);
  return {reinterpret_cast<const char*>(array + first * row_elements),
          reinterpret_cast<const char*>(array + last * row_elements), ceil_div(lines, vectors)};
}

bool worth_fetching(const Conv2dShape& s, std::int64_t item) {
  return item * s.n * (s.ih * s.iw * s.ic + s.oh * s.ow * s.oc) >= kFetchBytes;
}

template <class T>
std::int64_t block_total(const Conv2dShape& s) {
  return ceil_div(s.groups, groups_per_block<T>(s));
}

// How rows x columns of every image and all blocks of lanes are shared out; no split changes a bit of the result.
struct GroupedTasks {
  std::int64_t images, rows, columns, blocks;  // in all
  std::int64_t rows_per_task, columns_per_task, blocks_per_task;
  std::int64_t row_tasks, column_tasks, block_tasks;

  std::int64_t count() const { return images * row_tasks * column_tasks * block_tasks; }
};

GroupedTasks share_out(std::int64_t images, std::int64_t rows, std::int64_t columns, std::int64_t blocks,
                       std::int64_t row_bytes, int threads) {
  GroupedTasks t{images, rows, columns, blocks, 0, 0, 0, 0, 0, 0};
  const std::int64_t wanted = threads > 1 ? kTasksPerThread * threads : 1;
  const std::int64_t row_tasks = std::max(ceil_div(rows, std::max<std::int64_t>(1, kBlockBytes / row_bytes)),
                                          std::min(rows, ceil_div(wanted, images)));
  t.rows_per_task = ceil_div(rows, row_tasks);
  t.row_tasks = ceil_div(rows, t.rows_per_task);
  const std::int64_t column_tasks = std::min(ceil_div(columns, kColumns), ceil_div(wanted, images * t.row_tasks));
  t.columns_per_task = ceil_div(columns, column_tasks);
  t.column_tasks = ceil_div(columns, t.columns_per_task);
  const std::int64_t block_tasks = std::min(blocks, ceil_div(wanted, images * t.row_tasks * t.column_tasks));
  t.blocks_per_task = ceil_div(blocks, block_tasks);
  t.block_tasks = ceil_div(blocks, t.blocks_per_task);
  return t;
}

struct GroupedTask {
  std::int64_t image, row0, row1, column0, column1, block0, block1;
};

GroupedTask task_at(const GroupedTasks& t, std::int64_t index) {
  GroupedTask task{};
  task.block0 = index % t.block_tasks * t.blocks_per_task;
  index /= t.block_tasks;
  task.column0 = index % t.column_tasks * t.columns_per_task;
  index /= t.column_tasks;
  task.row0 = index % t.row_tasks * t.rows_per_task;
  task.image = index / t.row_tasks;
  task.block1 = std::min(t.blocks, task.block0 + t.blocks_per_task);
  task.column1 = std::min(t.columns, task.column0 + t.columns_per_task);
  task.row1 = std::min(t.rows, task.row0 + t.rows_per_task);
  return task;
}

// A forward-like problem as the kernel takes it, without the arrays.
template <class T>
GroupedArgs<T> grouped_args(const Conv2dShape& s, const DirectConv<T>& p) {
  GroupedArgs<T> a{};
  a.source_h = p.source_h, a.source_w = p.source_w;
  a.source_pixel = p.groups * p.icg, a.source_row = p.source_w * a.source_pixel;
  a.origin_h = p.origin_h, a.origin_w = p.origin_w, a.step_h = p.step_h, a.step_w = p.step_w;
  a.taps_h = p.taps_h, a.taps_w = p.taps_w, a.tap_step_h = p.tap_step_h, a.tap_step_w = p.tap_step_w;
  a.weight_tap_w = p.icg * active_kernel_set<T>().conv.vector_size;
  a.weight_tap_h = s.kw * a.weight_tap_w;
  a.weight_block = s.kh * a.weight_tap_h;
  a.output_row = p.output_row, a.output_pixel = p.output_pixel;
  a.groups = p.groups, a.group_inputs = p.icg, a.group_outputs = p.ocg;
  a.groups_per_block = groups_per_block<T>(s);
  a.activation = Activation::none;
  return a;
}

}  // namespace

template <class T>
bool grouped_streams(const Conv2dShape& s, Pass pass) {
  constexpr std::int64_t kItem = sizeof(T);
  if (pass == Pass::backward_weight || active_kernel_set<T>().conv.vector_size * kItem != kLine) return false;
  const bool back = pass == Pass::backward_input;
  const std::int64_t pixel = (back ? s.ic : s.oc) * kItem, pixels = s.n * (back ? s.ih * s.iw : s.oh * s.ow);
  const std::int64_t block = groups_per_block<T>(s) * (back ? s.icg() : s.ocg()) * kItem;
  return pixel % kLine == 0 && block == kLine && pixels * pixel >= kStreamBytes;
}

int grouped_threads(const Conv2dShape& s) { return threads_for(2.0 * static_cast<double>(s.flops())); }

template <class T>
std::int64_t packed_grouped_elements(const Conv2dShape& s, Pass pass) {
  const std::int64_t inputs = pass == Pass::forward ? s.icg() : s.ocg();
  return block_total<T>(s) * s.kh * s.kw * inputs * active_kernel_set<T>().conv.vector_size;
}

template <class T>
void pack_grouped_weight(const Conv2dShape& s, const T* weight, Pass pass, T* packed) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const std::int64_t icg = s.icg(), ocg = s.ocg(), taps = s.kh * s.kw, lanes = kernels.vector_size;
  const std::int64_t per_block = groups_per_block<T>(s);
  std::fill_n(packed, packed_grouped_elements<T>(s, pass), T(0));
  for (std::int64_t group = 0; group < s.groups; group += per_block) {
    const std::int64_t count = std::min(per_block, s.groups - group);
    const T* filters = weight + group * ocg * icg * taps;
    if (pass == Pass::forward) {  // lane = output channel: consecutive filters
      for (std::int64_t i = 0; i < icg; ++i)
        kernels.transpose(filters + i * taps, count * ocg, taps, icg * taps, packed + i * lanes, icg * lanes);
      packed += taps * icg * lanes;
    } else if (icg == 1) {  // lane = group
      for (std::int64_t o = 0; o < ocg; ++o)
        kernels.transpose(filters + o * taps, count, taps, ocg * taps, packed + o * lanes, ocg * lanes);
      packed += taps * ocg * lanes;
    } else {  // lane = input channel: one filter gives the lanes of its group
      for (std::int64_t o = 0; o < count * ocg; ++o)
        kernels.transpose(filters + o * icg * taps, icg, taps, taps, packed + o % ocg * lanes + o / ocg * icg,
                          ocg * lanes);
      packed += taps * ocg * lanes;
    }
  }
}

template <class T>
void grouped_forward(const Conv2dShape& s, const T* input, const T* packed, const T* bias, T* output,
                     Activation activation, bool may_stream) {
  GroupedArgs<T> all = grouped_args<T>(s, forward_problem<T>(s));
  all.weight = packed;
  all.bias = bias;
  all.activation = activation;
  all.stream = may_stream && grouped_streams<T>(s, Pass::forward) && aligned(output);
  const int threads = grouped_threads(s);
  const std::int64_t row_bytes = all.output_row * static_cast<std::int64_t>(sizeof(T));
  const GroupedTasks tasks = share_out(s.n, s.oh, s.ow, block_total<T>(s), row_bytes, threads);
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const bool fetch = worth_fetching(s, sizeof(T)) && tasks.column_tasks * tasks.block_tasks == 1;
  const std::int64_t halo = (s.kh - 1) * s.dilation_h - s.pad_top;
  parallel_for(tasks.count(), threads, [&](std::int64_t index, int) {
    const GroupedTask task = task_at(tasks, index);
    GroupedArgs<T> a = all;
    a.source = input + task.image * s.ih * all.source_row;
    a.output = output + task.image * s.oh * all.output_row;
    a.row0 = task.row0, a.row1 = task.row1, a.column0 = task.column0, a.column1 = task.column1;
    a.block0 = task.block0, a.block1 = task.block1;
    if (fetch)
      a.ahead = rows_ahead(input, s.n * s.ih, all.source_row, task.image * s.ih + task.row1 * s.stride_h + halo,
                           tasks.rows_per_task * s.stride_h, (task.row1 - task.row0) * s.ow * tasks.blocks);
    kernels.grouped_forward(a);
    if (a.stream) kernels.store_fence();
  });
}

template <class T>
void grouped_backward_input(const Conv2dShape& s, const T* packed, const T* grad_output, const T* bias, T* grad_input,
                            Activation activation, bool may_stream) {
  const int threads = grouped_threads(s);
  const bool stream = may_stream && grouped_streams<T>(s, Pass::backward_input) && aligned(grad_input);
  // Rows and columns of the first phase, which has the most; a task computes all phases of them.
  const std::int64_t rows = ceil_div(s.ih, s.stride_h), columns = ceil_div(s.iw, s.stride_w);
  const std::int64_t image = s.ih * s.iw * s.ic, row_bytes = s.stride_h * s.iw * s.ic * std::int64_t{sizeof(T)};
  const GroupedTasks tasks = share_out(s.n, rows, columns, block_total<T>(s), row_bytes, threads);
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const bool fetch = worth_fetching(s, sizeof(T)) && tasks.column_tasks * tasks.block_tasks == 1;
  parallel_for(tasks.count(), threads, [&](std::int64_t index, int) {
    const GroupedTask task = task_at(tasks, index);
    for_each_phase(s, [&](const BackwardInputPhase& phase) {
      GroupedArgs<T> a = grouped_args<T>(s, backward_input_problem<T>(s, phase));
      // The taps in reverse: the phase's last tap of the filter comes first.
      a.weight = packed + (phase.h.first_tap + (a.taps_h - 1) * phase.h.tap_stride) * a.weight_tap_h +
                 (phase.w.first_tap + (a.taps_w - 1) * phase.w.tap_stride) * a.weight_tap_w;
      a.weight_tap_h *= -phase.h.tap_stride;
      a.weight_tap_w *= -phase.w.tap_stride;
      a.bias = bias;
      a.activation = activation;
      if (phase.no_taps()) a.taps_h = a.taps_w = 0, a.weight = packed;
      a.source = grad_output + task.image * s.oh * a.source_row;
      a.output = grad_input + task.image * image + (phase.row * s.iw + phase.column) * s.ic;
      a.row0 = task.row0, a.row1 = std::min(task.row1, phase.h.positions);
      a.column0 = task.column0, a.column1 = std::min(task.column1, phase.w.positions);
      a.block0 = task.block0, a.block1 = task.block1;
      a.stream = stream;
      if (fetch && phase.row == 0 && phase.column == 0)
        a.ahead = rows_ahead(grad_output, s.n * s.oh, a.source_row, task.image * s.oh + task.row1 + 1,
                             tasks.rows_per_task, (task.row1 - task.row0) * columns * tasks.blocks);
      if (a.row0 < a.row1 && a.column0 < a.column1) kernels.grouped_forward(a);
    });
    if (stream) kernels.store_fence();
  });
}

namespace {

std::int64_t pixel_groups(const Conv2dShape& s) {
  return std::clamp<std::int64_t>(s.n * s.oh * s.ow / kGroupPixels, 1, std::min(kPixelGroups, s.n * s.oh));
}

// Adds the partial sums in order and brings [tap][input][lanes] to (OC, IC/groups, KH, KW), one block of lanes.
template <class T>
void collect_block(const Conv2dShape& s, T* sums, std::int64_t elements, std::int64_t block, T* grad_weight,
                   bool accumulate) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const std::int64_t icg = s.icg(), taps = s.kh * s.kw, lanes = kernels.vector_size;
  const std::int64_t group = block * groups_per_block<T>(s);
  const std::int64_t valid = std::min(groups_per_block<T>(s), s.groups - group) * s.ocg();
  T* total = sums + block * taps * icg * lanes;
  for (std::int64_t g = 1; g < pixel_groups(s); ++g) {
    const T* part = total + g * elements;
    for (std::int64_t e = 0; e < taps * icg * lanes; ++e) total[e] += part[e];
  }
  T* to = grad_weight + group * s.ocg() * icg * taps;
  for (std::int64_t i = 0; i < icg; ++i) {
    const T* from = total + i * lanes;
    if (!accumulate) {
      kernels.transpose(from, taps, valid, icg * lanes, to + i * taps, icg * taps);
      continue;
    }
    for (std::int64_t l = 0; l < valid; ++l)
      for (std::int64_t tap = 0; tap < taps; ++tap) to[(l * icg + i) * taps + tap] += from[tap * icg * lanes + l];
  }
}

}  // namespace

template <class T>
std::int64_t grouped_backward_weight_elements(const Conv2dShape& s) {
  return pixel_groups(s) * packed_grouped_elements<T>(s, Pass::forward);
}

template <class T>
void grouped_backward_weight(const Conv2dShape& s, const T* input, const T* grad_output, T* grad_weight,
                             bool accumulate) {
  const std::int64_t rows = s.n * s.oh, parts = pixel_groups(s), blocks = block_total<T>(s);
  const std::int64_t elements = packed_grouped_elements<T>(s, Pass::forward);
  const int threads = grouped_threads(s);
  const std::int64_t shares = std::min(blocks, ceil_div(threads > 1 ? kTasksPerThread * threads : 1, parts));
  const std::int64_t row_bytes = (s.stride_h * s.iw * s.ic + s.ow * s.oc) * std::int64_t{sizeof(T)};
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, 2 * kBlockBytes / row_bytes);
  const bool fetch = worth_fetching(s, sizeof(T)) && shares == 1;
  const auto kernel = active_kernel_set<T>().conv.grouped_weight;
  const GroupedArgs<T> geometry = grouped_args<T>(s, forward_problem<T>(s));
  const Scratch scratch(static_cast<std::size_t>(parts * elements) * sizeof(T));
  T* sums = scratch.as<T>();

  parallel_for(parts * shares, threads, [&](std::int64_t task, int) {
    const std::int64_t part = task / shares, share = task % shares;
    GroupedWeightArgs<T> a{};
    a.source_h = s.ih, a.source_w = s.iw, a.source_row = geometry.source_row, a.source_pixel = s.ic;
    a.origin_h = geometry.origin_h, a.origin_w = geometry.origin_w, a.step_h = s.stride_h, a.step_w = s.stride_w;
    a.taps_h = s.kh, a.taps_w = s.kw, a.tap_step_h = s.dilation_h, a.tap_step_w = s.dilation_w;
    a.grad_row = s.ow * s.oc, a.grad_pixel = s.oc;
    a.column1 = s.ow;
    a.groups = s.groups, a.group_inputs = s.icg(), a.group_outputs = s.ocg();
    a.groups_per_block = geometry.groups_per_block;
    a.block0 = blocks * share / shares, a.block1 = blocks * (share + 1) / shares;
    a.sum = sums + part * elements;
    std::fill(a.sum + a.block0 * geometry.weight_block, a.sum + a.block1 * geometry.weight_block, T(0));
    const std::int64_t end = rows * (part + 1) / parts;
    for (std::int64_t row = rows * part / parts; row < end; row = row - row % s.oh + a.row1) {
      const std::int64_t image = row / s.oh;
      a.source = input + image * s.ih * geometry.source_row;
      a.grad_output = grad_output + image * s.oh * a.grad_row;
      a.row0 = row % s.oh;
      a.row1 = std::min({s.oh, a.row0 + end - row, a.row0 + rows_at_once});
      if (fetch) {
        const std::int64_t vectors = (a.row1 - a.row0) * s.ow * blocks;
        const std::int64_t ih = image * s.ih + a.row1 * s.stride_h + (s.kh - 1) * s.dilation_h - s.pad_top;
        a.source_ahead = rows_ahead(input, s.n * s.ih, geometry.source_row, ih, rows_at_once * s.stride_h, vectors);
        a.grad_ahead = rows_ahead(grad_output, rows, a.grad_row, image * s.oh + a.row1, rows_at_once, vectors);
      }
      kernel(a);
    }
  });
  parallel_for(blocks, threads_for_bytes(static_cast<double>(parts * elements) * sizeof(T)),
               [&](std::int64_t block, int) { collect_block(s, sums, elements, block, grad_weight, accumulate); });
}

template bool grouped_streams<float>(const Conv2dShape&, Pass);
template bool grouped_streams<double>(const Conv2dShape&, Pass);
template std::int64_t packed_grouped_elements<float>(const Conv2dShape&, Pass);
template std::int64_t packed_grouped_elements<double>(const Conv2dShape&, Pass);
template void pack_grouped_weight(const Conv2dShape&, const float*, Pass, float*);
template void pack_grouped_weight(const Conv2dShape&, const double*, Pass, double*);
template void grouped_forward(const Conv2dShape&, const float*, const float*, const float*, float*, Activation, bool);
template void grouped_forward(const Conv2dShape&, const double*, const double*, const double*, double*, Activation,
                              bool);
template void grouped_backward_input(const Conv2dShape&, const float*, const float*, const float*, float*, Activation,
                                     bool);
template void grouped_backward_input(const Conv2dShape&, const double*, const double*, const double*, double*,
                                     Activation, bool);
template std::int64_t grouped_backward_weight_elements<float>(const Conv2dShape&);
template std::int64_t grouped_backward_weight_elements<double>(const Conv2dShape&);
template void grouped_backward_weight(const Conv2dShape&, const float*, const float*, float*, bool);
template void grouped_backward_weight(const Conv2dShape&, const double*, const double*, double*, bool);

}  // namespace fastconv
