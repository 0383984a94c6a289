// ReLU, addition, dropout, fill, copy and changes of layout.
#include "cuda/elementwise.h"

#include "core/checked_math.h"
#include "cuda/bindings/plan.h"

namespace fastconv {
namespace cuda {

namespace {

void check_count(const char* op, const char* name, std::int64_t count) {
  if (count < 0)
    throw std::invalid_argument(std::string(op) + ": " + name + " must be >= 0, got " + std::to_string(count));
}

// In place is allowed, half in place is not.
void check_same_or_apart(const char* op, const Buffer& output, const Buffer& input) {
  if (output.address != input.address) check_no_overlap(op, output, input);
}

// Addresses: input, mask, output.
Plan relu_plan(std::int64_t count, const std::string& dtype) {
  const char* op = "relu";
  check_count(op, "count", count);
  const ElementType type = parse_element_type(op, dtype);
  return {3, [=](const Address* at, Stream stream) {
            const Buffer x = buffer(op, "input", at[0], count, type), y = buffer(op, "out", at[2], count, type);
            const Buffer m = buffer<std::uint32_t>(op, "mask", at[1], at[1] ? mask_words(count) : 0);
            check_same_or_apart(op, y, x);
            check_no_overlap(op, m, x), check_no_overlap(op, m, y);
            const py::gil_scoped_release release;
            relu_forward(type, pointer<void>(x), pointer<void>(y), pointer<std::uint32_t>(m), count, stream);
          }};
}

void bind_relu_forward(Address input, Address output, Address mask, std::int64_t count, const std::string& dtype,
                       Address stream) {
  const Address at[] = {input, mask, output};
  relu_plan(count, dtype)(at, stream);
}

void bind_relu_backward(Address grad_output, Address mask, Address grad_input, std::int64_t count,
                        const std::string& dtype, Address stream) {
  const char* op = "relu_backward";
  check_count(op, "count", count);
  const ElementType type = parse_element_type(op, dtype);
  const Buffer gy = buffer(op, "grad_output", grad_output, count, type);
  const Buffer gx = buffer(op, "out", grad_input, count, type);
  const Buffer m = buffer<std::uint32_t>(op, "mask", mask, mask_words(count));
  check_same_or_apart(op, gx, gy);
  check_no_overlap(op, gx, m);
  const py::gil_scoped_release release;
  relu_backward(type, pointer<void>(gy), pointer<std::uint32_t>(m), pointer<void>(gx), count, as_stream(stream));
}

// (a, b) to a result of the same size.
template <void (*run)(ElementType, const void*, const void*, void*, std::int64_t, Stream)>
Plan pair_plan(const char* op, const char* first, const char* second, std::int64_t count, const std::string& dtype) {
  check_count(op, "count", count);
  const ElementType type = parse_element_type(op, dtype);
  return {3, [=](const Address* at, Stream stream) {
            const Buffer x = buffer(op, first, at[0], count, type), z = buffer(op, second, at[1], count, type);
            const Buffer y = buffer(op, "out", at[2], count, type);
            check_same_or_apart(op, y, x), check_same_or_apart(op, y, z);
            const py::gil_scoped_release release;
            run(type, pointer<void>(x), pointer<void>(z), pointer<void>(y), count, stream);
          }};
}

Plan add_plan(std::int64_t count, const std::string& dtype) {
  return pair_plan<add>("add", "input", "other", count, dtype);
}

Plan relu_backward_output_plan(std::int64_t count, const std::string& dtype) {
  return pair_plan<relu_backward_output>("relu_backward", "grad_output", "output", count, dtype);
}

template <Plan (*plan)(std::int64_t, const std::string&)>
void run_pair(Address a, Address b, Address output, std::int64_t count, const std::string& dtype, Address stream) {
  const Address at[] = {a, b, output};
  plan(count, dtype)(at, stream);
}

void bind_dropout(Address input, Address output, std::int64_t count, double p, std::uint64_t seed, std::uint64_t offset,
                  Address counter, const std::string& dtype, Address stream) {
  const char* op = "dropout";
  check_count(op, "count", count);
  if (!(p >= 0 && p < 1)) throw std::invalid_argument("dropout: p must lie in [0, 1), got " + std::to_string(p));
  const ElementType type = parse_element_type(op, dtype);
  const Buffer x = buffer(op, "input", input, count, type), y = buffer(op, "out", output, count, type);
  const Buffer c = buffer<std::int64_t>(op, "counter", counter, counter ? 1 : 0);
  check_same_or_apart(op, y, x);
  check_no_overlap(op, y, c);
  const py::gil_scoped_release release;
  dropout(type, pointer<void>(x), pointer<void>(y), count, p, seed, offset, pointer<std::int64_t>(c),
          as_stream(stream));
}

void bind_fill(Address output, float value, std::int64_t count, const std::string& dtype, Address stream) {
  check_count("fill", "count", count);
  const ElementType type = parse_element_type("fill", dtype);
  const Buffer y = buffer("fill", "out", output, count, type);
  const py::gil_scoped_release release;
  fill(type, pointer<void>(y), value, count, as_stream(stream));
}

void bind_copy(Address input, Address output, std::int64_t count, const std::string& dtype, Address stream) {
  const char* op = "copy";
  check_count(op, "count", count);
  const ElementType type = parse_element_type(op, dtype);
  const Buffer x = buffer(op, "input", input, count, type), y = buffer(op, "out", output, count, type);
  check_no_overlap(op, y, x);
  const py::gil_scoped_release release;
  copy(type, pointer<void>(x), pointer<void>(y), count, as_stream(stream));
}

// Addresses: input, output.
Plan transpose_plan(int element_bytes, std::int64_t batch, std::int64_t rows, std::int64_t columns,
                    const std::string& name) {
  const char* op = name.c_str();
  check_count(op, "batch", batch), check_count(op, "rows", rows), check_count(op, "columns", columns);
  if (element_bytes != 2 && element_bytes != 4)
    throw std::invalid_argument(name + ": element_bytes must be 2 or 4, got " + std::to_string(element_bytes));
  const std::int64_t count = checked_mul(checked_mul(batch, rows, op), columns, op);
  return {2, [=](const Address* at, Stream stream) {
            const auto of = [&](const char* array, Address address) {
              return element_bytes == 4 ? buffer<std::uint32_t>(name.c_str(), array, address, count)
                                        : buffer<std::uint16_t>(name.c_str(), array, address, count);
            };
            const Buffer x = of("input", at[0]), y = of("out", at[1]);
            check_no_overlap(name.c_str(), y, x);
            const py::gil_scoped_release release;
            transpose(pointer<void>(x), pointer<void>(y), element_bytes, batch, rows, columns, stream);
          }};
}

void bind_transpose(Address input, Address output, int element_bytes, std::int64_t batch, std::int64_t rows,
                    std::int64_t columns, const std::string& name, Address stream) {
  const Address at[] = {input, output};
  transpose_plan(element_bytes, batch, rows, columns, name)(at, stream);
}

}  // namespace

void bind_elementwise(py::module_& m) {
  const py::arg_v dtype = py::arg("dtype") = "float32";
  m.def("relu_forward", &bind_relu_forward, py::arg("input"), py::arg("output"), py::arg("mask"), py::arg("count"),
        py::kw_only(), dtype, py::arg("stream"));
  m.def("relu_backward", &bind_relu_backward, py::arg("grad_output"), py::arg("mask"), py::arg("grad_input"),
        py::arg("count"), py::kw_only(), dtype, py::arg("stream"));
  m.def("relu_backward_output", &run_pair<relu_backward_output_plan>, py::arg("grad_output"), py::arg("output"),
        py::arg("grad_input"), py::arg("count"), py::kw_only(), dtype, py::arg("stream"));
  m.def("add", &run_pair<add_plan>, py::arg("input"), py::arg("other"), py::arg("output"), py::arg("count"),
        py::kw_only(), dtype, py::arg("stream"));
  for (const auto& [name, plan] : {std::make_pair("plan_relu", &relu_plan), std::make_pair("plan_add", &add_plan),
                                   std::make_pair("plan_relu_backward_output", &relu_backward_output_plan)})
    m.def(name, plan, py::arg("count"), py::kw_only(), py::arg("dtype"));
  m.def("dropout", &bind_dropout, py::arg("input"), py::arg("output"), py::arg("count"), py::kw_only(), py::arg("p"),
        py::arg("seed"), py::arg("offset"), py::arg("counter"), dtype, py::arg("stream"));
  m.def("fill", &bind_fill, py::arg("output"), py::arg("value"), py::arg("count"), py::kw_only(), dtype,
        py::arg("stream"));
  m.def("copy", &bind_copy, py::arg("input"), py::arg("output"), py::arg("count"), py::kw_only(), dtype,
        py::arg("stream"));
  m.def("plan_transpose", &transpose_plan, py::arg("element_bytes"), py::arg("batch"), py::arg("rows"),
        py::arg("columns"), py::kw_only(), py::arg("op"));
  m.def("transpose", &bind_transpose, py::arg("input"), py::arg("output"), py::arg("element_bytes"), py::arg("batch"),
        py::arg("rows"), py::arg("columns"), py::kw_only(), py::arg("op") = "transpose", py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
