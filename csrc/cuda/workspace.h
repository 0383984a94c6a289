#pragma once

#include <cstdint>

namespace fastconv {
namespace cuda {

// Memory of a device beside the arrays of a call; what it holds does not matter.
struct Workspace {
  void* memory = nullptr;
  std::int64_t bytes = 0;
};

}  // namespace cuda
}  // namespace fastconv
