// How operands of wgmma lie in shared memory here: lines of 128 bytes of depth, piece i of 16 bytes of line r at place
// i ^ (r % 8), as TMA writes them with its swizzle of 128 bytes. Groups of eight lines begin on multiples of 1024.
#pragma once

#include "cuda/hopper.h"

namespace fastconv {
namespace cuda {

constexpr int kWgmmaLineBytes = 128, kWgmmaAlignment = 1024;
constexpr int kWgmmaStepBytes = 32;  // of depth, that one instruction takes

// The matrix descriptor of lines from here on (PTX ISA, "Matrix descriptor for wgmma"): address, unused offset,
// distance of groups of eight lines, swizzle mode; all in units of 16 bytes.
FASTCONV_DEVICE std::uint64_t wgmma_descriptor(const void* lines) {
  constexpr std::uint64_t kGroupsApart = 8 * kWgmmaLineBytes / 16, kSwizzle128 = 1;
  return (shared_address(lines) & 0x3ffff) / 16 | std::uint64_t{1} << 16 | kGroupsApart << 32 | kSwizzle128 << 62;
}
// The same lines, so many steps further in depth.
FASTCONV_DEVICE std::uint64_t wgmma_advance(std::uint64_t descriptor, int steps) {
  return descriptor + static_cast<std::uint64_t>(steps * (kWgmmaStepBytes / 16));
}

// The first place of the block's shared memory where such lines may begin.
FASTCONV_DEVICE unsigned char* wgmma_shared() {
  unsigned char* const p = shared<unsigned char>();
  return p + (kWgmmaAlignment - shared_address(p) % kWgmmaAlignment) % kWgmmaAlignment;
}

}  // namespace cuda
}  // namespace fastconv
