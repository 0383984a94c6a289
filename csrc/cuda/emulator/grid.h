// The emulator: runs a grid on the CPU, one fiber per thread, block after block.
//
// It shows what a kernel computes, reads and waits for, and how it touches memory (accesses.h). It cannot show speed or
// races between warps that truly run at once; the modes below make the races visible that matter most.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fastconv {
namespace cuda {
namespace emulator {

// How the freedom that hardware has is used. A kernel must be right in every mode: early landing hides a wait that
// is too short, late landing hides a copy over values that are still read; the order of threads hides either.
struct Mode {
  bool late_landing = false;    // asynchronous copies land when they are waited for, not when they are issued
  bool backwards = false;       // threads and blocks run from the last to the first
  std::string launch_error;     // if not empty, what every launch fails with
  int compute_capability = 90;  // what drivers find when they choose a kernel
  int multiprocessors = 132;
  bool tensor_maps = true;  // whether there is a driver that makes them
  bool launches = true;     // else kernels are not run: what is left of a call is the host's part of it
  // The tile that exact convolutions take whatever would be best, if not 0, and whether they split where they can.
  int simt_rows = 0, simt_columns = 0;
  bool simt_split = false;
};
Mode& mode();

struct Copy {
  void* to;
  const void* from;  // null: zeros
  int bytes;
};

struct Thread {
  int index = 0;
  void* stack_pointer = nullptr;
  bool done = false;
  std::vector<std::vector<Copy>> landing;  // groups of copies on the way, the oldest first; the last one is open
  void* sanitizer_stack = nullptr;
};

// What a lane shows the others of its warp.
struct Slot {
  std::uint64_t words[6];
};

// Where the threads of a warp meet. They may be one meeting apart, so there are two boards in turn.
struct Warp {
  Slot board[2][32];
  int arrived[2] = {0, 0};
  std::uint64_t meetings[32] = {};  // of each lane so far
};

struct Hopper;

struct Block {
  int index = 0, blocks = 0, threads = 0;
  unsigned char* shared = nullptr;
  std::int64_t shared_bytes = 0;
  int at_barrier = 0, at_phase = 0;  // threads that wait for all, or for a barrier in shared memory
  std::uint64_t barriers = 0;        // passed so far
  std::vector<Warp> warps;
  std::shared_ptr<Hopper> hopper;  // barriers, copies and products on the way, if the kernel has any
  bool (*when_stuck)() = nullptr;  // what may go on by itself while all threads wait; false: nothing
};

extern Block* block;  // what runs now
extern Thread* thread;

// Runs body on blocks * threads fibers. Returns what went wrong, or nothing.
std::string run_grid(int blocks, int threads, std::int64_t shared_bytes, const std::function<void()>& body);

void yield();                              // let the other threads run
void made_progress();                      // something happened that another thread may wait for
[[noreturn]] void fail(const char* what);  // ends the whole grid

template <class Condition>
void wait_until(Condition&& condition) {
  while (!condition()) yield();
}

// Writes a value on the warp's board and returns all 32 once everybody did.
template <class T>
const Slot* exchange(const T& value) {
  static_assert(sizeof(T) <= sizeof(Slot), "one slot each");
  Warp& w = block->warps[static_cast<std::size_t>(thread->index / 32)];
  const int lane = thread->index % 32;
  const auto side = w.meetings[lane]++ % 2;
  const int members = block->threads - thread->index / 32 * 32 < 32 ? block->threads % 32 : 32;
  if (w.arrived[side] == members) w.arrived[side] = 0;  // the first one here for the next meeting on this side
  std::memcpy(&w.board[side][lane], &value, sizeof(T));
  ++w.arrived[side];
  made_progress();
  wait_until([&] { return w.arrived[side] == members; });
  return w.board[side];
}

}  // namespace emulator
}  // namespace cuda
}  // namespace fastconv
