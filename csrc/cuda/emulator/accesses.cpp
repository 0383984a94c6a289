#include "cuda/emulator/accesses.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "cuda/emulator/grid.h"

namespace fastconv {
namespace cuda {
namespace emulator {

bool counting_accesses = false;

namespace {

using Line = std::tuple<std::string, int, bool, bool>;  // file, line, shared, store

// The lanes that touch memory together: the n-th time that each comes along a line.
struct Request {
  int warp;
  const char* where;
  int line;
  bool shared, store;
  std::int64_t number;
  bool operator<(const Request& o) const {
    return std::tie(warp, where, line, shared, store, number) <
           std::tie(o.warp, o.where, o.line, o.shared, o.store, o.number);
  }
};
struct Touched {
  std::array<std::int64_t, 32> addresses;
  std::uint32_t lanes = 0;  // bits
  int bytes = 0;
};

struct Counting {
  std::map<Line, AccessCounts> lines;
  std::map<Request, Touched> requests;                                           // of the running block
  std::map<std::tuple<int, const char*, int, bool, bool>, std::int64_t> so_far;  // by thread and line
} counting;

std::vector<std::int64_t> different(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// The units of `size` bytes that lanes [first, last) touch.
std::vector<std::int64_t> units(const Touched& t, int first, int last, int size) {
  std::vector<std::int64_t> found;
  for (int lane = first; lane < last; ++lane) {
    if (!(t.lanes >> lane & 1)) continue;
    const std::int64_t at = t.addresses[static_cast<std::size_t>(lane)];
    for (std::int64_t unit = at / size; unit <= (at + t.bytes - 1) / size; ++unit) found.push_back(unit);
  }
  return different(std::move(found));
}

std::int64_t at_least(const std::vector<std::int64_t>& found, std::int64_t at_once) {
  return (static_cast<std::int64_t>(found.size()) + at_once - 1) / at_once;
}

AccessCost cost_of(const Touched& t, bool shared) {
  if (!shared) return {at_least(units(t, 0, 32, 32), 1), at_least(units(t, 0, 32, 1), 32)};
  AccessCost cost{0, 0};
  const int together = t.bytes <= 4 ? 32 : 128 / t.bytes;
  for (int first = 0; first < 32; first += together) {
    const auto words = units(t, first, first + together, 4);
    std::array<std::int64_t, 32> banks{};
    for (const std::int64_t word : words) ++banks[static_cast<std::size_t>(word % 32)];
    cost.needed += *std::max_element(banks.begin(), banks.end());
    cost.least += at_least(words, 32);
  }
  return cost;
}

}  // namespace

AccessCost access_cost(const std::vector<std::int64_t>& addresses, int bytes, bool shared) {
  Touched t;
  t.bytes = bytes;
  for (const std::int64_t address : addresses) {
    t.addresses[static_cast<std::size_t>(__builtin_popcount(t.lanes))] = address;
    t.lanes = t.lanes << 1 | 1;
  }
  return cost_of(t, shared);
}

void start_counting() { counting = {}, counting_accesses = true; }

std::vector<AccessCounts> stop_counting() {
  counting_accesses = false;
  std::vector<AccessCounts> result;
  for (auto& [line, counts] : counting.lines) result.push_back(std::move(counts));
  counting = {};
  return result;
}

void count_access(const void* address, int bytes, AccessKind kind, const char* where, int line) {
  const auto* at = static_cast<const unsigned char*>(address);
  const bool shared = at >= block->shared && at < block->shared + block->shared_bytes;
  const bool store = kind == AccessKind::store;
  const std::int64_t number = counting.so_far[{thread->index, where, line, shared, store}]++;
  Touched& t = counting.requests[{thread->index / 32, where, line, shared, store, number}];
  const int lane = thread->index % 32;
  t.lanes |= std::uint32_t{1} << lane, t.bytes = bytes;
  t.addresses[static_cast<std::size_t>(lane)] =
      shared ? at - block->shared : static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(at));
}

void count_block() {
  for (const auto& [request, touched] : counting.requests) {
    std::string file(request.where);
    file.erase(0, file.rfind('/') + 1);
    AccessCounts& c = counting.lines[{file, request.line, request.shared, request.store}];
    c.file = file, c.line = request.line, c.shared = request.shared, c.store = request.store;
    const AccessCost cost = cost_of(touched, request.shared);
    ++c.requests, c.needed += cost.needed, c.least += cost.least;
  }
  counting.requests.clear(), counting.so_far.clear();
}

}  // namespace emulator
}  // namespace cuda
}  // namespace fastconv
