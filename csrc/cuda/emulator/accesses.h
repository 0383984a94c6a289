// Counts how kernels touch memory, a warp at a time: what the hardware needs beside the least that the bytes need.
//
//   shared memory   turns: 32 banks of 4 bytes, each of which gives one word a turn. 32 lanes go together if they ask
//                   for up to 4 bytes each, 16 for 8, 8 for 16.
//   global memory   sectors of 32 bytes that a warp's addresses lie in
//
// Only what goes through load(), store(), cp_async() and load_matrices() is seen. Accesses of the lanes of a warp
// belong together if they come from the same line of a kernel and are each lane's n-th from there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fastconv {
namespace cuda {
namespace emulator {

enum class AccessKind : unsigned char { load, store };

// One line of a kernel that touches memory.
struct AccessCounts {
  std::string file;
  int line = 0;
  bool shared = false, store = false;
  std::int64_t requests = 0;  // of warps
  std::int64_t needed = 0;    // turns or sectors
  std::int64_t least = 0;     // for as many different bytes
};

// What one request needs, and the least: the addresses of up to 32 lanes, in shared memory from its beginning.
struct AccessCost {
  std::int64_t needed, least;
};
AccessCost access_cost(const std::vector<std::int64_t>& addresses, int bytes, bool shared);

extern bool counting_accesses;
void start_counting();
std::vector<AccessCounts> stop_counting();  // since the last start, sorted by file and line

// By the running thread; `where` names a file that outlives the count.
void count_access(const void* address, int bytes, AccessKind kind, const char* where, int line);
void count_block();  // the running block is over

}  // namespace emulator
}  // namespace cuda
}  // namespace fastconv
