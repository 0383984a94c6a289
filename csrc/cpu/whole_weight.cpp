// One channel side is broadcast (`entries`), the other lies in the lanes. Loops, outside in: (group, chunk of entries,
// share of the lane blocks) per task; images, whose entries are copied; lane blocks, packed once; taps; register tiles.
// No sum is split, so the bits do not depend on the threads.
#include "cpu/whole_weight.h"

#include <algorithm>
#include <cstring>

#include "core/checked_math.h"
#include "cpu/conv2d_problems.h"
#include "cpu/scratch.h"
#include "cpu/tap_tiles.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kPixels = 512;             // more of them repay partial gradients
constexpr std::int64_t kPartPixels = 256;         // summed at once: their lanes nearly fit the L1 cache
constexpr std::int64_t kImagePixels = 4096;       // of outputs: an image's packed lanes stay in the L2 cache
constexpr std::int64_t kUnit = 16;                // entries: whole lines, whole squares for the transposition
constexpr std::int64_t kMostEntries = 256;        // of one chunk ...
constexpr std::int64_t kChunkBytes = 352 * 1024;  // ... whose copied pixels stay in the L2 cache
constexpr std::int64_t kLocalBytes = 80 * 1024;   // a lane block's part of the gradient
constexpr std::int64_t kLocalBlocks = 4;          // ... and so many of them, where images are added up
constexpr std::int64_t kTasks = 8;                // shares of work, so that many threads find some

// A side of the product: channels of pixels.
template <class T>
struct Side {
  const T* data;
  std::int64_t image, row, pixel;  // elements
};

struct Plan {
  bool exchange;  // a single tap inside the image: the input lies in the lanes, and rows need no transposition
  std::int64_t images, in_h, in_w, out_h, out_w;                // with one image where all pixels are one list
  std::int64_t entries, lanes;                                  // channels of a group
  std::int64_t height, width;                                   // of the entries' image
  std::int64_t step_h, step_w;                                  // from one output to the next in that image
  std::int64_t chunks, pitch;                                   // of entries; elements of a copied pixel
  std::int64_t blocks, shares;                                  // of lanes
  std::int64_t copy_elements, packed_elements, local_elements;  // scratch of a thread
  int threads;

  std::int64_t thread_elements() const { return copy_elements + packed_elements + local_elements; }
};

template <class T>
Plan make_plan(const Conv2dShape& s) {
  const std::int64_t vector = active_kernel_set<T>().conv.vector_size, item = static_cast<std::int64_t>(sizeof(T));
  const std::int64_t taps = s.kh * s.kw;
  Plan p{};
  p.exchange = taps == 1 && s.pad_top == 0 && s.pad_left == 0 && (s.oh - 1) * s.stride_h < s.ih &&
               (s.ow - 1) * s.stride_w < s.iw;
  p.images = s.n, p.in_h = s.ih, p.in_w = s.iw, p.out_h = s.oh, p.out_w = s.ow;
  if (pointwise(forward_problem<T>(s))) {
    p.in_w = p.out_w = s.n * s.oh * s.ow;
    p.images = p.in_h = p.out_h = 1;
  }
  p.entries = p.exchange ? s.ocg() : s.icg();
  p.lanes = p.exchange ? s.icg() : s.ocg();
  p.height = p.exchange ? p.out_h : p.in_h;
  p.width = p.exchange ? p.out_w : p.in_w;
  p.step_h = p.exchange ? 1 : s.stride_h;
  p.step_w = p.exchange ? 1 : s.stride_w;
  const std::int64_t units = ceil_div(p.entries, kUnit);
  const std::int64_t most = std::max(kUnit, std::min({kMostEntries, kChunkBytes / item / (p.height * p.width),
                                                      kLocalBytes / item / (2 * vector * taps)}));
  p.chunks = ceil_div(units, most / kUnit);
  p.blocks = block_count(p.lanes, static_cast<int>(vector));
  p.shares = 1;
  const std::int64_t others = p.chunks * s.groups;
  while (p.shares < p.blocks &&
         (others * p.shares < kTasks || (p.images > 1 && ceil_div(p.blocks, p.shares) > kLocalBlocks)))
    p.shares *= 2;
  p.shares = std::min(p.shares, p.blocks);
  const std::int64_t chunk = ceil_div(units, p.chunks) * kUnit;
  p.pitch = chunk * item % 512 == 0 ? chunk + kUnit : chunk;  // pixels 512 bytes apart would share few cache sets
  p.copy_elements = round_up(p.height * p.width * p.pitch, 16);
  p.packed_elements = p.out_h * p.out_w * 2 * vector;
  p.local_elements = (p.images > 1 ? ceil_div(p.blocks, p.shares) : 1) * chunk * taps * 2 * vector;
  p.threads = threads_for(static_cast<double>(s.flops()));
  return p;
}

