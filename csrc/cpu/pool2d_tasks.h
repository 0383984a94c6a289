// How pooling is cut into tasks: runs of rows that lie side by side in memory, across images (NHWC) or planes (NCHW).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"
#include "core/layout.h"
#include "core/pool2d_shape.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/streaming.h"
#include "cpu/threads.h"

namespace fastconv {

inline PoolWindows pool_windows(const Pool2dShape& s) {
  const std::int64_t extent = (s.kw - 1) * s.dilation_w + 1;
  const std::int64_t first = s.pad_left > 0 ? (s.pad_left - 1) / s.stride_w + 1 : 0;
  const std::int64_t end = s.iw + s.pad_left < extent ? 0 : (s.iw + s.pad_left - extent) / s.stride_w + 1;
  const std::int64_t count = std::min(end, s.ow) - first;
  const Span full = count > 0 ? Span{first, count} : Span{s.ow, 0};
  return {s.ih,       s.iw,      s.oh,       s.ow,         s.kh,         s.kw, s.stride_h,
          s.stride_w, s.pad_top, s.pad_left, s.dilation_h, s.dilation_w, full};
}

// Pooling is bound by memory: bytes under all windows, and written.
inline int pool_threads(const Pool2dShape& s, std::int64_t item_size) {
  const double outputs = static_cast<double>(s.n) * s.c * s.oh * s.ow;
  const double taps = static_cast<double>(std::min(s.kh, s.ih)) * std::min(s.kw, s.iw);
  return threads_for_bytes(outputs * (taps + 1) * item_size);
}

// What the pass must read and write.
inline double pool_bytes(const Pool2dShape& s, std::int64_t item_size, std::int64_t place_size) {
  const double planes = static_cast<double>(s.n) * s.c;
  const double outputs = static_cast<double>(s.oh) * s.ow, inputs = static_cast<double>(s.ih) * s.iw;
  return planes * (inputs * item_size + outputs * (item_size + place_size));
}

struct PoolPlan {
  std::int64_t images, rows, columns, pixel;  // of what is written; NCHW: an image is a plane, a pixel one element
  std::int64_t task_rows;
  std::int64_t piece_rows, piece_columns;  // of one call
  bool planes, stream;
  int threads;

