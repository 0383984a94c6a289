// The pieces of conv2d_forward_wgmma by themselves, so that a test can hold what hopper.h says, and the emulator,
// against the hardware.
#pragma once

#include "cuda/conv2d_mma.h"

namespace fastconv {
namespace cuda {

// Bytes of a box of 64 channels (32 floats) of 128 pixels or `filters` filters.
constexpr std::int64_t kProbePixels = 128, kProbeLineBytes = 128;

// The box of the tap (kh, kw) for output pixels from `row` on, from channel c on, as it lies in shared memory.
void probe_tma_im2col(const Conv2dShape& shape, ElementType type, const void* input, void* to, std::int32_t row,
                      std::int32_t c, std::int32_t kh, std::int32_t kw, Stream stream);

// The same of a weight: tap `tap` of 64 filters from `column` on.
void probe_tma_filter(const Conv2dShape& shape, ElementType type, const void* weight, void* to, std::int32_t column,
                      std::int32_t c, std::int32_t tap, Stream stream);

// sums += a * b, of 64 lines a and `columns` lines b of 128 bytes as they shall lie in shared memory. sums: columns / 2
// of each of 128 threads. Of 16-bit types, b or both may be turned: `columns` / 64 blocks of 64 lines of 64 columns.
enum class Turned { none, b, both };
void probe_wgmma(ElementType type, int columns, Turned turned, const void* a, const void* b, float* sums,
                 Stream stream);

}  // namespace cuda
}  // namespace fastconv