// Adds one image to the gradient of all entries of a chunk and one block of lanes: to [entry][tap][lane], or for a
// single tap to rows `pitch` elements apart.
template <class T>
void sum_image(const Conv2dShape& s, const Plan& p, const T* copy, const T* packed, std::int64_t entries, int vectors,
               T* grad, std::int64_t pitch, bool accumulate, const ConvKernels<T>& kernels) {
  const std::int64_t width = vectors * kernels.vector_size, tiles = ceil_div(entries, kernels.max_entries);
  const std::int64_t part = ceil_div(p.out_h, std::min(p.out_h, ceil_div(p.out_h * p.out_w, kPartPixels)));
  WeightTileArgs<T> a{};
  a.images = 1;
  a.grad_row = p.out_w * width, a.grad_pixel = width;
  a.input_row = p.step_h * p.width * p.pitch, a.input_pixel = p.step_w * p.pitch;
  a.grad_pitch = pitch > 0 ? pitch : s.kh * s.kw * width;
  for (std::int64_t row = 0; row < p.out_h; row += part)
    for (std::int64_t th = 0; th < s.kh; ++th)
      for (std::int64_t tw = 0; tw < s.kw; ++tw) {
        const std::int64_t ih = p.exchange ? 0 : th * s.dilation_h - s.pad_top;
        const std::int64_t iw = p.exchange ? 0 : tw * s.dilation_w - s.pad_left;
        const Range rows = outputs_inside(ih, p.step_h, p.height, row, std::min(row + part, p.out_h));
        const Range columns = outputs_inside(iw, p.step_w, p.width, 0, p.out_w);
        a.input = copy, a.grad_output = packed;
        a.rows = a.pixels = 0;  // of a tap that is nowhere inside: the sum is zero
        if (rows.begin < rows.end && columns.begin < columns.end) {
          a.rows = rows.end - rows.begin, a.pixels = columns.end - columns.begin;
          a.input += ((ih + rows.begin * p.step_h) * p.width + iw + columns.begin * p.step_w) * p.pitch;
          a.grad_output += (rows.begin * p.out_w + columns.begin) * width;
        }
        a.grad = grad + (th * s.kw + tw) * width;
        a.accumulate = accumulate || row > 0;
        for (std::int64_t t = 0; t < tiles; ++t) {
          const std::int64_t size = entries * (t + 1) / tiles - entries * t / tiles;
          kernels.weight_tile[vectors - 1][size - 1](a);
          a.input += size;
          a.grad += size * a.grad_pitch;
        }
      }
}

}  // namespace

template <class T>
bool takes_whole_weight(const Conv2dShape& s) {
  if (s.icg() < kUnit || s.ocg() < kUnit) return false;
  if (s.ih * s.iw * 2 * kUnit * static_cast<std::int64_t>(sizeof(T)) > kChunkBytes) return false;
  if (s.oh * s.ow > kImagePixels) return false;
  return s.n * s.oh * s.ow <= kPixels || mostly_padding<T>(forward_problem<T>(s));
}

