// Pooling on the CPU, in either layout, without copies. Outputs are fully written, and no result depends on the number
// of threads or on the other images of the batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/layout.h"
#include "core/pool2d_shape.h"

namespace fastconv {

// Where the maxima were; at most one of the two. For users: flat in H*W of the input plane. For the engine, a quarter
// of the bytes: the number kh * KW + kw of the tap (windows of less than 255 taps); with `positive_only` 255, no tap,
// where the maximum is <= 0, so that the backward pass of a ReLU before the pooling needs nothing else.
struct MaxPlaces {
  std::int32_t* indices = nullptr;
  std::uint8_t* taps = nullptr;
  bool positive_only = false;
};

// Of equal maxima the first wins; NaN propagates, and the first NaN has the place.
template <class T>
void max_pool2d_forward(const Pool2dShape& shape, const T* input, T* output, const MaxPlaces& places, Layout layout);

struct ConstMaxPlaces {
  const std::int32_t* indices = nullptr;
  const std::uint8_t* taps = nullptr;
};

// output, the pooled output, may be null; given, gradient is dropped where it is <= 0 (ReLU before the pooling).
// False if an index lies outside the plane; it takes no part.
template <class T>
bool max_pool2d_backward(const Pool2dShape& shape, const T* grad_output, const ConstMaxPlaces& places, const T* output,
                         T* grad_input, Layout layout);

struct AvgPool2dOptions {
  bool count_include_pad = true;
  std::int64_t divisor_override = 0;  // 0: none
};

template <class T>
void avg_pool2d_forward(const Pool2dShape& shape, const AvgPool2dOptions& options, const T* input, T* output,
                        Layout layout);
template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, const AvgPool2dOptions& options, const T* grad_output, T* grad_input,
                         Layout layout);

// What a call would do.
enum class PoolPass { max_forward, max_backward, avg_forward, avg_backward };

struct Pool2dExplanation {
  std::string algorithm, kernel;
  int threads;
  std::int64_t scratch_bytes, bytes_moved;
  std::vector<std::string> notes;
};

// place_size: bytes of one place of a maximum, 0 where none are asked for.
template <class T>
Pool2dExplanation explain_pool2d(const Pool2dShape& shape, PoolPass pass, Layout layout, std::int64_t place_size);

}  // namespace fastconv
