// What the convolution drivers may ask of an instruction set: two register tiles, one for the forward-like passes and
// one for backward-weight, and the loops for narrow groups. Plain structs and function pointers; no vector type leaves
// kernels/.
#pragma once

#include <cstdint>

namespace fastconv {

enum class Activation { none, relu };

// One tile of outputs: up to max_pixels neighbouring pixels by one block of output channels.
//   output[m][oc] (+)= sum over (th, tw, r) of input[m*input_pixel + th*input_tap_h + tw*input_tap_w + r]
//                                             * weight[th][tw][r][oc]
template <class T>
struct ConvTileArgs {
  const T* input;
  std::int64_t input_pixel;  // elements between the windows of neighbouring output pixels
  std::int64_t taps_h, input_tap_h;
  std::int64_t taps_w, input_tap_w;
  std::int64_t run;  // contiguous elements under one tap: channels, or kw * channels where these are contiguous
  const T* weight;   // packed [taps_h][taps_w][run][block], the block zero-padded to whole vectors
  std::int64_t weight_block;  // four vectors: elements from one block's weights to the next one's
  const T* bias;              // `channels` values or null
  T* output;
  std::int64_t output_pixel;
  int channels;     // valid output channels of this block
  bool accumulate;  // start from what output holds (then bias is not read)
  Activation activation;
  std::int64_t prefetch;  // elements ahead of the input to fetch meanwhile, 0 for none
  bool stream;            // store past the caches: whole vectors at aligned addresses only, store_fence at the end
};

// One tile of weight gradients: up to max_entries consecutive (kw, ic) entries by one block of output channels.
//   grad[e][oc] (+)= sum over (image, row, pixel) of
//     input[image*input_image + row*input_row + pixel*input_pixel + e]
//     * grad_output[(image*rows + row)*grad_row + pixel*grad_pixel + oc]
template <class T>
struct WeightTileArgs {
  const T* input;
  std::int64_t input_image, input_row, input_pixel;
  const T* grad_output;  // a pixel's block in whole vectors: packed and zero-padded, or where it is
  std::int64_t grad_row, grad_pixel;
  std::int64_t images, rows, pixels;
  const char*
      prefetch;  // one line at prefetch + row * prefetch_row + pixel * prefetch_pixel is fetched with each pixel
  std::int64_t prefetch_row, prefetch_pixel;  // bytes
  T* grad;                                    // [entries][block] ...
  std::int64_t grad_pitch;                    // ... and elements from one entry to the next
  bool accumulate;
};

// Memory that the next call reads, fetched to the L2 cache meanwhile, `lines` cache lines for each vector of outputs:
// blocks of lanes walk through their rows in strides that the hardware does not foresee.
struct FetchAhead {
  const char* begin;
  const char* end;
  std::int64_t lines;
};

// Rows of outputs of a grouped convolution whose groups are narrower than a vector. A block is as many groups side by
// side as fit the lanes; lane l of it is output channel l of these groups.
//   window (oh, ow), tap (th, tw) is source[origin_h + oh*step_h + th*tap_step_h][origin_w + ow*step_w + tw*tap_step_w]
template <class T>
struct GroupedArgs {
  const T* source;  // one image
  std::int64_t source_h, source_w, source_row, source_pixel;
  std::int64_t origin_h, origin_w, step_h, step_w;
  std::int64_t taps_h, taps_w, tap_step_h, tap_step_w;
  const T* weight;  // tap (0, 0) of packed [block][kh][kw][input of the group][lanes]
  std::int64_t weight_block, weight_tap_h, weight_tap_w;  // may be negative: taps in reverse
  const T* bias;                                          // all channels, or null
  T* output;                                              // one image
  std::int64_t output_row, output_pixel;
  std::int64_t row0, row1, column0, column1;  // the outputs to compute
  std::int64_t groups, group_inputs, group_outputs, groups_per_block;
  std::int64_t block0, block1;
  Activation activation;
  bool stream;  // as in ConvTileArgs
  FetchAhead ahead;
};

// Adds the part of some rows of grad_output to the weight gradient of such a convolution:
//   sum[block][kh][kw][input of the group][lane] += ...
template <class T>
struct GroupedWeightArgs {
  const T* source;  // one image
  std::int64_t source_h, source_w, source_row, source_pixel;
  std::int64_t origin_h, origin_w, step_h, step_w;
  std::int64_t taps_h, taps_w, tap_step_h, tap_step_w;
  const T* grad_output;  // one image
  std::int64_t grad_row, grad_pixel;
  std::int64_t row0, row1, column0, column1;
  std::int64_t groups, group_inputs, group_outputs, groups_per_block;
  std::int64_t block0, block1;
  T* sum;
  FetchAhead source_ahead, grad_ahead;
};

// Windows of neighbouring source pixels, added to the rows that they overlap:
//   target[p*target_pixel + th*target_tap_h + i*target_piece + e] += windows[p*window + th*window_tap_h + i*piece + e]
template <class T>
struct FoldRowArgs {
  const T* windows;
  std::int64_t window, window_tap_h;
  T* target;
  std::int64_t target_pixel, target_tap_h, target_piece;
  std::int64_t pixels, taps_h, pieces, piece;
  std::int64_t passes;  // pixels this far apart have windows that do not overlap
};

// The same at stride 1 for a row of target pixels which all meet the same rows and columns of taps: each gathers its
// elements from the windows over it, and is loaded and stored once.
//   target[p*channels + c] += sum over i < taps_h, j < taps_w of windows[p*window + i*row_step + j*tap_step + c]
template <class T>
struct FoldGatherArgs {
  const T* windows;
  std::int64_t window, row_step, tap_step;
  std::int64_t taps_h, taps_w;
  T* target;
  std::int64_t pixels, channels;
  std::int64_t readable;  // elements of the target from its first pixel on that may be touched
};

constexpr int kFoldGatherChannels = 4;  // with more, whole vectors scattered are faster

// One tile with pixels in the lanes: a block of output channels by whole vectors of neighbouring positions in a planar
// source. Positions run through rows of `pitch`, of which the first `columns` are outputs.
//   output[position][k] = bias[k] + sum over steps of source[offsets[step] + position] * weight[step][k]
template <class T>
struct PixelTileArgs {
  const T* source;  // of the tile's first position; readable for whole vectors
  const std::int64_t* offsets;
  std::int64_t steps;
  const T* weight;
  const T* bias;                                   // or null
  std::int64_t positions, column, pitch, columns;  // valid positions of the tile; the first one's column
  T* output;                                       // column 0 of the first position's row
  std::int64_t output_row, output_pixel;
  Activation activation;
};

constexpr int kPixelTileMaxChannels = 8;
constexpr int kPixelTileMaxVectors = 4;
// Few channels take more vectors: eight sums keep two multiply-add units busy.
constexpr int pixel_tile_vectors(int channels) { return channels <= 2 ? kPixelTileMaxVectors : channels == 3 ? 3 : 2; }

constexpr int kChannelLanesOutputs = 4;

// A pointwise convolution with the input channels in the lanes:
//   output[p*outputs + o] = bias[o] + sum over c of input[p*input_pixel + c] * weight[o][c]
template <class T>
struct ChannelLanesArgs {
  const T* input;
  std::int64_t input_pixel, channels, pixels;
  const T* weight;  // [outputs][channels], the channels zero-padded to whole vectors
  const T* bias;    // or null
  T* output;
  Activation activation;
};

constexpr int kConvTileMaxPixels = 14;
constexpr int kWeightTileMaxEntries = 14;

template <class T>
struct ConvKernels {
  int vector_size;    // elements of one vector; a channel block is one or two vectors
  int max_pixels[4];  // [vectors - 1]; tiles are one, two or (with 32 registers) four vectors wide
  int max_entries;
  void (*conv_tile[4][kConvTileMaxPixels])(const ConvTileArgs<T>&);  // [vectors - 1][pixels - 1]
  void (*store_fence)();                                             // makes streamed stores visible to other threads
  void (*weight_tile[2][kWeightTileMaxEntries])(const WeightTileArgs<T>&);  // [vectors - 1][entries - 1]
  int max_pixel_tile_channels;
  void (*pixel_tile[kPixelTileMaxChannels])(const PixelTileArgs<T>&);  // [channels - 1]
  void (*channel_lanes[kChannelLanesOutputs])(
      const ChannelLanesArgs<T>&);  // [outputs - 1], null beyond a vector's lanes
  void (*fold_row)(const FoldRowArgs<T>&);
  void (*fold_gather)(const FoldGatherArgs<T>&);  // at most kFoldGatherChannels
  void (*grouped_forward)(const GroupedArgs<T>&);
  void (*grouped_weight)(const GroupedWeightArgs<T>&);
  // sum[c] += x[row][c] over rows, one row after the other.
  void (*column_sum)(const T* x, std::int64_t rows, std::int64_t columns, T* sum);
  // packed[p][c] = input[p * pixel_pitch + c] for c < channels, 0 up to width; false if some value is not finite.
  bool (*pack_pixels)(const T* input, std::int64_t pixels, std::int64_t pixel_pitch, int channels, int width,
                      T* packed);
  // output[c][r] = input[r][c] for rows x columns elements, pitches in elements.
  void (*transpose)(const T* input, std::int64_t rows, std::int64_t columns, std::int64_t input_pitch, T* output,
                    std::int64_t output_pitch);
  // Independent multiply-add chains that keep every FMA unit busy; returns the FLOPs done. The yardstick of
  // benchmarks/.
  double (*fma_chains)(std::int64_t iterations);
};

}  // namespace fastconv
