#pragma once

#include <cstdint>

namespace fastconv {
namespace cuda {

inline bool aligned(const void* p, std::uintptr_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

}  // namespace cuda
}  // namespace fastconv
