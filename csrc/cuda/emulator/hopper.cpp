#include <algorithm>
#include <deque>
#include <map>
#include <unordered_map>

#include "cuda/hopper.h"

namespace fastconv {
namespace cuda {
namespace emulator {

namespace {

// An mbarrier. The memory of it holds a mark only, which shows whether somebody wrote over it.
struct BarrierState {
  int arrivals = 0, missing = 0;
  std::int64_t bytes = 0;  // still to land; below 0 if they landed before they were expected
  unsigned phase = 0;
  int initialised_by = 0;
  bool announced = false;
};
constexpr std::uint64_t kMark = 0x6261727269657221;

struct Landing {
  TensorMap map;
  std::int32_t at[4], tap[2];
  unsigned char* to;
  BarrierState* barrier;
};

// What a thread's array of sums really holds while the array itself is NaN.
struct Sums {
  std::vector<float> values;
  int on_the_way = 0;  // products
};

struct Product {
  Operand type;
  bool turns_a, turns_b;
  int columns;
  std::uint64_t a, b;
  int arrived = 0;
  bool done = false;
  Sums* sums[kWarpgroup];
};

struct ThreadState {
  std::map<float*, Sums> sums;
  std::vector<std::pair<std::size_t, float*>> open;                // products and their sums since the last commit
  std::deque<std::vector<std::pair<std::size_t, float*>>> groups;  // on the way
  std::size_t products = 0;                                        // started so far
  bool fenced = false;
};

struct Warpgroup {
  std::deque<Product> products;
  std::size_t multiplied = 0;
};

}  // namespace

struct Hopper {
  std::unordered_map<const void*, BarrierState> barriers;  // addresses of elements do not change
  std::vector<Landing> landings;
  std::vector<ThreadState> threads;
  std::vector<Warpgroup> warpgroups;
  std::uint64_t random = 0;

