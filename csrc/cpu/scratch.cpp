#include "cpu/scratch.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fastconv {

namespace {

struct Block {
  void* data;
  std::size_t size;
};

struct Pool {
  std::mutex mutex;
  std::vector<Block> free;
  std::size_t blocks = 0;  // free or in use
  ScratchStats stats{0, 0, 0};

  void drop(const Block& block) {
    blocks -= 1;
    stats.bytes_reserved -= static_cast<std::int64_t>(block.size);
    aligned_delete(block.data);
  }
};

// Never destroyed: a daemon thread may still compute while the interpreter exits.
Pool& pool() {
  static Pool* const p = [] {
    Pool* made = new Pool;
    made->free.reserve(64);
#if defined(__unix__) || defined(__APPLE__)
    // A fork while another thread holds the lock must not leave it locked in the child.
    pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
#endif
    return made;
  }();
  return *p;
}

}  // namespace

void* aligned_new(std::size_t bytes) {
  return ::operator new(std::max<std::size_t>(bytes, 1), std::align_val_t{kAlignment});
}

void aligned_delete(void* p) noexcept { ::operator delete(p, std::align_val_t{kAlignment}); }

Scratch::Scratch(std::size_t bytes) {
  if (bytes == 0) return;
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  // The smallest free block that holds it; where none does, the largest gives way to a larger one, so that the pool
  // comes to hold as many blocks as one call uses at once, and no more.
  std::size_t best = p.free.size(), largest = p.free.size();
  for (std::size_t i = 0; i < p.free.size(); ++i) {
    const std::size_t size = p.free[i].size;
    if (size >= bytes && (best == p.free.size() || size < p.free[best].size)) best = i;
    if (largest == p.free.size() || size > p.free[largest].size) largest = i;
  }
  if (best < p.free.size()) {
    data_ = p.free[best].data;
    size_ = p.free[best].size;
    p.free[best] = p.free.back();
    p.free.pop_back();
  } else {
    if (largest < p.free.size()) {
      p.drop(p.free[largest]);
      p.free[largest] = p.free.back();
      p.free.pop_back();
    }
    p.free.reserve(p.blocks + 1);  // room for every block, because the destructor must not throw
    size_ = (bytes + 4095) / 4096 * 4096;
    data_ = aligned_new(size_);
    p.blocks += 1;
    p.stats.allocations += 1;
    p.stats.bytes_reserved += static_cast<std::int64_t>(size_);
  }
  p.stats.bytes_in_use += static_cast<std::int64_t>(size_);
}

Scratch::~Scratch() {
  if (!data_) return;
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  p.free.push_back({data_, size_});
  p.stats.bytes_in_use -= static_cast<std::int64_t>(size_);
}

ScratchStats scratch_stats() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().stats;
}

void release_scratch() {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  for (const Block& block : p.free) p.drop(block);
  p.free.clear();
}

}  // namespace fastconv
