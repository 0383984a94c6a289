// Pooling on a device, of arrays of `type`, channels last, with the rules of the CPU engine. Pointers are device
// pointers; nothing allocates, waits, or looks at the data.
#pragma once

#include <cstdint>
#include <string>

#include "core/pool2d_shape.h"
#include "cuda/element_type.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

constexpr std::int64_t kMostTaps = 254;  // of a window whose taps are numbered by a byte; 255 is no tap

// At most one of the two: flat indices in the plane, or numbers kh * KW + kw of taps; with positive_only 255, no tap,
// where the maximum is not above 0.
struct MaxPlaces {
  std::int32_t* indices = nullptr;
  std::uint8_t* taps = nullptr;
  bool positive_only = false;
};
struct ConstMaxPlaces {
  const std::int32_t* indices = nullptr;
  const std::uint8_t* taps = nullptr;
};

void max_pool2d_forward(const Pool2dShape& shape, ElementType type, const void* input, void* output,
                        const MaxPlaces& places, Stream stream);
// A place that its window does not have takes no part.
void max_pool2d_backward(const Pool2dShape& shape, ElementType type, const void* grad_output,
                         const ConstMaxPlaces& places, void* grad_input, Stream stream);

struct AvgPool2dOptions {
  bool count_include_pad = true;
  std::int64_t divisor_override = 0;  // 0: none
};

void avg_pool2d_forward(const Pool2dShape& shape, const AvgPool2dOptions& options, ElementType type, const void* input,
                        void* output, Stream stream);
void avg_pool2d_backward(const Pool2dShape& shape, const AvgPool2dOptions& options, ElementType type,
                         const void* grad_output, void* grad_input, Stream stream);

enum class PoolPass { max_forward, max_backward, avg_forward, avg_backward };

// The kernel that a pass takes, and why.
std::string explain_pool2d(const Pool2dShape& shape, PoolPass pass);

}  // namespace cuda
}  // namespace fastconv
