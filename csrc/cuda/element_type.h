// The types of elements that kernels take. Whatever the type, they compute in float32.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/float16.h"

namespace fastconv {
namespace cuda {

enum class ElementType { kFloat32, kFloat16, kBFloat16 };

inline std::int64_t bytes_of(ElementType type) { return type == ElementType::kFloat32 ? 4 : 2; }

// From the names that Python has.
inline ElementType parse_element_type(const char* op, const std::string& dtype) {
  if (dtype == "float32") return ElementType::kFloat32;
  if (dtype == "float16") return ElementType::kFloat16;
  if (dtype == "bfloat16") return ElementType::kBFloat16;
  throw std::invalid_argument(std::string(op) + ": dtype must be 'float32', 'float16' or 'bfloat16', got '" + dtype +
                              "'");
}

// run(T{}), T being the type in C++.
template <class Run>
void with_element(ElementType type, Run&& run) {
  switch (type) {
    case ElementType::kFloat32:
      return run(float{});
    case ElementType::kFloat16:
      return run(Float16{});
    case ElementType::kBFloat16:
      return run(BFloat16{});
  }
}

}  // namespace cuda
}  // namespace fastconv
