// Drivers of average pooling, and what there is to say about pooling.
#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/avg_pool2d.h"
#include "cuda/lanes.h"
#include "cuda/launch.h"
#include "cuda/pool2d.h"
#include "cuda/pool2d_choice.h"
#include "cuda/pool2d_params.h"

namespace fastconv {
namespace cuda {

namespace {

std::int64_t blocks_of(const PixelItems& items) { return ceil_div(items.items, kPoolThreads); }

AvgPoolDivisor divisor_of(const Pool2dShape& s, const AvgPool2dOptions& options) {
  const bool pad = options.count_include_pad;
  const auto number = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  AvgPoolDivisor d{};
  d.given = static_cast<float>(options.divisor_override);
  d.top = number(pad ? -s.pad_top : 0), d.bottom = number(s.ih + (pad ? s.pad_bottom : 0));
  d.left = number(pad ? -s.pad_left : 0), d.right = number(s.iw + (pad ? s.pad_right : 0));
  return d;
}

template <int kVector, class T>
void forward(const Pool2dShape& s, AvgPoolForwardParams<T> p, Stream stream) {
  const char* op = "avg_pool2d";
  const std::int64_t accesses = s.c / kVector;
  if (is_wide(s)) {
    p.lanes = lanes_for(accesses), p.chunks = static_cast<std::int32_t>(ceil_div(accesses, p.lanes));
    constexpr std::int64_t kSharedBytes = kPoolThreads * kVector * static_cast<int>(sizeof(float));
    for_pixels(op, s, s.n, s.oh, s.ow, p.chunks, [&](const PixelItems& items) {
      p.items = items;
      launch({"avg_pool2d_forward_wide", items.items, kPoolThreads, kSharedBytes, stream},
             avg_pool2d_forward_wide<T, kVector>, p, s);
    });
    return;
  }
  constexpr bool kUnrolls = kVector > 1 || sizeof(T) == 4;  // as in max_pool2d.cu
  const auto kernel = pool2d_side(s) == 2 ? avg_pool2d_forward_kernel < T, kVector,
             kUnrolls ? 2 : 0 > : pool2d_side(s) == 3 ? avg_pool2d_forward_kernel < T, kVector,
             kUnrolls ? 3 : 0 >                       : avg_pool2d_forward_kernel<T, kVector, 0>;
  for_pixels(op, s, s.n, s.oh, s.ow, accesses, [&](const PixelItems& items) {
    p.items = items;
    launch({"avg_pool2d_forward", blocks_of(items), kPoolThreads, 0, stream}, kernel, p, s);
  });
}

template <int kVector, class T>
void backward(const Pool2dShape& s, AvgPoolBackwardParams<T> p, Stream stream) {
  for_pixels("avg_pool2d_backward", s, s.n, s.ih, s.iw, s.c / kVector, [&](const PixelItems& items) {
    p.items = items;
    launch({"avg_pool2d_backward", blocks_of(items), kPoolThreads, 0, stream}, avg_pool2d_backward_kernel<T, kVector>,
           p, s);
  });
}

}  // namespace

void avg_pool2d_forward(const Pool2dShape& s, const AvgPool2dOptions& options, ElementType type, const void* input,
                        void* output, Stream stream) {
  const std::int64_t bytes = 4 * bytes_of(type);
  const bool in_fours = s.c % 4 == 0 && aligned(input, bytes) && aligned(output, bytes);
  with_element(type, [&](auto element) {
    using T = decltype(element);
    AvgPoolForwardParams<T> p{};
    p.input = static_cast<const T*>(input), p.output = static_cast<T*>(output);
    p.geometry = pool2d_geometry("avg_pool2d", s), p.divisor = divisor_of(s, options);
    in_fours ? forward<4>(s, p, stream) : forward<1>(s, p, stream);
  });
}

void avg_pool2d_backward(const Pool2dShape& s, const AvgPool2dOptions& options, ElementType type,
                         const void* grad_output, void* grad_input, Stream stream) {
  const std::int64_t bytes = 4 * bytes_of(type);
  const bool in_fours = s.c % 4 == 0 && aligned(grad_output, bytes) && aligned(grad_input, bytes);
  with_element(type, [&](auto element) {
    using T = decltype(element);
    AvgPoolBackwardParams<T> p{};
    p.grad_output = static_cast<const T*>(grad_output), p.grad_input = static_cast<T*>(grad_input);
    p.geometry = pool2d_geometry("avg_pool2d_backward", s), p.divisor = divisor_of(s, options);
    in_fours ? backward<4>(s, p, stream) : backward<1>(s, p, stream);
  });
}

std::string explain_pool2d(const Pool2dShape& s, PoolPass pass) {
  const std::string access = s.c % 4 == 0 ? "; 4 channels in an access" : "; one channel in an access: C % 4 != 0";
  const std::string unrolled = pool2d_side(s) ? ", unrolled" : "";
  switch (pass) {
    case PoolPass::max_forward:
      return is_wide(s) ? "max_pool2d_forward_wide: a block shares the many taps of a window" + access
                        : "max_pool2d_forward: a thread per output pixel" + unrolled + access;
    case PoolPass::max_backward:
      return has_small_cells(s)
                 ? "max_pool2d_backward_cells: windows do not overlap, each is read once" + access
                 : "max_pool2d_backward_gather: a thread per input pixel, over all windows on it" + access;
    case PoolPass::avg_forward:
      return is_wide(s) ? "avg_pool2d_forward_wide: a block shares the many taps of a window" + access
                        : "avg_pool2d_forward: a thread per output pixel" + unrolled + access;
    default:
      return "avg_pool2d_backward: a thread per input pixel, over all windows on it" + access;
  }
}

}  // namespace cuda
}  // namespace fastconv
