#include "cpu/pack_weight.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "cpu/isa.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr int kLanes = 32;   // widest channel block
constexpr int kChunk = 128;  // filter elements transposed at once

// Where the filters lie as (ic, kh, kw) without gaps, a block of them is a matrix to transpose.
template <class T>
bool filters_contiguous(const WeightView<T>& w) {
  return w.input_stride == w.taps_h * w.taps_w && w.tap_w_stride == 1 && w.tap_h_stride == w.taps_w;
}

template <class T>
void pack_contiguous_filters(const WeightView<T>& w, const T* source, std::int64_t valid, std::int64_t width,
                             T* block) {
  const auto transpose = active_kernel_set<T>().conv.transpose;
  const std::int64_t taps = w.taps_h * w.taps_w, filter = w.inputs * taps;
  T rows[kChunk * kLanes];
  std::fill_n(rows, kChunk * width, T(0));
  for (std::int64_t k0 = 0; k0 < filter; k0 += kChunk) {
    const std::int64_t count = std::min<std::int64_t>(kChunk, filter - k0);
    transpose(source + k0, valid, count, w.output_stride, rows, width);
    for (std::int64_t k = k0; k < k0 + count; ++k)
      std::copy_n(rows + (k - k0) * width, width, block + (k % taps * w.inputs + k / taps) * width);
  }
}

template <class T>
void pack_strided(const WeightView<T>& w, const T* source, std::int64_t valid, std::int64_t width, T* block) {
  for (std::int64_t th = 0; th < w.taps_h; ++th)
    for (std::int64_t tw = 0; tw < w.taps_w; ++tw)
      for (std::int64_t i = 0; i < w.inputs; ++i, block += width) {
        const T* from = source + th * w.tap_h_stride + tw * w.tap_w_stride + i * w.input_stride;
        if (w.output_stride == 1)
          std::copy_n(from, valid, block);
        else
          for (std::int64_t o = 0; o < valid; ++o) block[o] = from[o * w.output_stride];
        std::fill(block + valid, block + width, T(0));
      }
}

}  // namespace

template <class T>
bool all_finite(const T* values, std::int64_t rows, std::int64_t width) {
  T zero[kLanes] = {};  // becomes NaN where a value is not finite
  for (std::int64_t row = 0; row < rows; ++row, values += width)
    for (std::int64_t lane = 0; lane < width; ++lane) zero[lane] += values[lane] * T(0);
  return std::all_of(zero, zero + width, [](T z) { return z == T(0); });
}

template <class T>
void pack_weight(const WeightView<T>& w, int vector_size, T* packed) {
  const std::int64_t taps = w.taps_h * w.taps_w;
  const std::int64_t blocks = block_count(w.outputs, vector_size);
  const std::int64_t group_elements = packed_group_elements(w.outputs, w.inputs, taps, vector_size);
  const int threads = threads_for(8.0 * static_cast<double>(w.groups) * static_cast<double>(group_elements));

  std::atomic<bool> finite{true};
  parallel_for(w.groups * blocks, threads, [&](std::int64_t task, int) {
    const std::int64_t group = task / blocks, first = task % blocks * 2 * vector_size;
    const std::int64_t width = block_vectors(w.outputs, first, vector_size) * vector_size;
    const std::int64_t valid = std::min(width, w.outputs - first);
    T* block = packed + group * group_elements + first * w.inputs * taps;
    const T* source = w.data + group * w.group_stride + first * w.output_stride;
    if (filters_contiguous(w))
      pack_contiguous_filters(w, source, valid, width, block);
    else
      pack_strided(w, source, valid, width, block);
    if (!all_finite(block, w.inputs * taps, width)) finite.store(false, std::memory_order_relaxed);
  });
  packed[w.groups * group_elements] = finite.load() ? T(0) : std::numeric_limits<T>::quiet_NaN();
}

template bool all_finite(const float*, std::int64_t, std::int64_t);
template bool all_finite(const double*, std::int64_t, std::int64_t);
template void pack_weight(const WeightView<float>&, int, float*);
template void pack_weight(const WeightView<double>&, int, double*);

}  // namespace fastconv
