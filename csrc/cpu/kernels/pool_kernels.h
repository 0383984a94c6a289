// What the pooling drivers may ask of an instruction set: one row of windows, forward or backward, in either layout.
// "Image" below is an image's channels-last memory (NHWC, from the first channel of a block) or one plane (NCHW).
#pragma once

#include <cstdint>

namespace fastconv {

// A run of rows, columns or windows along one axis.
struct Span {
  std::int64_t first, count;
};

// The helpers of this file are static: each kernels_<isa> object keeps its own and exports none.

// The taps of a window that lie inside the image: the first one's pixel, and how many, a dilation apart.
static inline Span taps_inside(std::int64_t start, std::int64_t kernel, std::int64_t dilation, std::int64_t size) {
  if (start >= 0 && start + (kernel - 1) * dilation < size) return {start, kernel};
  const std::int64_t skipped = start < 0 ? (dilation - 1 - start) / dilation : 0;
  const std::int64_t first = start + skipped * dilation;
  const std::int64_t fit = first < size ? (size - 1 - first) / dilation + 1 : 0;
  return {first, fit < kernel - skipped ? fit : kernel - skipped};
}

// The windows of neighbouring pixels (dilation 1) that cover pixel i.
static inline Span windows_over(std::int64_t i, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                                std::int64_t out) {
  const std::int64_t first = i + pad < kernel ? 0 : (i + pad - kernel) / stride + 1;
  const std::int64_t last = (i + pad) / stride < out ? (i + pad) / stride : out - 1;
  return {first, last < first ? 0 : last - first + 1};
}

// The width axis: window ow begins at column ow * stride - pad.
struct PoolColumns {
  std::int64_t iw, ow, kernel, stride, pad, dilation;
  Span full;  // the windows that lie inside the image with all their taps; {ow, 0} if none does
};

template <class T>
struct MaxPoolRowArgs {
  PoolColumns columns;
  Span rows;  // of the image under the windows, dilation_h apart
  std::int64_t dilation_h;
  const T* input;                // the image
  std::int64_t pixel, channels;  // NHWC: elements between pixels, and how many of them are wanted
  T* output;                     // the row
  std::int32_t* indices;         // the row, or null
};

template <class T>
struct AvgPoolRowArgs {
  PoolColumns columns;
  Span rows;
  T counted_rows;  // the average divides by counted_rows * counted_columns[ow]
  const T* counted_columns;
  const T* input;                // the image
  std::int64_t pixel, channels;  // as above
  T* output;                     // the row
};

// One row of grad_input gathers from the windows that cover it (dilation 1).
template <class T>
struct MaxPoolGatherArgs {
  PoolColumns columns;
  Span windows;  // rows of windows over image row ih
  std::int64_t ih;
  const T* grad_output;  // the image
  const std::int32_t* indices;
  const T* output;  // the image, or null: gradient is dropped where it is not positive
  std::int64_t pixel, channels;
  T* grad_input;  // the row
};

// All of an image: zeroed, then every window adds its gradient where its maximum was. An index outside is left out.
template <class T>
struct MaxPoolScatterArgs {
  std::int64_t windows, pixels;  // of the image
  const T* grad_output;
  const std::int32_t* indices;
  const T* output;  // as above
  std::int64_t pixel, channels;
  T* grad_input;
};

template <class T>
struct AvgPoolBackwardRowArgs {
  PoolColumns columns;
  Span windows;                             // rows of windows over the image row
  const T *counted_rows, *counted_columns;  // an average divided by counted_rows[oh] * counted_columns[ow]
  T* sums;                                  // NCHW: room for a row of windows
  const T* grad_output;                     // the image
  std::int64_t pixel, channels;
  T* grad_input;  // the row
};

template <class T>
struct PoolKernels {
  void (*max_row_nhwc)(const MaxPoolRowArgs<T>&);
  void (*max_row_nchw)(const MaxPoolRowArgs<T>&);
  void (*max_gather_nhwc)(const MaxPoolGatherArgs<T>&);
  void (*max_scatter_nhwc)(const MaxPoolScatterArgs<T>&);
  void (*max_scatter_nchw)(const MaxPoolScatterArgs<T>&);
  void (*avg_row_nhwc)(const AvgPoolRowArgs<T>&);
  void (*avg_row_nchw)(const AvgPoolRowArgs<T>&);
  void (*avg_backward_row_nhwc)(const AvgPoolBackwardRowArgs<T>&);
  void (*avg_backward_row_nchw)(const AvgPoolBackwardRowArgs<T>&);
};

}  // namespace fastconv
