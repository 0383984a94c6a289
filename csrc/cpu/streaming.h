// Results stored past the caches: a plain store first reads the line that it is going to overwrite, a streamed one does
// not, but its line is in no cache afterwards.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels/pool_kernels.h"
#include "cpu/scratch.h"

namespace fastconv {

// Arrays of a call that together exceed this leave the last-level cache before anybody reads them again. Measured on
// Zen 4 with 32 MiB: a copy of 32 MB in all gains a third by it on one thread, one of 24 MB loses half on two.
constexpr double kStreamBytes = 32.0 * 1024 * 1024;

inline bool worth_streaming(double bytes_touched) { return bytes_touched > kStreamBytes; }

// So much is read and written before results go from their stage to memory. Larger pieces leave the memory idle by
// turns, smaller ones cost calls (measured: 8 and 32 KiB are slower).
constexpr double kPieceBytes = 16384;

// A run of results of any alignment, written piece by piece: straight to its place, in `lines` past the caches where it
// begins on one, or, with a stage, through it in whole cache lines.
template <class T, class I = T>
class StreamedRun {
 public:
  // The stage begins on a cache line and holds a line more than the largest piece; null: none.
  StreamedRun(const PoolKernels<T>& kernels, I* target, I* stage, bool lines = false)
      : target_(target), stage_(stage), kernels_(&kernels) {
    if (!stage_) return;
    if (lines && reinterpret_cast<std::uintptr_t>(target) % kAlignment == 0) {
      stage_ = nullptr;
      in_lines_ = true;
      return;
    }
    head_ = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(target) % kAlignment / sizeof(I));
    filled_ = head_;
    target_ -= head_;
  }

  // Whether the kernel itself stores past the caches.
  bool in_lines() const { return in_lines_; }

  // Where the next piece goes.
  I* place() const { return stage_ ? stage_ + filled_ : target_; }

  // That piece has `count` elements.
  void wrote(std::int64_t count) {
    if (!stage_) {
      target_ += count;
      return;
    }
    filled_ += count;
    const std::int64_t whole = filled_ / kLine * kLine;
    if (whole == 0) return;
    std::int64_t from = 0;
    if (head_ > 0) {  // of the first line a part belongs to somebody else
      std::memcpy(target_ + head_, stage_ + head_, static_cast<std::size_t>(kLine - head_) * sizeof(I));
      from = kLine;
    }
    kernels_->stream_lines(stage_ + from, target_ + from, (whole - from) * static_cast<std::int64_t>(sizeof(I)));
    std::memcpy(stage_, stage_ + whole, static_cast<std::size_t>(filled_ - whole) * sizeof(I));
    target_ += whole;
    filled_ -= whole;
    head_ = 0;
  }

  // What is left, and other threads may read.
  void finish() const {
    if (in_lines_) kernels_->stream_fence();
    if (!stage_) return;
    if (filled_ > head_)
      std::memcpy(target_ + head_, stage_ + head_, static_cast<std::size_t>(filled_ - head_) * sizeof(I));
    kernels_->stream_fence();
  }

 private:
  static constexpr auto kLine = static_cast<std::int64_t>(kAlignment / sizeof(I));
  I* target_;  // with a stage: the line that the stage's first one stands for
  I* stage_;
  const PoolKernels<T>* kernels_;
  std::int64_t head_ = 0, filled_ = 0;
  bool in_lines_ = false;
};

}  // namespace fastconv
