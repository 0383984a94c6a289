// Local response normalisation: plain loops over the channels of a pixel, which the compiler turns into vectors.
#include <algorithm>
#include <cmath>

#include "core/checked_math.h"
#include "cpu/layout.h"
#include "cpu/norm.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kPixels = 64;          // of a task
constexpr double kOperationsPerElement = 20;  // in the units of threads_for; a general power costs more

// sums[c] = windowed sum of `squares`, which has margins of zeros.
template <class T>
void window_sums(const T* padded, std::int64_t channels, std::int64_t size, T* sums) {
  std::copy_n(padded, channels, sums);
  for (std::int64_t tap = 1; tap < size; ++tap)
    for (std::int64_t c = 0; c < channels; ++c) sums[c] += padded[c + tap];
}

// base = k + alpha / size * sum, and base^-beta.
template <class T>
void powers(const LrnOptions& o, std::int64_t channels, T* base, T* power) {
  const T k = static_cast<T>(o.k), alpha = static_cast<T>(o.alpha / static_cast<double>(o.size));
  const T beta = static_cast<T>(-o.beta);
  for (std::int64_t c = 0; c < channels; ++c) base[c] = k + alpha * base[c];
  if (o.beta == 0.75) {  // everybody's choice: two roots instead of a power
    for (std::int64_t c = 0; c < channels; ++c) {
      const T root = std::sqrt(base[c]);
      power[c] = T(1) / (root * std::sqrt(root));
    }
  } else {
    for (std::int64_t c = 0; c < channels; ++c) power[c] = std::pow(base[c], beta);
  }
}

// function(place, memory, pitch) for all pixels; memory is `rows` zeroed arrays of pitch = channels + size.
template <class T, class Function>
void for_each_pixel(const Shape4& s, std::int64_t size, std::int64_t rows, Function&& function) {
  const std::int64_t pixels = s[0] * s[2] * s[3], pitch = checked_add(s[1], size, "local_response_norm");
  const int threads = threads_for(kOperationsPerElement * static_cast<double>(pixels) * static_cast<double>(s[1]));
  const std::int64_t elements = max_threads() * rows * pitch;  // whatever the work, so that plans know it
  const Scratch memory(static_cast<std::size_t>(elements) * sizeof(T));
  std::fill_n(memory.as<T>(), elements, T(0));
  parallel_for(ceil_div(pixels, kPixels), threads, [&](std::int64_t task, int thread) {
    const std::int64_t end = std::min(pixels, (task + 1) * kPixels);
    for (std::int64_t pixel = task * kPixels; pixel < end; ++pixel)
      function(pixel * s[1], memory.as<T>() + thread * rows * pitch, pitch);
  });
}

}  // namespace

template <class T>
void local_response_norm(const Shape4& shape, const LrnOptions& o, const T* input, const T* grad_output, T* output,
                         Layout layout) {
  const ChannelsLastInput<T> source(shape, layout, input);
  const ChannelsLastInput<T> gradient(shape, grad_output ? layout : Layout::nhwc, grad_output);
  const ChannelsLastOutput<T> target(shape, layout, output);
  const std::int64_t channels = shape[1];
  const T factor = static_cast<T>(2 * o.alpha * o.beta / static_cast<double>(o.size));
  for_each_pixel<T>(shape, o.size, 4, [&](std::int64_t at, T* memory, std::int64_t pitch) {
    const T* x = source.data() + at;
    T *squares = memory, *ratios = memory + pitch, *base = ratios + pitch, *power = base + pitch;
    T* y = target.data() + at;
    for (std::int64_t c = 0; c < channels; ++c) squares[o.size / 2 + c] = x[c] * x[c];
    window_sums(squares, channels, o.size, base);
    powers(o, channels, base, power);
    if (!grad_output) {
      for (std::int64_t c = 0; c < channels; ++c) y[c] = x[c] * power[c];
      return;
    }
    const T* g = gradient.data() + at;
    // The channels whose window holds c: the same window, turned round.
    for (std::int64_t c = 0; c < channels; ++c) ratios[(o.size - 1) / 2 + c] = g[c] * x[c] * power[c] / base[c];
    window_sums(ratios, channels, o.size, base);
    for (std::int64_t c = 0; c < channels; ++c) y[c] = g[c] * power[c] - factor * x[c] * base[c];
  });
  target.finish();
}

template void local_response_norm(const Shape4&, const LrnOptions&, const float*, const float*, float*, Layout);
template void local_response_norm(const Shape4&, const LrnOptions&, const double*, const double*, double*, Layout);

}  // namespace fastconv