  // Below n; the same in every run.
  std::size_t any(std::size_t n) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(random >> 33) % n;
  }
};

namespace {

bool land_one();

Hopper& hopper() {
  Block& b = *block;
  if (!b.hopper) {
    b.hopper = std::make_shared<Hopper>();
    b.hopper->threads.resize(static_cast<std::size_t>(b.threads));
    b.hopper->warpgroups.resize(static_cast<std::size_t>((b.threads + kWarpgroup - 1) / kWarpgroup));
    b.hopper->random = static_cast<std::uint64_t>(b.index);
    b.when_stuck = land_one;
  }
  return *b.hopper;
}
ThreadState& own() { return hopper().threads[static_cast<std::size_t>(thread->index)]; }

BarrierState& state_of(Barrier& b) {
  const auto found = hopper().barriers.find(&b);
  if (found == hopper().barriers.end() || b.bits != kMark) fail("a barrier that was not initialised, or written over");
  return found->second;
}

void advance(BarrierState& b) {
  made_progress();
  if (b.missing > 0 || b.bytes != 0) return;
  b.missing = b.arrivals;
  b.phase ^= 1;
}

unsigned char* in_shared(std::uint32_t address, std::int64_t bytes) {
  const std::int64_t at = static_cast<std::int64_t>(address) - kSharedWindow;
  if (at < 0 || at + bytes > block->shared_bytes) fail("an address outside of shared memory");
  return block->shared + at;
}

// The swizzle of 128 bytes: three bits of the address choose among eight pieces of 16 bytes.
std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

std::uint32_t round_tf32_to_even(std::uint32_t bits) {
  if ((bits & 0x7f800000) == 0x7f800000) return bits;  // Inf, NaN
  return (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
}

std::int64_t box_bytes(const TensorMap& m) {
  const std::int64_t elements =
      m.im2col ? std::int64_t{m.channels} * m.pixels : std::int64_t{m.box[0]} * m.box[1] * m.box[2];
  return elements * m.element_bytes;
}

// One element of a box to its place; zero where it lies outside of the array.
void land_element(const Landing& l, std::int64_t number, const std::int64_t (&at)[4]) {
  const TensorMap& m = l.map;
  const std::uint32_t place = swizzled(shared_address(l.to) + static_cast<std::uint32_t>(number * m.element_bytes));
  unsigned char* const to = block->shared + (place - kSharedWindow);
  const unsigned char* from = m.address;
  bool inside = true;
  for (int i = 0; i < m.rank; ++i) {
    inside = inside && at[i] >= 0 && at[i] < m.dims[i];
    from += at[i] * m.strides[i];
  }
  if (!inside) {
    std::memset(to, 0, static_cast<std::size_t>(m.element_bytes));
  } else if (m.to_tf32) {
    std::uint32_t bits;
    std::memcpy(&bits, from, sizeof(bits));
    bits = round_tf32_to_even(bits);
    std::memcpy(to, &bits, sizeof(bits));
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(m.element_bytes));
  }
}

void land_box(const Landing& l) {
  const TensorMap& m = l.map;
  std::int64_t number = 0;
  if (m.im2col) {
    // Positions of the first tap go on along w between the corners, then h, then n.
    std::int64_t w = l.at[1], h = l.at[2], n = l.at[3];
    for (std::int32_t pixel = 0; pixel < m.pixels; ++pixel) {
      for (std::int32_t c = 0; c < m.channels; ++c)
        land_element(l, number++, {l.at[0] + c, w + l.tap[0], h + l.tap[1], n});
      w += m.steps[0];
      if (w >= m.dims[1] + m.upper[0]) w = m.lower[0], h += m.steps[1];
      if (h >= m.dims[2] + m.upper[1]) h = m.lower[1], ++n;
    }
  } else {
    for (std::int32_t z = 0; z < m.box[2]; ++z)
      for (std::int32_t y = 0; y < m.box[1]; ++y)
        for (std::int32_t x = 0; x < m.box[0]; ++x)
          land_element(l, number++, {l.at[0] + x, l.at[1] + y, l.at[2] + z, 0});
  }
  l.barrier->bytes -= box_bytes(m);
  advance(*l.barrier);
}

// One of the copies on the way: the oldest, or backwards any.
bool land_one() {
  Hopper& h = hopper();
  if (h.landings.empty()) return false;
  const std::size_t which = mode().backwards ? h.any(h.landings.size()) : 0;
  const Landing landing = h.landings[which];
  h.landings.erase(h.landings.begin() + static_cast<std::ptrdiff_t>(which));
  land_box(landing);
  return true;
}

float operand(Operand type, const unsigned char* from) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, from, type == Operand::kTf32 ? 4 : 2);
  return type == Operand::kTf32       ? detail::from_bits(bits & ~0x1fffu)
         : type == Operand::kBFloat16 ? to_float(BFloat16{static_cast<std::uint16_t>(bits)})
                                      : to_float(Float16{static_cast<std::uint16_t>(bits)});
}

// Rows (columns) of an operand as the descriptor says they lie, as [k][line].
void read_operand(Operand type, bool turned, std::uint64_t descriptor, int lines, std::vector<float>& to) {
  const auto field = [&](int from, int bits) {
    return static_cast<std::uint32_t>(descriptor >> from & ((1u << bits) - 1));
  };
  const std::uint32_t start = field(0, 14) * 16, leading = field(16, 14) * 16, apart = field(32, 14) * 16;
  const std::uint32_t mode = field(62, 2);
  if (mode != 0 && mode != 1) fail("a swizzle that the emulator does not know");
  if (field(49, 3) != 0) fail("a base offset that the emulator does not know");
  if (mode == 1 && start / 128 % 8 != 0)
    fail("eight lines that do not begin on a multiple of 1024, and no base offset");
  const int bytes = type == Operand::kTf32 ? 4 : 2, depth = 32 / bytes;
  to.resize(static_cast<std::size_t>(depth * lines));
  for (int line = 0; line < lines; ++line) {
    const auto group = static_cast<std::uint32_t>(line / 8) * apart;
    const auto row = static_cast<std::uint32_t>(line % 8);
    for (int k = 0; k < depth; ++k) {
      const auto along = static_cast<std::uint32_t>(k * bytes);
      // Without a swizzle eight lines of 16 bytes lie side by side, and `leading` leads to the next 16 bytes of depth.
      std::uint32_t address = mode == 1 ? swizzled(start + group + row * 128 + along)
                                        : start + group + row * 16 + along / 16 * leading + along % 16;
      if (turned) {  // 128 bytes of lines at one depth, eight depths, and `apart` leads to eight more
        const auto wide = mode == 1 ? 64u : 8u, at = static_cast<std::uint32_t>(line),
                   depth_at = static_cast<std::uint32_t>(k);
        const std::uint32_t block = at / wide * (mode == 1 ? leading : apart);
        const std::uint32_t eight = depth_at / 8 * (mode == 1 ? apart : leading);
        address = start + block + eight + depth_at % 8 * wide * 2 + at % wide * 2;
        if (mode == 1) address = swizzled(address);
      }
      to[static_cast<std::size_t>(k * lines + line)] = operand(type, in_shared(address, bytes));
    }
  }
}

__attribute__((optimize("O3"))) void multiply(const float* a, const float* b, int depth, int columns, double* to) {
  for (int row = 0; row < 64; ++row) {
    double* const sums = to + row * columns;
    for (int k = 0; k < depth; ++k) {
      const double factor = a[k * 64 + row];
      for (int column = 0; column < columns; ++column) sums[column] += factor * b[k * columns + column];
    }
  }
}

void run_product(Product& p) {
  static std::vector<float> a, b;
  static std::vector<double> sums;
  read_operand(p.type, p.turns_a, p.a, 64, a), read_operand(p.type, p.turns_b, p.b, p.columns, b);
  sums.assign(static_cast<std::size_t>(64 * p.columns), 0);
  multiply(a.data(), b.data(), p.type == Operand::kTf32 ? 8 : 16, p.columns, sums.data());
  for (int i = 0; i < kWarpgroup; ++i) {
    std::vector<float>& held = p.sums[i]->values;
    const int row = i / 32 * 16 + i % 32 / 4, column = i % 4 * 2;
    for (int j = 0; j < p.columns / 2; ++j) {
      const int at = (row + j / 2 % 2 * 8) * p.columns + j / 4 * 8 + column + j % 2;
      float& sum = held[static_cast<std::size_t>(j)];
      sum = cut_off(sum + sums[static_cast<std::size_t>(at)]);
    }
  }
  p.done = true;
}

// All products of the warpgroup before this number, which all its threads have started.
void run_products(Warpgroup& w, std::size_t end) {
  for (; w.multiplied < end; ++w.multiplied) run_product(w.products[w.multiplied]);
}

}  // namespace

