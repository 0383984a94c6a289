// Loops, outside in: (image, group, block of rows) per task; the block's source rows are copied channel by channel with
// their zero borders; tiles run over all positions of the copy, across the ends of rows; blocks of output channels.
// Each output is one chain of sums over taps, then channels, as in the direct tile.
#include "cpu/pixel_lanes.h"

#include <algorithm>
#include <cstring>

#include "core/checked_math.h"
#include "cpu/border.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kPlaneBytes = 24 * 1024;  // the source rows of a task stay in the L1 cache

// Channels of block `index` of `count` nearly equal ones.
struct ChannelBlock {
  std::int64_t first, channels;
};

std::int64_t channel_blocks(std::int64_t outputs, int most) { return ceil_div(outputs, most); }

ChannelBlock channel_block(std::int64_t outputs, std::int64_t count, std::int64_t index) {
  const std::int64_t first = outputs * index / count;
  return {first, outputs * (index + 1) / count - first};
}

// Rows of the source under one block, channel by channel; what lies beyond the copied rows is read by lanes that store
// nothing.
template <class T>
void copy_planes(const DirectConv<T>& p, const PixelLanesPlan& plan, std::int64_t image, std::int64_t group,
                 std::int64_t row0, std::int64_t rows, T* planes, const ConvKernels<T>& kernels) {
  const std::int64_t height = rows + (p.taps_h - 1) * p.tap_step_h, pixel = p.groups * p.icg;
  const std::int64_t left = std::clamp<std::int64_t>(-p.origin_w, 0, plan.pitch);
  const std::int64_t right = std::clamp<std::int64_t>(p.source_w - p.origin_w, left, plan.pitch);
  for (std::int64_t r = 0; r < height; ++r) {
    const std::int64_t ih = p.origin_h + row0 + r;
    const bool inside = ih >= 0 && ih < p.source_h && left < right;
    T* to = planes + r * plan.pitch;
    for (std::int64_t c = 0; c < p.icg; ++c) {
      std::fill(to + c * plan.plane, to + c * plan.plane + (inside ? left : plan.pitch), T(0));
      if (inside) std::fill(to + c * plan.plane + right, to + c * plan.plane + plan.pitch, T(0));
    }
    if (!inside) continue;
    const T* from = p.source + ((image * p.source_h + ih) * p.source_w + p.origin_w + left) * pixel + group * p.icg;
    if (pixel == 1)
      std::memcpy(to + left, from, static_cast<std::size_t>(right - left) * sizeof(T));
    else
      kernels.transpose(from, right - left, p.icg, pixel, to + left, plan.plane);
  }
  for (std::int64_t c = 0; c < p.icg; ++c)
    std::fill(planes + c * plan.plane + height * plan.pitch, planes + (c + 1) * plan.plane, T(0));
}

std::int64_t steps(std::int64_t taps, std::int64_t inputs) { return taps * inputs; }

}  // namespace

template <class T>
std::int64_t pixel_lanes_weight_elements(const WeightView<T>& w) {
  const std::int64_t taps = w.taps_h * w.taps_w;
  return round_up(w.groups * w.outputs * steps(taps, w.inputs), 16) +
         packed_elements(w.groups, w.outputs, w.inputs, taps, active_kernel_set<T>().conv.vector_size);
}

template <class T>
void pack_pixel_lanes_weight(const WeightView<T>& w, T* packed) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const std::int64_t blocks = channel_blocks(w.outputs, kernels.max_pixel_tile_channels);
  const std::int64_t all = w.groups * w.outputs * steps(w.taps_h * w.taps_w, w.inputs);
  T* to = packed;
  for (std::int64_t g = 0; g < w.groups; ++g)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const ChannelBlock block = channel_block(w.outputs, blocks, b);
      for (std::int64_t th = 0; th < w.taps_h; ++th)
        for (std::int64_t tw = 0; tw < w.taps_w; ++tw)
          for (std::int64_t i = 0; i < w.inputs; ++i) {
            const T* from = w.data + g * w.group_stride + block.first * w.output_stride + th * w.tap_h_stride +
                            tw * w.tap_w_stride + i * w.input_stride;
            for (std::int64_t o = 0; o < block.channels; ++o) *to++ = from[o * w.output_stride];
          }
    }
  pack_weight(w, kernels.vector_size, packed + round_up(all, 16));
}

