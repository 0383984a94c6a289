// A call's scratch blocks are freed in the reverse of their order, so each calling thread works on a stack. A stack
// that proved too small takes extra blocks for the rest of that call and is made anew, large enough, when the call
// ends. So the pool comes to hold what the hungriest call needs, once for each thread that calls at the same time.
#include "cpu/scratch.h"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastconv {

namespace {

struct Stack {
  char* base = nullptr;
  std::size_t size = 0;    // of base
  std::size_t in_use = 0;  // base and extra blocks together
  std::size_t top = 0;     // of base
  std::size_t peak = 0;    // most in use in this call
};

struct Pool {
  std::mutex mutex;
  std::vector<Stack*> idle;
  std::size_t stacks = 0;
  ScratchStats stats{0, 0, 0};
};

// Never destroyed: a daemon thread may still compute while the interpreter exits.
Pool& pool() {
  static Pool* const p = [] {
    Pool* made = new Pool;
#if defined(__unix__) || defined(__APPLE__)
    // A fork while another thread holds the lock must not leave it locked in the child.
    pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
#endif
    return made;
  }();
  return *p;
}

thread_local Stack* t_stack = nullptr;  // of the call that this thread is in

std::size_t rounded(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The functions below are called with the pool locked.

void count(Pool& p, std::int64_t allocations, std::size_t taken, std::size_t returned) {
  p.stats.allocations += allocations;
  p.stats.bytes_reserved += static_cast<std::int64_t>(taken) - static_cast<std::int64_t>(returned);
}

Stack* take_stack(Pool& p) {
  if (p.idle.empty()) {
    p.idle.reserve(p.stacks + 1);  // room for every stack, because giving one back must not throw
    Stack* made = new Stack;
    p.stacks += 1;
    return made;
  }
  // The largest: one caller at a time always meets the same.
  const auto largest =
      std::max_element(p.idle.begin(), p.idle.end(), [](const Stack* a, const Stack* b) { return a->size < b->size; });
  Stack* found = *largest;
  p.idle.erase(largest);
  return found;
}

// Large blocks ask for huge pages, as NumPy's arrays do: with pages of 4 KiB each new one costs a walk through the page
// tables and stops the prefetchers (measured: passes over 64 MB took up to a third longer).
void wish_for_huge_pages(void* block, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::size_t kPage = 4096, kLarge = std::size_t{4} << 20;
  if (bytes < kLarge) return;
  const std::size_t skipped = (kPage - reinterpret_cast<std::uintptr_t>(block) % kPage) % kPage;
  madvise(static_cast<char*>(block) + skipped, (bytes - skipped) / kPage * kPage, MADV_HUGEPAGE);
#else
  static_cast<void>(block), static_cast<void>(bytes);
#endif
}

// Where there is no memory for the larger stack, the next call takes extra blocks again.
void grow(Pool& p, Stack& s) {
  void* base = ::operator new(s.peak, std::align_val_t{kAlignment}, std::nothrow);
  if (!base) return;
  wish_for_huge_pages(base, s.peak);
  count(p, 1, s.peak, s.size);
  if (s.base) aligned_delete(s.base);
  s.base = static_cast<char*>(base);
  s.size = s.peak;
}

}  // namespace

void* aligned_new(std::size_t bytes) {
  void* block = ::operator new(std::max<std::size_t>(bytes, 1), std::align_val_t{kAlignment});
  wish_for_huge_pages(block, bytes);
  return block;
}

void aligned_delete(void* p) noexcept { ::operator delete(p, std::align_val_t{kAlignment}); }

Scratch::Scratch(std::size_t bytes) {
  if (bytes == 0) return;
  const std::size_t size = rounded(bytes);
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  Stack* stack = t_stack ? t_stack : take_stack(p);
  if (stack->size - stack->top >= size) {
    data_ = stack->base + stack->top;
    stack->top += size;
  } else {
    try {
      data_ = aligned_new(size);
    } catch (...) {
      if (!t_stack) p.idle.push_back(stack);
      throw;
    }
    extra_ = true;
    count(p, 1, size, 0);
  }
  t_stack = stack;
  size_ = size;
  stack->in_use += size;
  stack->peak = std::max(stack->peak, stack->in_use);
  p.stats.bytes_in_use += static_cast<std::int64_t>(size);
}

Scratch::~Scratch() {
  if (!data_) return;
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  Stack& stack = *t_stack;
  if (extra_) {
    aligned_delete(data_);
    count(p, 0, 0, size_);
  } else {
    stack.top -= size_;
  }
  stack.in_use -= size_;
  p.stats.bytes_in_use -= static_cast<std::int64_t>(size_);
  if (stack.in_use > 0) return;
  if (stack.peak > stack.size) grow(p, stack);
  stack.peak = 0;
  p.idle.push_back(&stack);
  t_stack = nullptr;
}

ScratchStats scratch_stats() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().stats;
}

void release_scratch() {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  for (Stack* stack : p.idle) {
    count(p, 0, 0, stack->size);
    if (stack->base) aligned_delete(stack->base);
    delete stack;
  }
  p.stacks -= p.idle.size();
  p.idle.clear();
}

}  // namespace fastconv