void start_product(Operand type, bool turns_a, bool turns_b, float* sums, int count, std::uint64_t a, std::uint64_t b) {
  Hopper& h = hopper();
  ThreadState& t = own();
  if (block->threads % kWarpgroup != 0) fail("a warpgroup with less than 128 threads");
  if (t.open.empty() && !t.fenced) fail("wgmma without wgmma_fence() before it");
  t.fenced = false;
  Sums& held = t.sums[sums];
  if (held.on_the_way++ == 0) {
    held.values.assign(sums, sums + count);
    std::fill(sums, sums + count, not_a_number());
  }
  Warpgroup& w = h.warpgroups[static_cast<std::size_t>(warpgroup())];
  const std::size_t number = t.products++;
  if (number == w.products.size()) w.products.push_back({type, turns_a, turns_b, 2 * count, a, b, 0, false, {}});
  Product& p = w.products[number];
  if (p.type != type || p.turns_a != turns_a || p.turns_b != turns_b || p.columns != 2 * count || p.a != a || p.b != b)
    fail("threads of a warpgroup that disagree about wgmma");
  p.sums[thread->index % kWarpgroup] = &held;
  t.open.emplace_back(number, sums);
  made_progress();
  if (++p.arrived < kWarpgroup) return;
  const bool at_once = mode().late_landing ? !mode().backwards || h.any(2) : mode().backwards;
  if (at_once) run_products(w, number + 1);
}

