// Blocked matrix transpose: layout changes (NCHW <-> NHWC) and weight packing.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
void transpose(const T* input, std::int64_t rows, std::int64_t columns, std::int64_t input_pitch, T* output,
               std::int64_t output_pitch) {
  constexpr std::int64_t kBlock = 16;  // a block of reads and of writes fits the L1 cache
  for (std::int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const std::int64_t r1 = r0 + kBlock < rows ? r0 + kBlock : rows;
    for (std::int64_t c0 = 0; c0 < columns; c0 += kBlock) {
      const std::int64_t c1 = c0 + kBlock < columns ? c0 + kBlock : columns;
      for (std::int64_t c = c0; c < c1; ++c)
        for (std::int64_t r = r0; r < r1; ++r) output[c * output_pitch + r] = input[r * input_pitch + c];
    }
  }
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
