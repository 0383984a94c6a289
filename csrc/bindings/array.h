// The one place that looks at NumPy arrays: dtype, rank, shape, order, alignment, writeability, overlap.
// Bindings never cast or copy; the Python layer hands over what fits, and anything else is refused with a clear error.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "core/layout.h"
#include "core/window.h"
#include "cpu/kernels/conv_kernels.h"

namespace fastconv {
namespace bindings {

namespace py = pybind11;

using OptionalArray = std::optional<py::array>;

enum class DType { float32, float64 };

DType dtype_of(const char* op, const char* argument, const py::array& array);  // TypeError for any other dtype
DType parse_dtype(const char* op, const std::string& name);
Layout parse_layout(const char* op, const std::string& name);
Activation parse_activation(const char* op, const std::string& name);

// TypeError unless C-contiguous, aligned and of the given dtype; ValueError unless of the given shape.
void check_array(const char* op, const char* argument, const py::array& array, DType dtype,
                 const std::vector<std::int64_t>& shape);
void check_int64(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape);
void check_int32(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape);
void check_uint8(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape);
// ValueError for a read-only array.
void check_writeable(const char* op, const char* argument, const py::array& array);
// check_array and check_writeable.
void check_output(const char* op, const char* argument, const py::array& array, DType dtype,
                  const std::vector<std::int64_t>& shape);
// ValueError when the two arrays share memory (same_allowed: unless they are the very same memory, element by element).
void check_no_overlap(const char* op, const char* output_name, const py::array& output, const char* input_name,
                      const py::array& input, bool same_allowed = false);

// A 1-D array of its own memory, aligned to 64 bytes.
py::array aligned_array(DType dtype, std::int64_t elements);

std::vector<std::int64_t> shape_of(const py::array& array);
// The numpy shape of 4-D data of logical shape (N, C, H, W) in a layout.
std::vector<std::int64_t> data_shape(const Shape4& logical, Layout layout);
Shape4 shape4_of(const char* op, const char* argument, const py::tuple& shape);

template <class T>
const T* data(const py::array& array) {
  return static_cast<const T*>(array.data());
}
template <class T>
const T* data_or_null(const OptionalArray& array) {
  return array ? static_cast<const T*>(array->data()) : nullptr;
}
template <class T>
T* mutable_data(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}
template <class T>
T* mutable_data_or_null(OptionalArray& array) {
  return array ? static_cast<T*>(array->mutable_data()) : nullptr;
}

// Calls function(T{}) with T = float or double, the GIL released: the function must not touch Python.
template <class Function>
auto dispatch(DType dtype, Function&& function) {
  py::gil_scoped_release release;
  if (dtype == DType::float32) return function(float{});
  return function(double{});
}

// Each bind_<topic>.cpp adds its functions.
void bind_activation(py::module_& m);
void bind_conv2d(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_layout(py::module_& m);
void bind_linear(py::module_& m);
void bind_loss(py::module_& m);
void bind_norm(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_pool2d(py::module_& m);
void bind_resample2d(py::module_& m);
void bind_runtime(py::module_& m);

}  // namespace bindings
}  // namespace fastconv
