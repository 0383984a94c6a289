// Drivers of max pooling: how many channels an access takes, which kernel.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/max_pool2d.h"
#include "cuda/launch.h"
#include "cuda/pool2d.h"
#include "cuda/pool2d_choice.h"
#include "cuda/pool2d_params.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t blocks_of(const PixelItems& items) { return ceil_div(items.items, kPoolThreads); }

template <int kVector, class Place>
void forward(const Pool2dShape& s, MaxPoolForwardParams<float> p, Stream stream) {
  const auto kernel = pool2d_side(s) == 2   ? max_pool2d_forward_kernel<float, kVector, Place, 2>
                      : pool2d_side(s) == 3 ? max_pool2d_forward_kernel<float, kVector, Place, 3>
                                            : max_pool2d_forward_kernel<float, kVector, Place, 0>;
  for_pixels("max_pool2d", s, s.n, s.oh, s.ow, s.c / kVector, [&](const PixelItems& items) {
    p.items = items;
    launch({"max_pool2d_forward", blocks_of(items), kPoolThreads, 0, stream}, kernel, p, s);
  });
}

template <int kVector, class Place>
void backward(const Pool2dShape& s, MaxPoolBackwardParams<float> p, Stream stream) {
  const char* op = "max_pool2d_backward";
  if (has_small_cells(s)) {
    const std::int64_t rows = (s.ih - 1 + s.pad_top) / s.stride_h + 1;
    const std::int64_t columns = (s.iw - 1 + s.pad_left) / s.stride_w + 1;
    for_pixels(op, s, s.n, rows, columns, s.c / kVector, [&](const PixelItems& items) {
      p.items = items;
      launch({"max_pool2d_backward_cells", blocks_of(items), kPoolThreads, 0, stream},
             max_pool2d_backward_cells<float, kVector, Place>, p, s);
    });
  } else {
    for_pixels(op, s, s.n, s.ih, s.iw, s.c / kVector, [&](const PixelItems& items) {
      p.items = items;
      launch({"max_pool2d_backward_gather", blocks_of(items), kPoolThreads, 0, stream},
             max_pool2d_backward_gather<float, kVector, Place>, p, s);
    });
  }
}

}  // namespace

void max_pool2d_forward(const Pool2dShape& s, const float* input, float* output, const MaxPlaces& places,
                        Stream stream) {
  MaxPoolForwardParams<float> p{};
  p.input = input, p.output = output, p.positive_only = places.positive_only;
  p.geometry = pool2d_geometry("max_pool2d", s);
  const bool in_fours = s.c % 4 == 0 && aligned(input, 16) && aligned(output, 16) && aligned(places.indices, 16) &&
                        aligned(places.taps, 4);
  if (places.indices) {
    p.places = places.indices;
    in_fours ? forward<4, std::int32_t>(s, p, stream) : forward<1, std::int32_t>(s, p, stream);
  } else if (places.taps) {
    p.places = places.taps;
    in_fours ? forward<4, std::uint8_t>(s, p, stream) : forward<1, std::uint8_t>(s, p, stream);
  } else {
    in_fours ? forward<4, NoPlaces>(s, p, stream) : forward<1, NoPlaces>(s, p, stream);
  }
}

void max_pool2d_backward(const Pool2dShape& s, const float* grad_output, const ConstMaxPlaces& places,
                         float* grad_input, Stream stream) {
  MaxPoolBackwardParams<float> p{};
  p.grad_output = grad_output, p.grad_input = grad_input;
  p.geometry = pool2d_geometry("max_pool2d_backward", s);
  const bool in_fours = s.c % 4 == 0 && aligned(grad_output, 16) && aligned(grad_input, 16) &&
                        aligned(places.indices, 16) && aligned(places.taps, 4);
  if (places.indices) {
    p.places = places.indices;
    in_fours ? backward<4, std::int32_t>(s, p, stream) : backward<1, std::int32_t>(s, p, stream);
  } else {
    p.places = places.taps;
    in_fours ? backward<4, std::uint8_t>(s, p, stream) : backward<1, std::uint8_t>(s, p, stream);
  }
}

}  // namespace cuda
}  // namespace fastconv
