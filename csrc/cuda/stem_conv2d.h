// Convolution of images with 1 to 4 channels, that lie as (N, H, W, C) or as (N, C, H, W): then nothing needs to change
// the layout at the entry of a network. The result is (N, OH, OW, O) in both cases.
#pragma once

#include <cstdint>

#include "core/conv2d_shape.h"
#include "cuda/element_type.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

constexpr std::int64_t kMostStemChannels = 4;

// Bytes of shared memory: the image under a tile, and a row of filters.
std::int64_t stem_conv2d_shared_bytes(const Conv2dShape& shape);
// The channels are few and a tile fits shared memory: no huge filter, stride or dilation.
bool stem_conv2d_takes(const Conv2dShape& shape);

void stem_conv2d_forward(const Conv2dShape& shape, ElementType type, const void* input, bool planar, const void* weight,
                         const void* bias, void* output, bool relu, Stream stream);

// The gradient of the weight, float32. The workspace has as many bytes as the function says, at most 17.3 MB; what it
// holds does not matter. accumulate: add to what grad_weight holds.
bool stem_conv2d_backward_weight_takes(const Conv2dShape& shape);
std::int64_t stem_conv2d_backward_weight_workspace(const Conv2dShape& shape);
void stem_conv2d_backward_weight(const Conv2dShape& shape, const float* input, bool planar, const float* grad_output,
                                 float* grad_weight, void* workspace, bool accumulate, Stream stream);

}  // namespace cuda
}  // namespace fastconv