template <class T>
void run_whole_weight(const Conv2dShape& s, const T* input, const T* grad_output, T* grad_weight, bool accumulate) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const Plan p = make_plan<T>(s);
  const std::int64_t vector = kernels.vector_size, taps = s.kh * s.kw, filter = s.icg() * taps;
  const Side<T> from_input{input, p.in_h * p.in_w * s.ic, p.in_w * s.ic, s.ic};
  const Side<T> from_grad{grad_output, p.out_h * p.out_w * s.oc, p.out_w * s.oc, s.oc};
  const Side<T> broadcast = p.exchange ? from_grad : from_input;
  Side<T> packed_side = p.exchange ? from_input : from_grad;
  if (p.exchange && p.out_h * p.out_w > 1) packed_side.row *= s.stride_h, packed_side.pixel *= s.stride_w;
  const std::int64_t units = ceil_div(p.entries, kUnit);
  const auto first_of_chunk = [&](std::int64_t chunk) { return std::min(p.entries, units * chunk / p.chunks * kUnit); };
  const Scratch scratch(static_cast<std::size_t>(p.threads * p.thread_elements()) * sizeof(T));

  parallel_for(s.groups * p.chunks * p.shares, p.threads, [&](std::int64_t task, int thread) {
    const std::int64_t share = task % p.shares, chunk = task / p.shares % p.chunks;
    const std::int64_t group = task / p.shares / p.chunks;
    const std::int64_t entry = first_of_chunk(chunk), entries = first_of_chunk(chunk + 1) - entry;
    const std::int64_t block0 = p.blocks * share / p.shares, block1 = p.blocks * (share + 1) / p.shares;
    T* copy = scratch.as<T>() + thread * p.thread_elements();
    T* packed = copy + p.copy_elements;
    for (std::int64_t image = 0; image < p.images; ++image) {
      const T* pixel = broadcast.data + image * broadcast.image + group * p.entries + entry;
      for (std::int64_t i = 0; i < p.height * p.width; ++i, pixel += broadcast.pixel)
        std::memcpy(copy + i * p.pitch, pixel, static_cast<std::size_t>(entries) * sizeof(T));

      for (std::int64_t block = block0; block < block1; ++block) {
        const std::int64_t first = block * 2 * vector;
        const int vectors = block_vectors(p.lanes, first, kernels.vector_size);
        const std::int64_t width = vectors * vector, valid = std::min(width, p.lanes - first);
        const T* unpacked = packed_side.data + image * packed_side.image + group * p.lanes + first;
        for (std::int64_t row = 0; row < p.out_h; ++row)
          kernels.pack_pixels(unpacked + row * packed_side.row, p.out_w, packed_side.pixel, static_cast<int>(valid),
                              static_cast<int>(width), packed + row * p.out_w * width);

        const bool stored = p.exchange && !accumulate && valid == width;  // straight to their place
        T* local = packed + p.packed_elements + (p.images > 1 ? block - block0 : 0) * entries * taps * 2 * vector;
        T* place = p.exchange ? grad_weight + (group * p.entries + entry) * filter + first
                              : grad_weight + (group * p.lanes + first) * filter + entry * taps;
        sum_image(s, p, copy, packed, entries, vectors, stored ? place : local, stored ? filter : 0, image > 0,
                  kernels);
        if (stored || image + 1 < p.images) continue;
        if (!p.exchange && !accumulate) {
          kernels.transpose(local, entries * taps, valid, width, place, filter);
          continue;
        }
        const std::int64_t lane = p.exchange ? 1 : filter, other = p.exchange ? filter : 1;
        for (std::int64_t i = 0; i < entries * taps; ++i)
          for (std::int64_t l = 0; l < valid; ++l) {
            T& to = place[i * other + l * lane];
            to = accumulate ? to + local[i * width + l] : local[i * width + l];
          }
      }
    }
  });
}

template <class T>
std::int64_t whole_weight_scratch_bytes(const Conv2dShape& s) {
  const Plan p = make_plan<T>(s);
  return p.threads * p.thread_elements() * static_cast<std::int64_t>(sizeof(T));
}

template bool takes_whole_weight<float>(const Conv2dShape&);
template bool takes_whole_weight<double>(const Conv2dShape&);
template void run_whole_weight(const Conv2dShape&, const float*, const float*, float*, bool);
template void run_whole_weight(const Conv2dShape&, const double*, const double*, double*, bool);
template std::int64_t whole_weight_scratch_bytes<float>(const Conv2dShape&);
template std::int64_t whole_weight_scratch_bytes<double>(const Conv2dShape&);

}  // namespace fastconv
