#include "cuda/tensor_map.h"

#include <string>

#include "cuda/error.h"
#if defined(__CUDACC__)
#include <cudaTypedefs.h>
#include <cuda_runtime.h>
#else
#include "cuda/emulator/grid.h"
#endif

namespace fastconv {
namespace cuda {

#if defined(__CUDACC__)

namespace {

// Version 12.0 brought these functions; the driver may be newer.
void* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  if (error == cudaSuccess && found == cudaDriverEntryPointSuccess) return function;
  cudaGetLastError();  // the next launch shall not find this error
  return nullptr;
}

auto encode_im2col() {
  static const auto function =
      reinterpret_cast<PFN_cuTensorMapEncodeIm2col_v12000>(driver_function("cuTensorMapEncodeIm2col"));
  return function;
}
auto encode_tiled() {
  static const auto function =
      reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(driver_function("cuTensorMapEncodeTiled"));
  return function;
}

// TMA rounds float32 to TF32 on its way, to the nearest, ties to even.
CUtensorMapDataType map_type(ElementType type) {
  return type == ElementType::kFloat32   ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32
         : type == ElementType::kFloat16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                         : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

void check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS)
    throw CudaError(std::string("conv2d: ") + what + " failed with CUresult " + std::to_string(result));
}

}  // namespace

bool tensor_maps_available() { return encode_im2col() && encode_tiled(); }

TensorMap im2col_tensor_map(ElementType type, const void* images, const std::int64_t (&nhwc)[4], const Im2colBox& box) {
  const auto n = static_cast<cuuint64_t>(nhwc[0]), h = static_cast<cuuint64_t>(nhwc[1]);
  const auto w = static_cast<cuuint64_t>(nhwc[2]), c = static_cast<cuuint64_t>(nhwc[3]);
  const auto pixel = c * static_cast<cuuint64_t>(bytes_of(type));
  const cuuint64_t dims[] = {c, w, h, n}, strides[] = {pixel, w * pixel, h * w * pixel};
  const int lower[] = {box.lower_w, box.lower_h}, upper[] = {box.upper_w, box.upper_h};
  const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(box.stride_w), static_cast<cuuint32_t>(box.stride_h), 1};
  TensorMap map;
  check(encode_im2col()(&map, map_type(type), 4, const_cast<void*>(images), dims, strides, lower, upper,
                        static_cast<cuuint32_t>(box.channels), static_cast<cuuint32_t>(box.pixels), steps,
                        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeIm2col");
  return map;
}

TensorMap filter_tensor_map(ElementType type, const void* weight, const std::int64_t (&filters_taps_c)[3],
                            std::int32_t channels, std::int32_t filters) {
  const auto taps = static_cast<cuuint64_t>(filters_taps_c[1]), c = static_cast<cuuint64_t>(filters_taps_c[2]);
  const auto tap = c * static_cast<cuuint64_t>(bytes_of(type));
  const cuuint64_t dims[] = {c, taps, static_cast<cuuint64_t>(filters_taps_c[0])}, strides[] = {tap, taps * tap};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(channels), 1, static_cast<cuuint32_t>(filters)};
  const cuuint32_t steps[] = {1, 1, 1};
  TensorMap map;
  check(encode_tiled()(&map, map_type(type), 3, const_cast<void*>(weight), dims, strides, box, steps,
                       CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return map;
}

#else

namespace {

// What the driver refuses, too.
void demand(bool holds, const char* what) {
  if (!holds) throw CudaError(std::string("conv2d: no tensor map: ") + what);
}

TensorMap common(ElementType type, const void* array, int rank, const std::int64_t* dims, std::int64_t channels) {
  TensorMap map{};
  map.address = static_cast<const unsigned char*>(array), map.rank = rank;
  map.element_bytes = static_cast<std::int32_t>(bytes_of(type)), map.to_tf32 = type == ElementType::kFloat32;
  demand(reinterpret_cast<std::uintptr_t>(array) % 16 == 0, "the address is not aligned to 16 bytes");
  std::int64_t stride = map.element_bytes;
  for (int i = 0; i < rank; ++i) {
    demand(dims[i] > 0 && dims[i] <= std::int64_t{1} << 32, "a size is 0 or above 2^32");
    demand(i == 0 || (stride % 16 == 0 && stride < std::int64_t{1} << 40), "a stride is not a multiple of 16 bytes");
    map.dims[i] = dims[i], map.strides[i] = stride;
    stride *= dims[i];
  }
  demand(channels * map.element_bytes <= 128, "a line is wider than the swizzle");
  return map;
}

}  // namespace

bool tensor_maps_available() { return emulator::mode().tensor_maps; }

TensorMap im2col_tensor_map(ElementType type, const void* images, const std::int64_t (&nhwc)[4], const Im2colBox& box) {
  const std::int64_t dims[] = {nhwc[3], nhwc[2], nhwc[1], nhwc[0]};
  TensorMap map = common(type, images, 4, dims, box.channels);
  map.im2col = true, map.channels = box.channels, map.pixels = box.pixels;
  const std::int32_t lower[] = {box.lower_w, box.lower_h}, upper[] = {box.upper_w, box.upper_h};
  const std::int32_t steps[] = {box.stride_w, box.stride_h};
  demand(box.channels <= 256 && box.pixels <= 1024, "a box is too large");
  for (int i = 0; i < 2; ++i) {
    demand(lower[i] >= -128 && lower[i] <= 127 && upper[i] >= -128 && upper[i] <= 127, "a corner is not in 8 bits");
    demand(steps[i] >= 1 && steps[i] <= 8, "a stride is not 1 to 8");
    demand(dims[i + 1] + upper[i] > lower[i], "no output");
    map.lower[i] = lower[i], map.upper[i] = upper[i], map.steps[i] = steps[i];
  }
  return map;
}

TensorMap filter_tensor_map(ElementType type, const void* weight, const std::int64_t (&filters_taps_c)[3],
                            std::int32_t channels, std::int32_t filters) {
  const std::int64_t dims[] = {filters_taps_c[2], filters_taps_c[1], filters_taps_c[0]};
  TensorMap map = common(type, weight, 3, dims, channels);
  demand(filters >= 1 && filters <= 256, "a box is too large");
  map.box[0] = channels, map.box[1] = 1, map.box[2] = filters;
  return map;
}

#endif

}  // namespace cuda
}  // namespace fastconv
