// What the bindings share: device addresses, checked as far as an address can be.
//
// Python hands over integers, because any array library may own the memory. The Python layer has looked at dtype, shape
// and strides; here an address must be there, aligned, and an output must not overlap what is read.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/element_type.h"
#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

namespace py = pybind11;

using Address = std::uintptr_t;

struct Buffer {
  const char* name;
  Address address;
  std::int64_t bytes;
};

template <class T>
Buffer buffer(const char* op, const char* name, Address address, std::int64_t elements) {
  const auto bytes = elements * static_cast<std::int64_t>(sizeof(T));
  if (address == 0 && bytes > 0) throw std::invalid_argument(std::string(op) + ": " + name + " must not be null");
  if (address % alignof(T) != 0)
    throw std::invalid_argument(std::string(op) + ": " + name + " must be aligned to " + std::to_string(alignof(T)) +
                                " bytes, got address " + std::to_string(address));
  return {name, address, bytes};
}

inline Buffer buffer(const char* op, const char* name, Address address, std::int64_t elements, ElementType type) {
  return type == ElementType::kFloat32 ? buffer<float>(op, name, address, elements)
                                       : buffer<std::uint16_t>(op, name, address, elements);
}

inline void check_no_overlap(const char* op, const Buffer& output, const Buffer& input) {
  const bool apart = output.address + static_cast<Address>(output.bytes) <= input.address ||
                     input.address + static_cast<Address>(input.bytes) <= output.address;
  if (!apart && output.bytes > 0 && input.bytes > 0)
    throw std::invalid_argument(std::string(op) + ": " + output.name + " must not overlap " + input.name +
                                " in memory, got " + std::to_string(output.bytes) + " bytes from address " +
                                std::to_string(output.address) + " and " + std::to_string(input.bytes) + " from " +
                                std::to_string(input.address));
}

template <class T>
T* pointer(const Buffer& b) {
  return reinterpret_cast<T*>(b.address);
}
inline Stream as_stream(Address stream) { return reinterpret_cast<Stream>(stream); }

inline Buffer workspace_buffer(const char* op, Address workspace, std::int64_t bytes) {
  constexpr std::int64_t element = sizeof(float);
  return buffer<float>(op, "workspace", workspace, (bytes + element - 1) / element);
}

// Each bind_<topic>.cpp adds its functions.
void bind_runtime(py::module_& m);
void bind_shapes(py::module_& m);
void bind_conv2d_backward(py::module_& m);
void bind_conv2d_mma(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_images(py::module_& m);
void bind_layers(py::module_& m);
void bind_hopper(py::module_& m);
void bind_loss(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_quick_calls(py::module_& m);
void bind_stem_conv2d(py::module_& m);
void bind_streams(py::module_& m);
void bind_pool2d(py::module_& m);

}  // namespace cuda
}  // namespace fastconv
