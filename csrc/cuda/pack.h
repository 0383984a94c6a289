// Values that travel together: one wide load or store instead of several.
#pragma once

#include <cstddef>

namespace fastconv {
namespace cuda {

template <class T, int n>
struct alignas(sizeof(T) * static_cast<std::size_t>(n)) Pack {
  T at[n];
};
using Float4 = Pack<float, 4>;

}  // namespace cuda
}  // namespace fastconv
