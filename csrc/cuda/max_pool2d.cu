// Drivers of max pooling: how many channels an access takes, which kernel.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/max_pool2d.h"
#include "cuda/lanes.h"
#include "cuda/launch.h"
#include "cuda/pool2d.h"
#include "cuda/pool2d_choice.h"
#include "cuda/pool2d_params.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t blocks_of(const PixelItems& items) { return ceil_div(items.items, kPoolThreads); }

// Loops are not written out where channels go one by one in 16 bits: not worth their size.
template <int kVector, class Place, class T>
void forward(const Pool2dShape& s, MaxPoolForwardParams<T> p, Stream stream) {
  if (is_wide(s)) {
    const std::int64_t accesses = s.c / kVector;
    p.lanes = lanes_for(accesses), p.chunks = static_cast<std::int32_t>(ceil_div(accesses, p.lanes));
    constexpr std::int64_t kSharedBytes = kPoolThreads * static_cast<int>(sizeof(Maximum<kVector>));
    for_pixels("max_pool2d", s, s.n, s.oh, s.ow, p.chunks, [&](const PixelItems& items) {
      p.items = items;
      launch({"max_pool2d_forward_wide", items.items, kPoolThreads, kSharedBytes, stream},
             max_pool2d_forward_wide<T, kVector, Place>, p, s);
    });
    return;
  }
  constexpr bool kUnrolls = kVector > 1 || sizeof(T) == 4;
  const auto kernel = pool2d_side(s) == 2 ? max_pool2d_forward_kernel < T, kVector, Place,
             kUnrolls ? 2 : 0 > : pool2d_side(s) == 3 ? max_pool2d_forward_kernel < T, kVector, Place,
             kUnrolls ? 3 : 0 >                       : max_pool2d_forward_kernel<T, kVector, Place, 0>;
  for_pixels("max_pool2d", s, s.n, s.oh, s.ow, s.c / kVector, [&](const PixelItems& items) {
    p.items = items;
    launch({"max_pool2d_forward", blocks_of(items), kPoolThreads, 0, stream}, kernel, p, s);
  });
}

template <int kVector, class Place, class T>
void backward(const Pool2dShape& s, MaxPoolBackwardParams<T> p, Stream stream) {
  const char* op = "max_pool2d_backward";
  if (has_small_cells(s)) {
    const std::int64_t rows = (s.ih - 1 + s.pad_top) / s.stride_h + 1;
    const std::int64_t columns = (s.iw - 1 + s.pad_left) / s.stride_w + 1;
    for_pixels(op, s, s.n, rows, columns, s.c / kVector, [&](const PixelItems& items) {
      p.items = items;
      launch({"max_pool2d_backward_cells", blocks_of(items), kPoolThreads, 0, stream},
             max_pool2d_backward_cells<T, kVector, Place>, p, s);
    });
  } else {
    for_pixels(op, s, s.n, s.ih, s.iw, s.c / kVector, [&](const PixelItems& items) {
      p.items = items;
      launch({"max_pool2d_backward_gather", blocks_of(items), kPoolThreads, 0, stream},
             max_pool2d_backward_gather<T, kVector, Place>, p, s);
    });
  }
}

template <class T>
void forward_of(const Pool2dShape& s, const T* input, T* output, const MaxPlaces& places, Stream stream) {
  MaxPoolForwardParams<T> p{};
  p.input = input, p.output = output, p.positive_only = places.positive_only;
  p.geometry = pool2d_geometry("max_pool2d", s);
  const bool in_fours = s.c % 4 == 0 && aligned(input, 4 * sizeof(T)) && aligned(output, 4 * sizeof(T)) &&
                        aligned(places.indices, 16) && aligned(places.taps, 4);
  if (places.indices) {
    p.places = places.indices;
    in_fours ? forward<4, std::int32_t, T>(s, p, stream) : forward<1, std::int32_t, T>(s, p, stream);
  } else if (places.taps) {
    p.places = places.taps;
    in_fours ? forward<4, std::uint8_t, T>(s, p, stream) : forward<1, std::uint8_t, T>(s, p, stream);
  } else {
    in_fours ? forward<4, NoPlaces, T>(s, p, stream) : forward<1, NoPlaces, T>(s, p, stream);
  }
}

template <class T>
void backward_of(const Pool2dShape& s, const T* grad_output, const ConstMaxPlaces& places, T* grad_input,
                 Stream stream) {
  MaxPoolBackwardParams<T> p{};
  p.grad_output = grad_output, p.grad_input = grad_input;
  p.geometry = pool2d_geometry("max_pool2d_backward", s);
  const bool in_fours = s.c % 4 == 0 && aligned(grad_output, 4 * sizeof(T)) && aligned(grad_input, 4 * sizeof(T)) &&
                        aligned(places.indices, 16) && aligned(places.taps, 4);
  if (places.indices) {
    p.places = places.indices;
    in_fours ? backward<4, std::int32_t, T>(s, p, stream) : backward<1, std::int32_t, T>(s, p, stream);
  } else {
    p.places = places.taps;
    in_fours ? backward<4, std::uint8_t, T>(s, p, stream) : backward<1, std::uint8_t, T>(s, p, stream);
  }
}

}  // namespace

void max_pool2d_forward(const Pool2dShape& s, ElementType type, const void* input, void* output,
                        const MaxPlaces& places, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    forward_of(s, static_cast<const T*>(input), static_cast<T*>(output), places, stream);
  });
}

void max_pool2d_backward(const Pool2dShape& s, ElementType type, const void* grad_output, const ConstMaxPlaces& places,
                         void* grad_input, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    backward_of(s, static_cast<const T*>(grad_output), places, static_cast<T*>(grad_input), stream);
  });
}

}  // namespace cuda
}  // namespace fastconv
