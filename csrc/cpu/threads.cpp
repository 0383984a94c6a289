#include "cpu/threads.h"

#include <algorithm>
#include <atomic>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fastconv {

namespace {

std::atomic<int> g_threads{1};
std::atomic<bool> g_team_started{false};  // the runtime has threads of its own
std::atomic<bool> g_forked{false};        // ... and a fork has lost them
thread_local int t_override = 0;

struct ForkGuard {
  ForkGuard() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { g_forked.store(g_team_started.load()); });
#endif
  }
};
const ForkGuard g_fork_guard;

// About 10,000 vector multiply-adds: below this a thread costs more than it brings.
constexpr double kOperationsPerThread = 320e3;

}  // namespace

int max_threads() {
  if (g_forked.load(std::memory_order_relaxed)) return 1;
  return t_override > 0 ? t_override : g_threads.load(std::memory_order_relaxed);
}

void set_num_threads(int count) { g_threads.store(std::max(1, count)); }

int push_num_threads(int count) {
  const int previous = t_override;
  t_override = std::max(1, count);
  return previous;
}

void pop_num_threads(int previous) { t_override = previous; }

const char* openmp_description() {
#if defined(_OPENMP)
  static_assert(_OPENMP >= 201107, "OpenMP 3.1 or newer");
  return "OpenMP";
#else
  return "none (single-threaded build)";
#endif
}

int threads_for(double operations) {
  const double worth = operations / kOperationsPerThread;
  const int most = max_threads();
  return worth >= most ? most : std::max(1, static_cast<int>(worth));
}

void run_tasks(std::int64_t tasks, int threads, TaskFunction function, void* context) noexcept {
  threads = static_cast<int>(std::min<std::int64_t>(threads, tasks));
  if (threads <= 1) {
    for (std::int64_t task = 0; task < tasks; ++task) function(context, task, 0);
    return;
  }
#if defined(_OPENMP)
  g_team_started.store(true, std::memory_order_relaxed);
#pragma omp parallel num_threads(threads)
  {
    // The runtime may grant fewer threads than asked for: shares follow what it granted.
    const int count = omp_get_num_threads(), thread = omp_get_thread_num();
    const std::int64_t begin = tasks * thread / count, end = tasks * (thread + 1) / count;
    for (std::int64_t task = begin; task < end; ++task) function(context, task, thread);
  }
#else
  for (std::int64_t task = 0; task < tasks; ++task) function(context, task, 0);
#endif
}

}  // namespace fastconv
