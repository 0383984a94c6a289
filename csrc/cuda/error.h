// What goes wrong on a device. The message names the kernel, the geometry and what the driver said.
#pragma once

#include <stdexcept>
#include <string>

namespace fastconv {
namespace cuda {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace cuda
}  // namespace fastconv
