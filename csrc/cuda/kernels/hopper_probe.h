// One copy by TMA, and the products of one slab by a warpgroup, each by itself.
#pragma once

#include "cuda/kernels/wgmma_operands.h"

namespace fastconv {
namespace cuda {

struct TmaProbeParams {
  TensorMap map;
  unsigned char* to;
  std::int32_t at[4], tap[2];  // of an im2col map c, w, h, n and the tap's (w, h); else c, tap, column
  std::int32_t bytes;          // of the box
};

// Shows how the box lies in shared memory.
template <bool im2col>
FASTCONV_KERNEL tma_probe(FASTCONV_GRID_CONSTANT const TmaProbeParams p) {
  unsigned char* const box = wgmma_shared();
  Barrier& landed = *reinterpret_cast<Barrier*>(box + p.bytes);
  if (thread_x() == 0) {
    barrier_init(landed, 1);
    barrier_init_done();
    barrier_expect(landed, p.bytes);
    if constexpr (im2col)
      tma_load_im2col(box, p.map, landed, p.at[0], p.at[1], p.at[2], p.at[3], p.tap[0], p.tap[1]);
    else
      tma_load(box, p.map, landed, p.at[0], p.at[1], p.at[2]);
  }
  sync();
  barrier_wait(landed, 0);
  for (int i = thread_x(); i < p.bytes; i += block_threads()) p.to[i] = box[i];
}

struct WgmmaProbeParams {
  const unsigned char *a, *b;  // 64 and `columns` lines of 128 bytes, as they shall lie in shared memory
  float* sums;                 // of each thread in its order; added to
};

template <class T, int columns, bool turns_a, bool turns_b>
FASTCONV_KERNEL wgmma_probe(const WgmmaProbeParams p) {
  unsigned char* const a = wgmma_shared();
  unsigned char* const b = a + 64 * kWgmmaLineBytes;
  for (int i = thread_x(); i < 64 * kWgmmaLineBytes; i += kWarpgroup) a[i] = p.a[i];
  for (int i = thread_x(); i < columns * kWgmmaLineBytes; i += kWarpgroup) b[i] = p.b[i];
  float sums[columns / 2];
  float* const own = p.sums + thread_x() * (columns / 2);
  FASTCONV_UNROLL_ON_GPU
  for (int i = 0; i < columns / 2; ++i) sums[i] = own[i];
  fence_to_async();
  sync();
  wgmma_fence();
  FASTCONV_UNROLL_ON_GPU
  for (int step = 0; step < kWgmmaLineBytes / kWgmmaStepBytes; ++step)
    wgmma<T, turns_a, turns_b>(sums, wgmma_advance<turns_a>(wgmma_descriptor<turns_a>(a), step),
                               wgmma_advance<turns_b>(wgmma_descriptor<turns_b>(b), step));
  wgmma_commit();
  wgmma_wait<0>(sums);
  FASTCONV_UNROLL_ON_GPU
  for (int i = 0; i < columns / 2; ++i) own[i] = sums[i];
}

}  // namespace cuda
}  // namespace fastconv
