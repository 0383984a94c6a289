#include "cuda/emulator/grid.h"

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "cuda/emulator/accesses.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace fastconv {
namespace cuda {
namespace emulator {

Block* block = nullptr;
Thread* thread = nullptr;

Mode& mode() {
  static Mode m;
  return m;
}

namespace {

constexpr std::size_t kStackBytes = 256 << 10;       // only what is touched becomes memory
constexpr std::int64_t kMaxSharedBytes = 227 << 10;  // of a block on sm_90
constexpr int kMaxThreads = 1024;

// A grid in progress. One at a time in a process.
struct Run {
  const std::function<void()>* body = nullptr;
  std::vector<Thread> threads;
  unsigned char* stacks = nullptr;
  void* scheduler = nullptr;  // where the scheduler goes on
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
  std::uint64_t progress = 0;
  std::string error;
} run;

// Switching: keep the registers that a call must preserve on the own stack, and take those of the other from its stack.
#if defined(__x86_64__)
extern "C" void fastconv_switch_stack(void** keep, void* next);
asm(R"(
.text
.p2align 4
.type fastconv_switch_stack, @function
.hidden fastconv_switch_stack
.globl fastconv_switch_stack
fastconv_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size fastconv_switch_stack, .-fastconv_switch_stack
)");

void* fresh_stack(unsigned char* stack, void (*entry)()) {
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // at entry the stack pointer is 8 off a multiple of 16, as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}
void switch_stack(void** keep, void* next) { fastconv_switch_stack(keep, next); }
#else
ucontext_t contexts[kMaxThreads + 1];  // the last one is the scheduler's

void* fresh_stack(unsigned char* stack, void (*entry)()) {
  ucontext_t& c = contexts[(stack - run.stacks) / kStackBytes];
  getcontext(&c);
  c.uc_stack.ss_sp = stack;
  c.uc_stack.ss_size = kStackBytes;
  c.uc_link = nullptr;
  makecontext(&c, entry, 0);
  return &c;
}
void switch_stack(void** keep, void* next) {
  *keep = keep == &run.scheduler ? &contexts[kMaxThreads] : &contexts[thread->index];
  swapcontext(static_cast<ucontext_t*>(*keep), static_cast<ucontext_t*>(next));
}
#endif

// AddressSanitizer must be told which stack comes next.
void leave(void** keep_sanitizer_stack, const void* next_stack, std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(keep_sanitizer_stack, next_stack, bytes);
#else
  (void)keep_sanitizer_stack, (void)next_stack, (void)bytes;
#endif
}
void arrive(void* sanitizer_stack, const void** from_stack, std::size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(sanitizer_stack, from_stack, bytes);
#else
  (void)sanitizer_stack, (void)from_stack, (void)bytes;
#endif
}

void thread_main() {
  arrive(nullptr, &run.scheduler_stack, &run.scheduler_stack_bytes);
  (*run.body)();
  thread->done = true;
  made_progress();
  leave(nullptr, run.scheduler_stack, run.scheduler_stack_bytes);
  switch_stack(&thread->stack_pointer, run.scheduler);
  std::abort();  // nobody resumes a thread that is done
}

void resume(Thread& t) {
  thread = &t;
  void* own = nullptr;
  leave(&own, run.stacks + static_cast<std::size_t>(t.index) * kStackBytes, kStackBytes);
  switch_stack(&run.scheduler, t.stack_pointer);
  arrive(own, nullptr, nullptr);
  thread = nullptr;
}

void run_block(Block& b) {
  b.warps.assign(static_cast<std::size_t>((b.threads + 31) / 32), Warp{});
  b.at_barrier = b.at_phase = 0;
  b.hopper.reset(), b.when_stuck = nullptr;
  int alive = b.threads;
  for (int i = 0; i < b.threads; ++i) {
    Thread& t = run.threads[static_cast<std::size_t>(i)];
    t.index = i, t.done = false;
    t.landing.assign(1, {});
    t.stack_pointer = fresh_stack(run.stacks + static_cast<std::size_t>(i) * kStackBytes, thread_main);
  }
  while (alive > 0) {
    const std::uint64_t before = run.progress;
    // Forwards all threads move on side by side. Backwards each warp runs as far as it can before the next one does:
    // warps that wait for each other nowhere are then far apart.
    for (int first = 0; first < b.threads; first += 32) {
      std::uint64_t so_far;
      do {
        so_far = run.progress;
        for (int i = first; i < first + 32 && i < b.threads; ++i) {
          Thread& t = run.threads[static_cast<std::size_t>(mode().backwards ? b.threads - 1 - i : i)];
          if (t.done) continue;
          resume(t);
          alive -= t.done;
          if (!run.error.empty()) return;
        }
      } while (mode().backwards && run.progress != so_far);
    }
    if (run.progress == before && !(b.when_stuck && b.when_stuck())) {
      run.error = "deadlock: " + std::to_string(alive) + " of " + std::to_string(b.threads) + " threads of block " +
                  std::to_string(b.index) + " wait, " + std::to_string(b.at_barrier) + " of them at sync() and " +
                  std::to_string(b.at_phase) + " for barriers in shared memory";
      return;
    }
  }
}

}  // namespace

void made_progress() { ++run.progress; }

void yield() {
  leave(&thread->sanitizer_stack, run.scheduler_stack, run.scheduler_stack_bytes);
  switch_stack(&thread->stack_pointer, run.scheduler);
  arrive(thread->sanitizer_stack, &run.scheduler_stack, &run.scheduler_stack_bytes);
}

void fail(const char* what) {
  run.error =
      std::string(what) + " in block " + std::to_string(block->index) + ", thread " + std::to_string(thread->index);
  yield();       // the scheduler sees the error and gives up the grid
  std::abort();  // so nobody comes back
}

std::string run_grid(int blocks, int threads, std::int64_t shared_bytes, const std::function<void()>& body) {
  if (threads < 1 || threads > kMaxThreads) return "a block has 1 to 1024 threads";
  if (shared_bytes > kMaxSharedBytes) return "a block has at most 232448 bytes of shared memory";
  static std::mutex one_grid_at_a_time;
  const std::lock_guard<std::mutex> lock(one_grid_at_a_time);
  if (!run.stacks) {
    void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return "no memory for the stacks of the threads";
    run.stacks = static_cast<unsigned char*>(memory);
  }
  run.body = &body;
  run.error.clear();
  run.threads.resize(static_cast<std::size_t>(threads));
  // Exactly as large as asked for, so that AddressSanitizer sees what runs over.
  constexpr std::size_t kAlignment = 128;
  const auto bytes = static_cast<std::size_t>(shared_bytes);
  auto* memory = static_cast<unsigned char*>(::operator new(bytes, std::align_val_t{kAlignment}));
  Block b;
  b.blocks = blocks, b.threads = threads, b.shared = memory, b.shared_bytes = shared_bytes;
  block = &b;
  for (int i = 0; i < blocks && run.error.empty(); ++i) {
    b.index = mode().backwards ? blocks - 1 - i : i;
    // What was never written shall be seen: NaN, and backwards or if copies land late a number, since kernels mend
    // sums that are NaN.
    std::memset(memory, mode().backwards || mode().late_landing ? 0x4b : 0xff, bytes);
    run_block(b);
    if (counting_accesses) count_block();
  }
  block = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(run.stacks, kMaxThreads * kStackBytes);  // of threads that were given up
#endif
  ::operator delete(memory, std::align_val_t{kAlignment});
  return run.error;
}

}  // namespace emulator
}  // namespace cuda
}  // namespace fastconv
