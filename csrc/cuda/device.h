// The device layer: all that a kernel may ask of the machine. Kernels include this and nothing of CUDA, so that the
// same source is compiled by nvcc for a GPU and by g++ for the emulator, where tests run it without one.
//
//   thread_x() block_x() block_threads() blocks()    who am I; grids and blocks have one dimension
//   thread_x_anew() block_x_anew()                   the same, but what follows from it is computed again, not kept in
//                                                    registers over a long loop
//   lane() warp()                                    the thread within its 32, and which 32 of the block
//   shared<T>()                                      the block's shared memory, as many bytes as the launch asked for
//   sync() sync_warp()                               barriers; all threads of the block, or of the warp, must come
//   ballot(condition) shuffle(v, lane) shuffle_xor(v, mask)    between the threads of a warp, all of which must come
//   cp_async<bytes>(to, from, valid)                 4, 8 or 16 bytes from global to shared memory, landing later;
//                                                    zeros instead where not valid (`from` is then not read)
//   cp_async_commit() cp_async_wait<n>()             close a group of copies; wait until at most n groups are on the
//                                                    way
//   Pack<T, n>, load<P>(p), store(p, pack)           n values side by side in one access, aligned to all their bytes
//   multiply_add(a, b, c)                            a * b + c rounded once
//   root(x) exponential(x) logarithm(x) power(x, y) not_a_number()    root is rounded correctly
//   exponential_minus_one(x) logarithm_of_one_plus(x) hyperbolic_tangent(x) error_complement(x)
//
// Tensor cores, mbarrier, TMA and wgmma come in headers of their own beside this one (mma.h, hopper.h).
#pragma once

#include "cuda/host_device.h"
#include "cuda/pack.h"
#if defined(__CUDACC__)
#include "cuda/device_nvcc.h"
#else
#include "cuda/emulator/device_emulated.h"
#endif
