// Tensor cores, as part of the device layer: products of small matrices whose elements are spread over the 32 lanes of
// a warp. All lanes must come, together.
//
//   mma_tf32(d, a, b)     d += a * b, 16 x 8 and 8 deep, float32 of which 10 bits of mantissa count (sm_80)
//   mma<T>(d, a, b)       the same 16 deep, T = Float16 (sm_75) or BFloat16 (sm_80), two elements in a word
//   mma_float16_half(d, a, b)    8 deep (sm_75); two of them make one of mma<Float16>
//   round_tf32(x)         the bits of x rounded for mma_tf32: to the nearest, ties away from zero
//   load_matrices(m, row) four 8 x 8 matrices of 16-bit elements from shared memory (ldmatrix): lane 8 i + r gives the
//                         address of row r of matrix i, 16 bytes aligned to 16; lane 4 r + c gets word c of row r
//   load_matrices_turned(m, row)    the same, each matrix transposed: lane 4 r + c gets column r of rows 2 c and 2 c +
//   1 kCompiledFor, no_such_instruction()    the compute capability; what ends a kernel that it does not have
//
// Who holds what, with r = lane / 4 and c = lane % 4 (PTX ISA, "Matrix fragments for mma"):
//   a, 8 deep in float32:   a[0] = (r, c), a[1] = (r + 8, c), a[2] = (r, c + 4), a[3] = (r + 8, c + 4)
//   b, 8 deep in float32:   b[0] = (c, r), b[1] = (c + 4, r), as (depth, column)
//   16 deep in 16 bits: the same words; word c is elements 2 c and 2 c + 1 of the depth, the lower half first
//   d:   d[0], d[1] = (r, 2 c), (r, 2 c + 1), and d[2], d[3] eight rows further
// So 16 bytes of depth of eight rows are one matrix of load_matrices, whatever the elements are.
#pragma once

#include "cuda/device.h"
#include "cuda/float16.h"
#if defined(__CUDACC__)
#include "cuda/mma_nvcc.h"
#else
#include "cuda/emulator/mma_emulated.h"
#endif
