// Packed weights as NumPy arrays that a caller may keep for as long as the weight does not change.
#pragma once

#include "bindings/array.h"
#include "cpu/conv2d.h"

namespace fastconv {
namespace bindings {

inline std::int64_t packed_elements(const Conv2dShape& shape, Pass pass, Algorithm algorithm, DType dtype) {
  return dtype == DType::float32 ? packed_weight_elements<float>(shape, pass, algorithm)
                                 : packed_weight_elements<double>(shape, pass, algorithm);
}

// The data of packed weights that fit the shape, or null where the caller kept none.
inline const void* check_packed(const char* op, const OptionalArray& packed, const Conv2dShape& shape, Pass pass,
                                Algorithm algorithm, DType dtype) {
  if (!packed) return nullptr;
  check_array(op, "packed_weight", *packed, dtype, {packed_elements(shape, pass, algorithm, dtype)});
  return packed->data();
}

inline py::array pack_weight_array(const Conv2dShape& shape, const py::array& weight, Pass pass, Algorithm algorithm,
                                   DType dtype) {
  py::array packed = aligned_array(dtype, packed_elements(shape, pass, algorithm, dtype));
  const void* from = weight.data();
  void* to = packed.mutable_data();
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    pack_conv2d_weight(shape, static_cast<const T*>(from), pass, algorithm, static_cast<T*>(to));
  });
  return packed;
}

}  // namespace bindings
}  // namespace fastconv
