// What the pooling drivers may ask of an instruction set: a run of results, forward or backward, in either layout.
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

// Window (oh, ow) begins at row oh * stride_h - pad_h, column ow * stride_w - pad_w.
struct PoolWindows {
  std::int64_t ih, iw, oh, ow, kh, kw;
  std::int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  Span full;  // the windows of a row that have all their columns inside the image; {ow, 0} if none does
};

// What one call writes, side by side in memory. NHWC: columns of one row. NCHW: whole rows of a plane.
struct PoolRun {
  std::int64_t row, rows, column, columns;
};

// Where a maximum was: flat in H*W, or, for the engine, a byte with the number kh * KW + kw of its tap.
constexpr std::uint8_t kNoTap = 255;  // no tap: nothing of this window's gradient is passed on

template <class T>
struct MaxPoolArgs {
  PoolWindows windows;
  PoolRun run;
  const T *input, *input_end;    // the image, and the end of all images
  const void* ahead;             // what to prefetch
  int ahead_lines;               // for each vector of results
  bool stream;                   // NHWC: past the caches, pixels of whole cache lines
  std::int64_t pixel, channels;  // NHWC: elements between pixels, and how many of them are wanted
  T* output;                     // the run
  std::int32_t* indices;         // the run, or null
  std::uint8_t* taps;            // the run, or null
  bool positive_only;            // kNoTap where the maximum is <= 0
};

template <class T>
struct AvgPoolArgs {
  PoolWindows windows;
  PoolRun run;
  const T *counted_rows, *counted_columns;  // an average divides by counted_rows[oh] * counted_columns[ow]
  const T *input, *input_end;               // the image, and the end of all images
  const void* ahead;                        // as above
  int ahead_lines;
  bool stream;
  std::int64_t pixel, channels;  // as above
  T* output;                     // the run
};

// A run of grad_input gathers from the windows that cover it (dilation 1).
template <class T>
struct MaxPoolGatherArgs {
  PoolWindows windows;
  PoolRun run;
  const T* grad_output;  // the image
  const std::int32_t* indices;
  const std::uint8_t* taps;  // the image; indices or taps
  const T* output;           // the image, or null: gradient is dropped where it is not positive
  std::int64_t available;    // elements of these arrays from the image to their end
  std::int64_t pixel, channels;
  bool stream;    // as above
  T* grad_input;  // the run
};

// All of an image: zeroed, then every window adds its gradient where its maximum was. An index outside is left out.
template <class T>
struct MaxPoolScatterArgs {
  PoolWindows windows;
  const T* grad_output;
  const std::int32_t* indices;
  const std::uint8_t* taps;
  const T* output;  // as above
  std::int64_t pixel, channels;
  T* grad_input;
};

template <class T>
struct AvgPoolBackwardArgs {
  PoolWindows windows;
  PoolRun run;
  const T *counted_rows, *counted_columns;
  T* room;               // NCHW: see avg_backward_room
  const T* grad_output;  // the image
  std::int64_t pixel, channels;
  bool stream;    // as above
  T* grad_input;  // the run
};

// Planes, backward: the windows over a row are copied with a margin at both ends, so that whole vectors can be read at
// every place. How many windows cover a pixel along one axis at most:
static inline std::int64_t windows_covering(std::int64_t kernel, std::int64_t stride) {
  return kernel / stride + (kernel % stride != 0);
}
constexpr std::int64_t kMostGathered = 16;  // more windows over a pixel are better added one by one
constexpr std::int64_t kGatherMargin = 16;  // before the first window: at least as many, and as many as lanes

// Behind the first window: as far as whole vectors of pixels look. (Many overlapping windows are not gathered.)
static inline std::int64_t gather_end(const PoolWindows& w) {
  const std::int64_t groups = ((w.iw - 1) / w.stride_w + 16) / 16 * 16, ahead = (w.stride_w - 1 + w.pad_w) / w.stride_w;
  const std::int64_t pixels = groups + (ahead < kMostGathered ? ahead : kMostGathered);
  return pixels > w.ow ? pixels : w.ow;
}
static inline std::int64_t gather_pitch(const PoolWindows& w) { return kGatherMargin + (gather_end(w) + 31) / 16 * 16; }

// Backward over planes works on so many rows of pixels at a time: the windows over them are prepared beforehand.
constexpr std::int64_t kMostGatherRows = 16;

template <class T>
struct PoolKernels {
  void (*max_nhwc)(const MaxPoolArgs<T>&);
  void (*max_nchw)(const MaxPoolArgs<T>&);
  void (*max_gather_nhwc)(const MaxPoolGatherArgs<T>&);
  void (*max_gather_nchw)(const MaxPoolGatherArgs<T>&);    // 2 columns side by side, no padding
  bool (*max_scatter_nhwc)(const MaxPoolScatterArgs<T>&);  // whether all indices are inside the image
  bool (*max_scatter_nchw)(const MaxPoolScatterArgs<T>&);
  void (*avg_nhwc)(const AvgPoolArgs<T>&);
  void (*avg_nchw)(const AvgPoolArgs<T>&);
  void (*avg_backward_nhwc)(const AvgPoolBackwardArgs<T>&);
  void (*avg_backward_nchw)(const AvgPoolBackwardArgs<T>&);
  // Whole cache lines from and to the beginning of one, past the caches.
  void (*stream_lines)(const void* from, void* to, std::int64_t bytes);
  void (*stream_fence)();
  // Whether all are in [0, end).
  bool (*indices_inside)(const std::int32_t* indices, std::int64_t count, std::int32_t end);
};

}  // namespace fastconv
