// Tensor maps, which tell TMA how an array lies in memory. On a GPU the driver makes them; its functions are asked for
// at run time, since libcuda is never linked.
#pragma once

#include <cstdint>

#include "cuda/conv2d_mma.h"
#include "cuda/tensor_map_type.h"

namespace fastconv {
namespace cuda {

// Whether there is a driver that makes them.
bool tensor_maps_available();

// Images (N, H, W, C) as a convolution sees them: a box is `channels` channels of `pixels` outputs, under one tap.
struct Im2colBox {
  std::int32_t channels, pixels;
  std::int32_t stride_w, stride_h;
  std::int32_t lower_w, lower_h;  // where the first tap of the first output lies
  std::int32_t upper_w, upper_h;  // and of the last one, from the last pixel on
};
TensorMap im2col_tensor_map(ElementType type, const void* images, const std::int64_t (&nhwc)[4], const Im2colBox& box);

// Filters (O, taps, C): a box is `channels` channels of one tap of `filters` filters.
TensorMap filter_tensor_map(ElementType type, const void* weight, const std::int64_t (&filters_taps_c)[3],
                            std::int32_t channels, std::int32_t filters);

}  // namespace cuda
}  // namespace fastconv
