// How work is shared: `parallel_for` runs numbered tasks on the OpenMP threads. Which thread runs a task never changes
// a result, because every output element belongs to one task and reductions are split by shape.
#pragma once

#include <cstdint>
#include <type_traits>

namespace fastconv {

// The number of threads that a call may use: the thread-local override, else the process-wide count; 1 in a forked
// child, where the OpenMP runtime's threads no longer exist and waiting for them would hang.
int max_threads();
void set_num_threads(int count);  // count >= 1
int push_num_threads(int count);  // sets the thread-local override, returns the previous one (0 = none)
void pop_num_threads(int previous);
const char* openmp_description();

// Threads worth waking for `operations` of work: a region costs about a microsecond, so each gets at least some.
int threads_for(double operations);
// The same for work bound by memory: about 100 kB are worth a thread.
inline int threads_for_bytes(double bytes) { return threads_for(3.0 * bytes); }

using TaskFunction = void (*)(void* context, std::int64_t task, int thread);
void run_tasks(std::int64_t tasks, int threads, TaskFunction function, void* context) noexcept;

// function(task, thread) for every task in [0, tasks), thread in [0, threads); contiguous shares. It must not throw and
// must not allocate: get scratch before.
template <class Function>
void parallel_for(std::int64_t tasks, int threads, Function&& function) {
  using F = std::remove_reference_t<Function>;
  run_tasks(
      tasks, threads, [](void* context, std::int64_t task, int thread) { (*static_cast<F*>(context))(task, thread); },
      const_cast<void*>(static_cast<const void*>(&function)));
}

}  // namespace fastconv