template <class T>
PixelLanesPlan plan_pixel_lanes(const DirectConv<T>& p) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const auto item = static_cast<std::int64_t>(sizeof(T));
  PixelLanesPlan plan{};
  const double operations = 2.0 * static_cast<double>(p.n * p.out_h * p.out_w) *
                            static_cast<double>(p.taps_h * p.taps_w * p.icg) * static_cast<double>(p.ocg * p.groups);
  plan.threads = threads_for(operations);
  plan.pitch = p.out_w + (p.taps_w - 1) * p.tap_step_w;
  const std::int64_t reach = (p.taps_h - 1) * p.tap_step_h;
  const std::int64_t rows = std::max<std::int64_t>(4, kPlaneBytes / item / (p.icg * plan.pitch) - reach);
  const std::int64_t least = ceil_div(p.out_h, rows), images = std::max<std::int64_t>(1, p.n * p.groups);
  const std::int64_t blocks = std::min(p.out_h, std::max(least, ceil_div(plan.threads, images)));
  plan.rows_per_block = ceil_div(p.out_h, blocks);
  plan.row_blocks = ceil_div(p.out_h, plan.rows_per_block);
  // The last tile reads as far as its widest vectors reach.
  const std::int64_t over = kPixelTileMaxVectors * kernels.vector_size;
  plan.plane = round_up((plan.rows_per_block + reach) * plan.pitch + over, 16) + 16;
  plan.thread_elements = round_up(p.icg * plan.plane, 16);
  plan.offsets = steps(p.taps_h * p.taps_w, p.icg);
  plan.scratch_bytes = plan.threads * plan.thread_elements * item +
                       round_up(plan.offsets * static_cast<std::int64_t>(sizeof(std::int64_t)), 64);
  return plan;
}

template <class T>
void run_pixel_lanes(const DirectConv<T>& p) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const PixelLanesPlan plan = plan_pixel_lanes(p);
  if (p.n == 0) return;
  const std::int64_t taps = p.taps_h * p.taps_w, all = p.groups * p.ocg * plan.offsets;
  const std::int64_t blocks = channel_blocks(p.ocg, kernels.max_pixel_tile_channels);
  const Scratch scratch(static_cast<std::size_t>(plan.threads * plan.thread_elements) * sizeof(T));
  const Scratch offset_memory(static_cast<std::size_t>(plan.offsets) * sizeof(std::int64_t));
  auto* offsets = offset_memory.as<std::int64_t>();
  for (std::int64_t step = 0; step < plan.offsets; ++step) {
    const std::int64_t tap = step / p.icg;
    offsets[step] =
        step % p.icg * plan.plane + tap / p.taps_w * p.tap_step_h * plan.pitch + tap % p.taps_w * p.tap_step_w;
  }

  parallel_for(p.n * p.groups * plan.row_blocks, plan.threads, [&](std::int64_t task, int thread) {
    const std::int64_t row0 = task % plan.row_blocks * plan.rows_per_block;
    const std::int64_t group = task / plan.row_blocks % p.groups, image = task / plan.row_blocks / p.groups;
    const std::int64_t rows = std::min(plan.rows_per_block, p.out_h - row0);
    T* planes = scratch.as<T>() + thread * plan.thread_elements;
    copy_planes(p, plan, image, group, row0, rows, planes, kernels);
    T* output = p.output + image * p.output_image + row0 * p.output_row + group * p.ocg;
    const std::int64_t positions = (rows - 1) * plan.pitch + p.out_w;
    PixelTileArgs<T> a{};
    a.offsets = offsets;
    a.steps = plan.offsets;
    a.pitch = plan.pitch;
    a.columns = p.out_w;
    a.output_row = p.output_row, a.output_pixel = p.output_pixel;
    a.activation = p.activation;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const ChannelBlock block = channel_block(p.ocg, blocks, b);
      const auto tile = kernels.pixel_tile[block.channels - 1];
      const std::int64_t width = pixel_tile_vectors(static_cast<int>(block.channels)) * kernels.vector_size;
      a.weight = p.weight + (group * p.ocg + block.first) * plan.offsets;
      a.bias = p.bias ? p.bias + group * p.ocg + block.first : nullptr;
      for (std::int64_t position = 0; position < positions; position += width) {
        a.source = planes + position;
        a.positions = std::min(width, positions - position);
        a.column = position % plan.pitch;
        a.output = output + position / plan.pitch * p.output_row + block.first;
        tile(a);
      }
    }
  });
  DirectConv<T> direct = p;
  direct.weight = p.weight + round_up(all, 16);
  const T* mark = direct.weight + p.groups * packed_group_elements(p.ocg, p.icg, taps, kernels.vector_size);
  if (*mark != T(0) && touches_padding<T>(p)) redo_border(direct);
}

template std::int64_t pixel_lanes_weight_elements(const WeightView<float>&);
template std::int64_t pixel_lanes_weight_elements(const WeightView<double>&);
template void pack_pixel_lanes_weight(const WeightView<float>&, float*);
template void pack_pixel_lanes_weight(const WeightView<double>&, double*);
template PixelLanesPlan plan_pixel_lanes(const DirectConv<float>&);
template PixelLanesPlan plan_pixel_lanes(const DirectConv<double>&);
template void run_pixel_lanes(const DirectConv<float>&);
template void run_pixel_lanes(const DirectConv<double>&);

}  // namespace fastconv
