#include "bindings/array.h"

#include <stdexcept>

#include "cpu/scratch.h"

namespace fastconv {
namespace bindings {

namespace {

std::string text(const std::vector<std::int64_t>& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

std::string dtype_text(const py::array& array) { return py::str(static_cast<py::object>(array.dtype())); }

[[noreturn]] void type_error(const std::string& message) { throw py::type_error(message); }
[[noreturn]] void value_error(const std::string& message) { throw std::invalid_argument(message); }

constexpr int kAligned = 0x0100;  // NPY_ARRAY_ALIGNED

void check_memory(const std::string& where, const py::array& array, const std::vector<std::int64_t>& shape) {
  if (shape_of(array) != shape)
    value_error(where + " must have shape " + text(shape) + ", got " + text(shape_of(array)));
  if (!(array.flags() & py::array::c_style))
    type_error(where + " must be C-contiguous, got strides that are not: pass np.ascontiguousarray(...)");
  if (!(py::detail::array_proxy(array.ptr())->flags & kAligned))
    type_error(where + " must be aligned to its item size: pass a copy");
}

bool plain(const py::array& array, char kind, py::ssize_t size) {
  const char order = array.dtype().byteorder();
  return array.dtype().kind() == kind && array.itemsize() == size && (order == '=' || order == '|');
}

}  // namespace

DType dtype_of(const char* op, const char* argument, const py::array& array) {
  if (plain(array, 'f', 4)) return DType::float32;
  if (plain(array, 'f', 8)) return DType::float64;
  type_error(std::string(op) + ": " + argument + " must be float32 or float64 in native byte order, got " +
             dtype_text(array) + ": cast it with .astype(np.float32)");
}

DType parse_dtype(const char* op, const std::string& name) {
  if (name == "float32") return DType::float32;
  if (name == "float64") return DType::float64;
  value_error(std::string(op) + ": dtype must be 'float32' or 'float64', got '" + name + "'");
}

Layout parse_layout(const char* op, const std::string& name) {
  if (name == "NCHW") return Layout::nchw;
  if (name == "NHWC") return Layout::nhwc;
  value_error(std::string(op) + ": layout must be 'NCHW' or 'NHWC', got '" + name + "'");
}

Activation parse_activation(const char* op, const std::string& name) {
  if (name == "none") return Activation::none;
  if (name == "relu") return Activation::relu;
  value_error(std::string(op) + ": activation must be None or 'relu', got '" + name + "'");
}

py::array aligned_array(DType dtype, std::int64_t elements) {
  const std::int64_t item = dtype == DType::float32 ? 4 : 8;
  void* memory = aligned_new(static_cast<std::size_t>(elements * item));
  py::capsule owner(memory, [](void* p) { aligned_delete(p); });
  return py::array(dtype == DType::float32 ? py::dtype::of<float>() : py::dtype::of<double>(), {elements}, {item},
                   memory, owner);
}

std::vector<std::int64_t> shape_of(const py::array& array) {
  return std::vector<std::int64_t>(array.shape(), array.shape() + array.ndim());
}

std::vector<std::int64_t> data_shape(const Shape4& s, Layout layout) {
  if (layout == Layout::nchw) return {s[0], s[1], s[2], s[3]};
  return {s[0], s[2], s[3], s[1]};
}

Shape4 shape4_of(const char* op, const char* argument, const py::tuple& shape) {
  if (shape.size() != 4)
    value_error(std::string(op) + ": " + argument + " must have 4 sizes, got " + std::string(py::str(shape)));
  Shape4 s{};
  for (std::size_t i = 0; i < 4; ++i) s[i] = shape[i].cast<std::int64_t>();
  return s;
}

void check_array(const char* op, const char* argument, const py::array& array, DType dtype,
                 const std::vector<std::int64_t>& shape) {
  const std::string where = std::string(op) + ": " + argument;
  if (dtype_of(op, argument, array) != dtype)
    type_error(where + " must have the dtype of the other arguments (" +
               (dtype == DType::float32 ? "float32" : "float64") + "), got " + dtype_text(array) +
               ": cast it with .astype(...)");
  check_memory(where, array, shape);
}

void check_int64(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape) {
  const std::string where = std::string(op) + ": " + argument;
  if (!plain(array, 'i', 8)) type_error(where + " must be int64, got " + dtype_text(array));
  check_memory(where, array, shape);
}

void check_int32(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape) {
  const std::string where = std::string(op) + ": " + argument;
  if (!plain(array, 'i', 4)) type_error(where + " must be int32, got " + dtype_text(array));
  check_memory(where, array, shape);
}

void check_uint8(const char* op, const char* argument, const py::array& array, const std::vector<std::int64_t>& shape) {
  const std::string where = std::string(op) + ": " + argument;
  if (!plain(array, 'u', 1)) type_error(where + " must be uint8, got " + dtype_text(array));
  check_memory(where, array, shape);
}

void check_output(const char* op, const char* argument, const py::array& array, DType dtype,
                  const std::vector<std::int64_t>& shape) {
  check_array(op, argument, array, dtype, shape);
  check_writeable(op, argument, array);
}

void check_writeable(const char* op, const char* argument, const py::array& array) {
  if (!array.writeable()) value_error(std::string(op) + ": " + argument + " must be writeable, got a read-only array");
}

void check_no_overlap(const char* op, const char* output_name, const py::array& output, const char* input_name,
                      const py::array& input, bool same_allowed) {
  const char* a = static_cast<const char*>(output.data());
  const char* b = static_cast<const char*>(input.data());
  if (a + output.nbytes() <= b || b + input.nbytes() <= a) return;
  if (same_allowed && a == b && output.nbytes() == input.nbytes()) return;
  value_error(std::string(op) + ": " + output_name + " must not share memory with " + input_name);
}

}  // namespace bindings
}  // namespace fastconv
