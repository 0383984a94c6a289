// What sm_90a has beyond mma.h, as part of the device layer: barriers in shared memory, copies of whole boxes by the
// tensor memory accelerator (TMA), and products of a warpgroup, 128 threads, that read their operands from shared
// memory.
//
//   warpgroup()                 which 128 threads of the block
//   shared_address(p)           where p lies in shared memory, as descriptors and swizzles count it
//   barrier_init(b, arrivals)   by one thread; then barrier_init_done() by the same, then sync()
//   barrier_arrive(b)           one arrival of this phase
//   barrier_expect(b, bytes)    one arrival, and the phase lasts until so many bytes have been copied, too
//   barrier_wait(b, parity)     until the phase of this parity is over; the first one is 0, and before it 1 is over
//   tma_load(to, map, b, c, tap, column)    a box of a map of three dimensions; what lies outside is 0. One thread
//   asks,
//                               the bytes land whenever they do, all of the box is counted on b
//   tma_load_im2col(to, map, b, c, w, h, n, tap_w, tap_h)    the pixels under one tap of as many outputs as the map has
//                               in a column, from the one whose first tap meets (w, h, n) on
//   registers_decrease<n>() registers_increase<n>()    by all threads of a warpgroup: from now on each has n registers
//   wgmma_fence()               before the first product of a group: registers are as written
//   wgmma<T>(sums, a, b)        sums += a * b, 64 x 2 size(sums), 32 bytes deep, of T = BFloat16, Float16, or float as
//                               TF32 (of which 10 bits of mantissa count). Asynchronous: sums are nobody's until waited
//                               for
//   wgmma<T, turns_a, turns_b>  the same of 16-bit operands of which a, b or both lie turned in shared memory: with
//   rows
//                               (columns) inside, not depth
//   fence_to_async()            by every thread that has written shared memory itself, before TMA or wgmma read it
//   wgmma_commit()              closes a group of products
//   wgmma_wait<n>(sums)         until at most n groups are on the way; with n = 0 sums are there
//
// A thread of the warpgroup holds of its 64 rows, with w = warp() % 4, r = lane() / 4 and c = lane() % 4:
//   sums[4 j], sums[4 j + 1] = (16 w + r, 8 j + 2 c), (16 w + r, 8 j + 2 c + 1); sums[4 j + 2], sums[4 j + 3] the same
//   eight rows further (PTX ISA, "Register Fragments for wgmma.mma_async").
#pragma once

#include <cstdint>

#include "cuda/mma.h"
#include "cuda/tensor_map_type.h"

namespace fastconv {
namespace cuda {

constexpr int kWarpgroup = 128;  // threads

// In shared memory, aligned to its size.
struct Barrier {
  std::uint64_t bits;
};

}  // namespace cuda
}  // namespace fastconv

#if defined(__CUDACC__)
#include "cuda/hopper_nvcc.h"
#else
#include "cuda/emulator/hopper_emulated.h"
#endif
