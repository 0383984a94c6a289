// One tensor-core instruction by itself, so that a test can hold the layouts of mma.h, and the emulator, against the
// hardware.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// `instruction` is "tf32", "float16", "bfloat16", "float16_half" or "load_matrices" (which reads a and writes the words
// of d only). Lane l holds a[4 l ...], b[2 l ...] and d[4 l ...].
void probe_mma(const std::string& instruction, const std::uint32_t* a, const std::uint32_t* b, float* d, Stream stream);

}  // namespace cuda
}  // namespace fastconv