  std::int64_t row() const { return columns * pixel; }
  std::int64_t tasks() const { return ceil_div(images * rows, task_rows); }
  std::int64_t piece() const { return (planes ? std::min(piece_rows, rows) : 1) * piece_columns * pixel; }
  // Pixels of whole cache lines need no stage: where the array begins on a line they are streamed one by one.
  bool in_lines(std::int64_t item_size) const {
    return stream && !planes && pixel * item_size % static_cast<std::int64_t>(kAlignment) == 0;
  }
  // Bytes of one thread's stage for items of that size.
  std::int64_t stage_bytes(std::int64_t item_size) const {
    return stream ? round_up(piece() * item_size, kAlignment) + static_cast<std::int64_t>(kAlignment) : 0;
  }
};

// `backward`: the pixels of the input are written, not the windows. `most_rows`: of one call.
inline PoolPlan plan_pool(const Pool2dShape& s, Layout layout, bool backward, std::int64_t item_size, double bytes,
                          std::int64_t most_rows = INT64_MAX) {
  constexpr double kTaskBytes = 16384, kStreamedTaskBytes = 262144;  // a streamed task waits for a fence
  constexpr std::int64_t kMostStaged = 65536;
  PoolPlan p{};
  p.planes = layout == Layout::nchw;
  p.images = p.planes ? s.n * s.c : s.n;
  p.rows = backward ? s.ih : s.oh, p.columns = backward ? s.iw : s.ow;
  p.pixel = p.planes ? 1 : s.c;
  p.threads = pool_threads(s, item_size);
  const double row_bytes = bytes / std::max(1.0, static_cast<double>(p.images) * static_cast<double>(p.rows));
  const auto fitting = [](double room, double each, std::int64_t most) {
    return static_cast<std::int64_t>(std::clamp(room / each, 1.0, static_cast<double>(most)));
  };
  p.piece_rows = p.planes ? fitting(kPieceBytes, row_bytes, std::min(p.rows, most_rows)) : 1;
  p.piece_columns = p.planes ? p.columns : fitting(kPieceBytes, row_bytes / static_cast<double>(p.columns), p.columns);
  p.stream = worth_streaming(bytes) && p.piece() * item_size <= kMostStaged;
  if (!p.stream) p.piece_rows = std::min(p.rows, most_rows), p.piece_columns = p.columns;
  p.task_rows = fitting(p.stream ? kStreamedTaskBytes : kTaskBytes, row_bytes, INT64_C(1) << 40);
  return p;
}

// What the windows far behind this run read, and how much of it for every vector of results: where arrays exceed the
// caches, the processor's own prefetchers do not keep the memory busy for one core. Of wider steps much is not read.
struct MemoryAhead {
  const void* from = nullptr;  // beyond the array it is nobody's, and never touched
  int lines = 0;
};

template <class T>
MemoryAhead memory_ahead(const Pool2dShape& s, const PoolPlan& p, const T* image, const PoolRun& run) {
  constexpr std::int64_t kAheadBytes = 65536, kMost = 3;
  if (!p.stream || s.stride_h > kMost || s.stride_w > kMost) return {};
  if (p.planes && (s.kh > 2 || s.kw > 2)) return {};  // bound by their shuffles: it only cost there
  const std::int64_t at = (run.row * s.iw + run.column) * s.stride_h * p.pixel * static_cast<std::int64_t>(sizeof(T));
  const auto from = reinterpret_cast<std::uintptr_t>(image) + static_cast<std::uintptr_t>(at + kAheadBytes);
  return {reinterpret_cast<const void*>(from), static_cast<int>(s.stride_h * s.stride_w)};
}

// The pieces of rows [at, last), counted across images, in the order of memory.
class PieceCursor {
 public:
  PieceCursor(std::int64_t first, std::int64_t last) : at_(first), last_(last) {}

  // False at the end.
  bool next(const PoolPlan& p, std::int64_t& image, PoolRun& run) {
    if (at_ >= last_) return false;
    image = at_ / p.rows;
    const std::int64_t row = at_ - image * p.rows;
    run = {row, p.planes ? std::min({p.rows - row, last_ - at_, p.piece_rows}) : 1, column_,
           std::min(p.piece_columns, p.columns - column_)};
    column_ += run.columns;
    if (column_ == p.columns) at_ += run.rows, column_ = 0;
    return true;
  }

 private:
  std::int64_t at_, last_, column_ = 0;
};

// Runs piece(run, thread, image, PoolRun) for all pieces of every task, where run is what make(first row, thread)
// returned; its finish() is called in the end.
template <class Make, class Piece>
void for_each_pool_task(const PoolPlan& p, Make&& make, Piece&& piece) {
  parallel_for(p.tasks(), p.threads, [&](std::int64_t task, int thread) {
    const std::int64_t first = task * p.task_rows;
    PieceCursor pieces(first, std::min(first + p.task_rows, p.images * p.rows));
    auto run = make(first, thread);
    std::int64_t image = 0;
    PoolRun where{};
    while (pieces.next(p, image, where)) piece(run, thread, image, where);
    run.finish();
  });
}

// Channels last with few windows (global pooling of few images): there are too few rows to share out, so channels are.
constexpr std::int64_t kPoolChannelBlock = 64;
inline bool splits_channels(const PoolPlan& p) { return !p.planes && p.images * p.rows < 8 && p.columns < 8; }

// Runs function(image, run, first channel, channels).
template <class Function>
void for_each_channel_block(const PoolPlan& p, Function&& function) {
  const std::int64_t blocks = ceil_div(p.pixel, kPoolChannelBlock);
  parallel_for(p.images * p.rows * blocks, p.threads, [&](std::int64_t task, int) {
    const std::int64_t channel = task % blocks * kPoolChannelBlock, at = task / blocks;
    function(at / p.rows, PoolRun{at % p.rows, 1, 0, p.columns}, channel,
             std::min(kPoolChannelBlock, p.pixel - channel));
  });
}

}  // namespace fastconv
