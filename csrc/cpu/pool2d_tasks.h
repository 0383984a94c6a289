// How pooling is cut into tasks: rows of an image (NHWC, in blocks of channels) or of a plane (NCHW).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"
#include "core/layout.h"
#include "core/pool2d_shape.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/threads.h"

namespace fastconv {

// Where a task works. An NHWC image or an NCHW plane begins at element `image` * (pixels of a plane) * `pixel` +
// `channel`.
struct PoolTask {
  int thread;
  std::int64_t image, row;
  std::int64_t channel, channels, pixel;

  std::int64_t element(std::int64_t pixels, std::int64_t at) const { return (image * pixels + at) * pixel + channel; }
};

// Runs function(PoolTask) for `rows` rows of every image or plane, none with more than `channel_block` channels. A few
// neighbouring rows stay on one thread: finding one's place costs divisions.
template <class Function>
void for_each_pool_task(const Pool2dShape& s, Layout layout, std::int64_t rows, std::int64_t channel_block, int threads,
                        Function&& function) {
  constexpr std::int64_t kRows = 4;
  const bool last = layout == Layout::nhwc;
  const std::int64_t blocks = last ? ceil_div(s.c, channel_block) : 1;
  const std::int64_t images = last ? s.n : s.n * s.c, groups = ceil_div(rows, kRows);
  parallel_for(images * groups * blocks, threads, [&](std::int64_t task, int thread) {
    PoolTask t{};
    t.thread = thread;
    t.image = task / blocks / groups;
    t.channel = task % blocks * channel_block;
    t.channels = last ? std::min(channel_block, s.c - t.channel) : 1;
    t.pixel = last ? s.c : 1;
    const std::int64_t first = task / blocks % groups * kRows;
    for (t.row = first; t.row < std::min(rows, first + kRows); ++t.row) function(t);
  });
}

constexpr std::int64_t kPoolChannelBlock = 256;  // splits the few rows of global pooling, without short runs of memory

// Pooling is bound by memory: bytes under all windows, and written.
inline int pool_threads(const Pool2dShape& s, std::int64_t item_size) {
  const double outputs = static_cast<double>(s.n) * s.c * s.oh * s.ow;
  const double taps = static_cast<double>(std::min(s.kh, s.ih)) * std::min(s.kw, s.iw);
  return threads_for_bytes(outputs * (taps + 1) * item_size);
}

inline PoolColumns pool_columns(const Pool2dShape& s) {
  const std::int64_t extent = (s.kw - 1) * s.dilation_w + 1;
  const std::int64_t first = s.pad_left > 0 ? (s.pad_left - 1) / s.stride_w + 1 : 0;
  const std::int64_t end = s.iw + s.pad_left < extent ? 0 : (s.iw + s.pad_left - extent) / s.stride_w + 1;
  const std::int64_t count = std::min(end, s.ow) - first;
  const Span full = count > 0 ? Span{first, count} : Span{s.ow, 0};
  return {s.iw, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w, full};
}

}  // namespace fastconv
