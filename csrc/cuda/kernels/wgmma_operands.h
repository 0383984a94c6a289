// How operands of wgmma lie in shared memory here: lines of 128 bytes, piece i of 16 bytes of line r at place
// i ^ (r % 8), as TMA writes them with its swizzle of 128 bytes. Groups of eight lines begin on multiples of 1024.
//
// A line is 128 bytes of depth of one row (column) of the product. Or, if a 16-bit operand is turned ("MN-major"), it
// is 64 rows (columns) at one depth: then 64 lines are a block, and behind it comes that of the next 64. Either way 64
// rows (columns) of a slab take 8 KB.
#pragma once

#include "cuda/hopper.h"

namespace fastconv {
namespace cuda {

constexpr int kWgmmaLineBytes = 128, kWgmmaAlignment = 1024;
constexpr int kWgmmaBlock = 64, kWgmmaBlockBytes = kWgmmaBlock * kWgmmaLineBytes;
constexpr int kWgmmaStepBytes = 32;  // of depth, that one instruction takes
constexpr int kWgmmaStepLines = 16;  // the same of an operand that is turned

// The matrix descriptor of lines from here on (PTX ISA, "Matrix descriptor for wgmma"): address, distance of blocks
// (which only turned operands have), distance of groups of eight lines, swizzle mode; all in units of 16 bytes.
template <bool turned = false>
FASTCONV_DEVICE std::uint64_t wgmma_descriptor(const void* lines) {
  constexpr std::uint64_t kGroupsApart = 8 * kWgmmaLineBytes / 16, kSwizzle128 = 1;
  constexpr std::uint64_t kBlocksApart = turned ? kWgmmaBlockBytes / 16 : 1;
  return (shared_address(lines) & 0x3ffff) / 16 | kBlocksApart << 16 | kGroupsApart << 32 | kSwizzle128 << 62;
}
// The same lines, so many steps further in depth.
template <bool turned = false>
FASTCONV_DEVICE std::uint64_t wgmma_advance(std::uint64_t descriptor, int steps) {
  constexpr int kStep = (turned ? kWgmmaStepLines * kWgmmaLineBytes : kWgmmaStepBytes) / 16;
  return descriptor + static_cast<std::uint64_t>(steps * kStep);
}

// The first place of the block's shared memory where such lines may begin.
FASTCONV_DEVICE unsigned char* wgmma_shared() {
  unsigned char* const p = shared<unsigned char>();
  return p + (kWgmmaAlignment - shared_address(p) % kWgmmaAlignment) % kWgmmaAlignment;
}

}  // namespace cuda
}  // namespace fastconv
