// Element by element, and changes of layout, of arrays of `type`. Pointers are device pointers; nothing allocates or
// waits.
#pragma once

#include <cstdint>

#include "cuda/element_type.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

inline std::int64_t mask_words(std::int64_t count) { return (count + 31) / 32; }

// mask may be null; output may be input.
void relu_forward(ElementType type, const void* input, void* output, std::uint32_t* mask, std::int64_t count,
                  Stream stream);
void relu_backward(ElementType type, const void* grad_output, const std::uint32_t* mask, void* grad_input,
                   std::int64_t count, Stream stream);
// By the sign of what relu gave (or was given) instead of a mask. The result may be either input.
void relu_backward_output(ElementType type, const void* grad_output, const void* output, void* grad_input,
                          std::int64_t count, Stream stream);
void add(ElementType type, const void* input, const void* other, void* output, std::int64_t count, Stream stream);
// input * (0 with probability p, else 1 / (1 - p)). What falls depends on seed, element and offset + *counter alone;
// counter may be null.
void dropout(ElementType type, const void* input, void* output, std::int64_t count, double p, std::uint64_t seed,
             std::uint64_t offset, const std::int64_t* counter, Stream stream);
void fill(ElementType type, void* output, float value, std::int64_t count, Stream stream);
void copy(ElementType type, const void* input, void* output, std::int64_t count, Stream stream);

// (batch, rows, columns) to (batch, columns, rows), of elements of 2 or 4 bytes.
void transpose(const void* input, void* output, int element_bytes, std::int64_t batch, std::int64_t rows,
               std::int64_t columns, Stream stream);

}  // namespace cuda
}  // namespace fastconv
