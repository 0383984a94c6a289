// Scratch memory from a pool that keeps its blocks: after the first call of a shape nothing is allocated, no page
// faults.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastconv {

constexpr std::size_t kAlignment = 64;  // one cache line, one AVX-512 vector

// A block for the lifetime of this object; throws std::bad_alloc. Take it before a parallel region, never inside; a
// thread frees its blocks in the reverse of the order in which it took them, as local variables do.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
  bool extra_ = false;  // beside the thread's stack, which was too small
};

struct ScratchStats {
  std::int64_t allocations;     // times that memory was taken from the system
  std::int64_t bytes_in_use;    // held by running calls
  std::int64_t bytes_reserved;  // held by the pool and by running calls
};

ScratchStats scratch_stats();
void release_scratch();  // gives the pool's free blocks back to the system

void* aligned_new(std::size_t bytes);  // throws std::bad_alloc
void aligned_delete(void* p) noexcept;

}  // namespace fastconv