void wait_products(int groups_on_the_way) {
  ThreadState& t = own();
  Warpgroup& w = hopper().warpgroups[static_cast<std::size_t>(warpgroup())];
  while (t.groups.size() > static_cast<std::size_t>(groups_on_the_way)) {
    for (const auto& [number, sums] : t.groups.front()) {
      const std::size_t which = number;
      wait_until([&] { return w.products[which].arrived == kWarpgroup; });
      run_products(w, number + 1);
      Sums& held = t.sums[sums];
      if (--held.on_the_way == 0) std::copy(held.values.begin(), held.values.end(), sums);
    }
    t.groups.pop_front();
  }
}

void load_box(void* to, const TensorMap& map, Barrier& b, const std::int32_t (&at)[4], std::int32_t tap_w,
              std::int32_t tap_h) {
  check_aligned(to, 16);
  if (shared_address(to) % 128 != 0) fail("a box at an address that is not a multiple of 128");
  BarrierState& barrier = state_of(b);
  if (!barrier.announced) fail("a barrier that TMA cannot see, without barrier_init_done()");
  if (tap_w < 0 || tap_w > 255 || tap_h < 0 || tap_h > 255) fail("a tap that is not in 8 bits");
  Landing landing{map, {at[0], at[1], at[2], at[3]}, {tap_w, tap_h}, static_cast<unsigned char*>(to), &barrier};
  const std::int64_t bytes = box_bytes(map);
  std::memset(in_shared(shared_address(to), bytes), 0xff, static_cast<std::size_t>(bytes));
  if (mode().late_landing) {
    hopper().landings.push_back(landing);
    made_progress();
  } else {
    land_box(landing);
  }
}

}  // namespace emulator

using emulator::hopper;
using emulator::own;

std::uint32_t shared_address(const void* p) {
  return emulator::kSharedWindow +
         static_cast<std::uint32_t>(static_cast<const unsigned char*>(p) - emulator::block->shared);
}

void barrier_init(Barrier& b, int arrivals) {
  check_aligned(&b, sizeof(b));
  if (arrivals < 1) emulator::fail("a barrier for nobody");
  b.bits = emulator::kMark;
  emulator::BarrierState& state = hopper().barriers[&b];
  state = {arrivals, arrivals, 0, 0, emulator::thread->index, false};
}
void barrier_init_done() {
  for (auto& [address, state] : hopper().barriers)
    if (state.initialised_by == emulator::thread->index) state.announced = true;
}
void barrier_arrive(Barrier& b) {
  emulator::BarrierState& state = emulator::state_of(b);
  if (--state.missing < 0) emulator::fail("more arrivals at a barrier than it was initialised for");
  emulator::advance(state);
}
void barrier_expect(Barrier& b, int bytes) {
  emulator::state_of(b).bytes += bytes;
  barrier_arrive(b);
}
void barrier_wait(Barrier& b, unsigned parity) {
  const emulator::BarrierState& state = emulator::state_of(b);
  ++emulator::block->at_phase;
  emulator::wait_until([&] {
    if (state.phase != parity) return true;
    if (emulator::mode().backwards && emulator::mode().late_landing && hopper().any(64) == 0) emulator::land_one();
    return state.phase != parity;
  });
  --emulator::block->at_phase;
}

void wgmma_fence() { own().fenced = true; }
void wgmma_commit() {
  emulator::ThreadState& t = own();
  t.groups.push_back(std::move(t.open));
  t.open.clear();
}

}  // namespace cuda
}  // namespace fastconv
