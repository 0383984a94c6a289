// Convolution on tensor cores: of float32 with less exact products, of float16 and of bfloat16. As in conv2d.h,
// pointers are device pointers, and nothing allocates, waits, or looks at the data.
#pragma once

#include <cstdint>
#include <string>

#include "core/conv2d_shape.h"
#include "cuda/element_type.h"
#include "cuda/stream.h"
#include "cuda/workspace.h"

namespace fastconv {
namespace cuda {

// How float32 is multiplied: kIeee exactly (never on tensor cores), kTf32 with 10 bits of mantissa, kTf32x3 as the sum
// of three such products. The 16-bit types have one way, kNative.
enum class Precision { kNative, kIeee, kTf32, kTf32x3 };

// From the name that Python has; invalid_argument for others, and where it does not go with the type.
Precision parse_precision(const char* op, ElementType type, const std::string& precision);

// CudaError where the GPU has no instruction for the type; how many slabs of a tile its shared memory holds.
void check_tensor_cores(const char* op, ElementType type, int compute_capability);
int mma_stages(int compute_capability);

struct Conv2dForwardChoice {
  const char* kernel;
  bool tensor_cores;   // else conv2d_forward, and the rest says nothing
  int columns;         // of a tile
  int copy_bytes;      // of one copy to shared memory
  int stages;          // slabs in shared memory
  bool wgmma = false;  // conv2d_wgmma.h: TMA copies whole boxes
  std::string name() const;
};

// Tiles of fewer columns while all of them fit the GPU's multiprocessors at once. Whatever the columns, a sum is added
// up in the same order. `row_tiles`: of all groups and phases.
int mma_columns(std::int64_t channels, std::int64_t row_tiles, int multiprocessors);

// Which kernel computes a forward pass. Reads the geometry of one image, the types and the GPU; the batch only for the
// columns of a tile, which make no difference to a result. `aligned`: whether all arrays begin on 16 bytes. CudaError
// where the GPU has no instruction for it.
Conv2dForwardChoice choose_conv2d_forward(const Conv2dShape& shape, ElementType type, Precision precision, bool aligned,
                                          int compute_capability, int multiprocessors);

using Conv2dForwardMma = void(const Conv2dShape& shape, const Conv2dForwardChoice& choice, const void* input,
                              const void* weight, const void* bias, void* output, bool relu, Stream stream);
Conv2dForwardMma conv2d_forward_mma_tf32, conv2d_forward_mma_tf32x3, conv2d_forward_mma_float16,
    conv2d_forward_mma_bfloat16;  // each compiled by itself

// As conv2d_forward(), with all arrays of `type`. The sums are float32.
std::int64_t conv2d_forward_mma_workspace_bytes(const Conv2dShape& shape, ElementType type, Precision precision);
void conv2d_forward_mma(const Conv2dShape& shape, ElementType type, Precision precision, const void* input,
                        const void* weight, const void* bias, void* output, bool relu, Workspace workspace,
                        Stream stream);

}  // namespace cuda
}  // namespace fastconv
