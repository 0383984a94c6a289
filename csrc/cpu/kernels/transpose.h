// Matrix transpose in registers: layout changes (NCHW <-> NHWC) and weight packing.
#pragma once

#include <cstdint>

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// A square of kSize vectors: log2(kSize) rounds, each interleaving the first half of the rows with the second.
template <class T>
inline void transpose_square(const T* input, std::int64_t input_pitch, T* output, std::int64_t output_pitch) {
  constexpr int kSize = Vec<T>::kSize;
  Vec<T> a[kSize], b[kSize] = {};
#pragma GCC unroll 16
  for (int i = 0; i < kSize; ++i) a[i] = Vec<T>::load(input + i * input_pitch);
#pragma GCC unroll 4
  for (int round = 1; round < kSize; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kSize / 2; ++i) interleave(a[i], a[i + kSize / 2], b[2 * i], b[2 * i + 1]);
#pragma GCC unroll 16
    for (int i = 0; i < kSize; ++i) a[i] = b[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSize; ++i) a[i].store(output + i * output_pitch);
}

template <class T>
inline void transpose_rest(const T* input, std::int64_t rows, std::int64_t columns, std::int64_t input_pitch, T* output,
                           std::int64_t output_pitch) {
  for (std::int64_t c = 0; c < columns; ++c)
    for (std::int64_t r = 0; r < rows; ++r) output[c * output_pitch + r] = input[r * input_pitch + c];
}

template <class T>
void transpose(const T* input, std::int64_t rows, std::int64_t columns, std::int64_t input_pitch, T* output,
               std::int64_t output_pitch) {
  constexpr std::int64_t kSize = Vec<T>::kSize;
  const std::int64_t whole_rows = rows / kSize * kSize, whole_columns = columns / kSize * kSize;
  for (std::int64_t r = 0; r < whole_rows; r += kSize) {
    for (std::int64_t c = 0; c < whole_columns; c += kSize)
      transpose_square(input + r * input_pitch + c, input_pitch, output + c * output_pitch + r, output_pitch);
    transpose_rest(input + r * input_pitch + whole_columns, kSize, columns - whole_columns, input_pitch,
                   output + whole_columns * output_pitch + r, output_pitch);
  }
  transpose_rest(input + whole_rows * input_pitch, rows - whole_rows, columns, input_pitch, output + whole_rows,
                 output_pitch);
}

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
