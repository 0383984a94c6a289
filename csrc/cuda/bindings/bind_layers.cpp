// What layers need beside convolution and pooling: activations, softmax, batch norm, parts of images, resampling.
#include "core/checked_math.h"
#include "core/resample2d_shape.h"
#include "cuda/activation.h"
#include "cuda/batch_norm.h"
#include "cuda/bindings/plan.h"
#include "cuda/group_norm.h"
#include "cuda/images.h"
#include "cuda/pair_loss.h"

namespace fastconv {
namespace cuda {

namespace {

void check_at_least(const char* op, const char* name, std::int64_t value, std::int64_t least) {
  if (value < least)
    throw std::invalid_argument(std::string(op) + ": " + name + " must be >= " + std::to_string(least) + ", got " +
                                std::to_string(value));
}

// In place is allowed, half in place is not.
void check_same_or_apart(const char* op, const Buffer& output, const Buffer& input) {
  if (output.address != input.address) check_no_overlap(op, output, input);
}

// Addresses: input, output.
Plan activation_plan(const std::string& function, std::int64_t count, double a, double b, const std::string& name) {
  const Activation f = parse_activation(function, a, b);
  check_at_least(name.c_str(), "count", count, 0);
  return {2, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer x = buffer<float>(op, "input", at[0], count), y = buffer<float>(op, "out", at[1], count);
            check_same_or_apart(op, y, x);
            const py::gil_scoped_release release;
            activation_forward(f, pointer<float>(x), pointer<float>(y), count, stream);
          }};
}

void bind_activation_forward(const std::string& function, Address input, Address output, std::int64_t count, double a,
                             double b, Address stream) {
  const Address at[] = {input, output};
  activation_plan(function, count, a, b, "activation")(at, stream);
}

// Addresses: grad_output, what was saved, result.
Plan activation_backward_plan(const std::string& function, std::int64_t count, double a, double b,
                              const std::string& name) {
  const Activation f = parse_activation(function, a, b);
  check_at_least(name.c_str(), "count", count, 0);
  return {3, [=](const Address* at, Stream stream) {
            const char* op = name.c_str();
            const Buffer gy = buffer<float>(op, "grad_output", at[0], count);
            const Buffer s = buffer<float>(op, "saved", at[1], count), gx = buffer<float>(op, "out", at[2], count);
            check_same_or_apart(op, gx, gy), check_same_or_apart(op, gx, s);
            const py::gil_scoped_release release;
            activation_backward(f, pointer<float>(gy), pointer<float>(s), pointer<float>(gx), count, stream);
          }};
}

void bind_activation_backward(const std::string& function, Address grad_output, Address saved, Address grad_input,
                              std::int64_t count, double a, double b, Address stream) {
  const Address at[] = {grad_output, saved, grad_input};
  activation_backward_plan(function, count, a, b, "activation_backward")(at, stream);
}

void bind_add_bias(Address input, Address bias, Address output, std::int64_t rows, std::int64_t columns, bool relu,
                   Address stream) {
  const char* op = "add_bias";
  check_at_least(op, "rows", rows, 0), check_at_least(op, "columns", columns, 1);
  const std::int64_t count = checked_mul(rows, columns, op);
  const Buffer x = buffer<float>(op, "input", input, count), b = buffer<float>(op, "bias", bias, columns);
  const Buffer y = buffer<float>(op, "out", output, count);
  check_same_or_apart(op, y, x), check_no_overlap(op, y, b);
  const py::gil_scoped_release release;
  add_bias(pointer<float>(x), pointer<float>(b), pointer<float>(y), rows, columns, relu, as_stream(stream));
}

void bind_softmax_forward(Address input, Address output, std::int64_t rows, std::int64_t classes, Address stream) {
  const char* op = "softmax";
  check_at_least(op, "rows", rows, 0), check_at_least(op, "classes", classes, 1);
  const std::int64_t count = checked_mul(rows, classes, op);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  check_same_or_apart(op, y, x);
  const py::gil_scoped_release release;
  softmax_forward(pointer<float>(x), pointer<float>(y), rows, classes, as_stream(stream));
}

void bind_softmax_backward(Address grad_output, Address output, Address grad_input, std::int64_t rows,
                           std::int64_t classes, Address stream) {
  const char* op = "softmax_backward";
  check_at_least(op, "rows", rows, 0), check_at_least(op, "classes", classes, 1);
  const std::int64_t count = checked_mul(rows, classes, op);
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count),
               y = buffer<float>(op, "output", output, count);
  const Buffer gx = buffer<float>(op, "out", grad_input, count);
  check_same_or_apart(op, gx, gy), check_same_or_apart(op, gx, y);
  const py::gil_scoped_release release;
  softmax_backward(pointer<float>(gy), pointer<float>(y), pointer<float>(gx), rows, classes, as_stream(stream));
}

void bind_fill_int64(Address output, std::int64_t value, std::int64_t count, Address stream) {
  check_at_least("fill_int64", "count", count, 0);
  const Buffer y = buffer<std::int64_t>("fill_int64", "output", output, count);
  const py::gil_scoped_release release;
  fill_int64(pointer<std::int64_t>(y), value, count, as_stream(stream));
}

void bind_dropout2d(Address input, Address output, std::int64_t n, std::int64_t pixels, std::int64_t channels, double p,
                    std::uint64_t seed, std::uint64_t offset, Address counter, Address stream) {
  const char* op = "dropout2d";
  check_at_least(op, "n", n, 0), check_at_least(op, "pixels", pixels, 1), check_at_least(op, "channels", channels, 1);
  if (!(p >= 0 && p < 1)) throw std::invalid_argument("dropout2d: p must lie in [0, 1), got " + std::to_string(p));
  const std::int64_t count = checked_mul(checked_mul(n, pixels, op), channels, op);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer c = buffer<std::int64_t>(op, "counter", counter, counter ? 1 : 0);
  check_same_or_apart(op, y, x), check_no_overlap(op, y, c);
  const py::gil_scoped_release release;
  dropout2d(pointer<float>(x), pointer<float>(y), n, pixels, channels, p, seed, offset, pointer<std::int64_t>(c),
            as_stream(stream));
}

Buffer workspace_of(const char* op, Address workspace, std::int64_t bytes, std::int64_t rows, std::int64_t columns) {
  const std::int64_t needed = batch_norm_workspace_bytes(rows, columns);
  if (bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(bytes));
  return buffer<double>(op, "workspace", workspace, needed / static_cast<std::int64_t>(sizeof(double)));
}

// Elements of (n, pixels, channels) in groups of channels.
std::int64_t checked_count(const char* op, std::int64_t n, std::int64_t pixels, std::int64_t channels,
                           std::int64_t groups) {
  check_at_least(op, "n", n, 0), check_at_least(op, "pixels", pixels, 0), check_at_least(op, "channels", channels, 1);
  if (groups < 1 || channels % groups != 0)
    throw std::invalid_argument(std::string(op) + ": groups must divide the " + std::to_string(channels) +
                                " channels, got " + std::to_string(groups));
  return checked_mul(checked_mul(n, pixels, op), channels, op);
}

void bind_batch_norm_forward(Address input, Address weight, Address bias, Address output, Address stats,
                             Address running_mean, Address running_var, std::int64_t rows, std::int64_t columns,
                             Address workspace, std::int64_t workspace_bytes, bool training, double momentum,
                             double eps, bool relu, Address stream) {
  const char* op = "batch_norm";
  check_at_least(op, "rows", rows, 0), check_at_least(op, "columns", columns, 1);
  const std::int64_t count = checked_mul(rows, columns, op);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer w = buffer<float>(op, "weight", weight, weight ? columns : 0);
  const Buffer b = buffer<float>(op, "bias", bias, bias ? columns : 0);
  const Buffer s = buffer<double>(op, "stats", stats, checked_mul(columns, 2, op));
  const Buffer mean = buffer<float>(op, "running_mean", running_mean, columns);
  const Buffer var = buffer<float>(op, "running_var", running_var, columns);
  const Buffer work = workspace_of(op, workspace, workspace_bytes, rows, columns);
  check_same_or_apart(op, y, x);
  for (const Buffer& read : {w, b, s, mean, var, work}) check_no_overlap(op, y, read);
  for (const Buffer& read : {x, w, b}) check_no_overlap(op, work, read), check_no_overlap(op, s, read);
  const BatchNormForward p{pointer<float>(x),
                           pointer<float>(w),
                           pointer<float>(b),
                           pointer<float>(y),
                           pointer<double>(s),
                           pointer<float>(mean),
                           pointer<float>(var),
                           rows,
                           columns,
                           momentum,
                           eps,
                           training,
                           relu};
  const py::gil_scoped_release release;
  batch_norm_forward(p, pointer<void>(work), as_stream(stream));
}

void bind_batch_norm_backward(Address grad_output, Address input, Address stats, Address weight, Address bias,
                              Address grad_input, Address grad_weight, Address grad_bias, std::int64_t rows,
                              std::int64_t columns, Address workspace, std::int64_t workspace_bytes, bool training,
                              bool relu, bool accumulate, Address stream) {
  const char* op = "batch_norm_backward";
  check_at_least(op, "rows", rows, 0), check_at_least(op, "columns", columns, 1);
  const std::int64_t count = checked_mul(rows, columns, op);
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count), x = buffer<float>(op, "input", input, count);
  const Buffer s = buffer<double>(op, "stats", stats, checked_mul(columns, 2, op));
  const Buffer w = buffer<float>(op, "weight", weight, weight ? columns : 0);
  const Buffer b = buffer<float>(op, "bias", bias, bias ? columns : 0);
  const Buffer gx = buffer<float>(op, "grad_input", grad_input, grad_input ? count : 0);
  const Buffer gw = buffer<float>(op, "grad_weight", grad_weight, grad_weight ? columns : 0);
  const Buffer gb = buffer<float>(op, "grad_bias", grad_bias, grad_bias ? columns : 0);
  const Buffer work = workspace_of(op, workspace, workspace_bytes, rows, columns);
  check_same_or_apart(op, gx, gy);
  for (const Buffer& read : {x, s, w, b})
    for (const Buffer& output : {gx, gw, gb, work}) check_no_overlap(op, output, read);
  check_no_overlap(op, gx, work), check_no_overlap(op, gw, gb);
  const BatchNormBackward p{pointer<float>(gy),
                            pointer<float>(x),
                            pointer<double>(s),
                            pointer<float>(w),
                            pointer<float>(b),
                            pointer<float>(gx),
                            pointer<float>(gw),
                            pointer<float>(gb),
                            rows,
                            columns,
                            training,
                            relu,
                            accumulate};
  const py::gil_scoped_release release;
  batch_norm_backward(p, pointer<void>(work), as_stream(stream));
}

void bind_group_norm_forward(Address input, Address weight, Address bias, Address output, Address stats, std::int64_t n,
                             std::int64_t pixels, std::int64_t channels, std::int64_t groups, double eps, bool relu,
                             Address stream) {
  const char* op = "group_norm";
  const std::int64_t count = checked_count(op, n, pixels, channels, groups);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer w = buffer<float>(op, "weight", weight, weight ? channels : 0);
  const Buffer b = buffer<float>(op, "bias", bias, bias ? channels : 0);
  const Buffer s = buffer<double>(op, "stats", stats, n * groups * 2);
  check_same_or_apart(op, y, x);
  for (const Buffer& read : {w, b, s}) check_no_overlap(op, y, read);
  const GroupNorm p{nullptr,
                    pointer<float>(x),
                    pointer<float>(w),
                    pointer<float>(b),
                    pointer<float>(y),
                    pointer<double>(s),
                    n,
                    pixels,
                    channels,
                    groups,
                    eps,
                    relu};
  const py::gil_scoped_release release;
  group_norm_forward(p, as_stream(stream));
}

void bind_group_norm_backward(Address grad_output, Address input, Address stats, Address weight, Address bias,
                              Address grad_input, Address grad_weight, Address grad_bias, std::int64_t n,
                              std::int64_t pixels, std::int64_t channels, std::int64_t groups, Address workspace,
                              std::int64_t workspace_bytes, bool relu, bool accumulate, Address stream) {
  const char* op = "group_norm_backward";
  const std::int64_t count = checked_count(op, n, pixels, channels, groups);
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count), x = buffer<float>(op, "input", input, count);
  const Buffer s = buffer<double>(op, "stats", stats, n * groups * 2);
  const Buffer w = buffer<float>(op, "weight", weight, weight ? channels : 0);
  const Buffer b = buffer<float>(op, "bias", bias, bias ? channels : 0);
  const Buffer gx = buffer<float>(op, "grad_input", grad_input, grad_input ? count : 0);
  const Buffer gw = buffer<float>(op, "grad_weight", grad_weight, grad_weight ? channels : 0);
  const Buffer gb = buffer<float>(op, "grad_bias", grad_bias, grad_bias ? channels : 0);
  const Buffer work = workspace_of(op, workspace, workspace_bytes, n * pixels, channels);
  check_same_or_apart(op, gx, gy);
  for (const Buffer& read : {x, s, w, b})
    for (const Buffer& written : {gx, gw, gb, work}) check_no_overlap(op, written, read);
  check_no_overlap(op, gx, work), check_no_overlap(op, gw, gb);
  const GroupNorm p{pointer<float>(gy),
                    pointer<float>(x),
                    pointer<float>(w),
                    pointer<float>(b),
                    pointer<float>(gx),
                    pointer<double>(s),
                    n,
                    pixels,
                    channels,
                    groups,
                    0,
                    relu};
  const py::gil_scoped_release release;
  group_norm_backward(p, pointer<float>(gw), pointer<float>(gb), accumulate, pointer<void>(work), as_stream(stream));
}

void bind_local_response_norm(Address input, Address grad_output, Address output, std::int64_t pixels,
                              std::int64_t channels, std::int64_t size, double alpha, double beta, double k,
                              Address stream) {
  const char* op = "local_response_norm";
  check_at_least(op, "size", size, 1);
  const std::int64_t count = checked_count(op, 1, pixels, channels, 1);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer g = buffer<float>(op, "grad_output", grad_output, grad_output ? count : 0);
  check_no_overlap(op, y, x), check_no_overlap(op, y, g);
  const LocalResponseNorm p{
      pointer<float>(x), pointer<float>(g), pointer<float>(y), pixels, channels, size, alpha, beta, k};
  const py::gil_scoped_release release;
  local_response_norm(p, as_stream(stream));
}

void bind_combine(Address input, Address other, Address output, std::int64_t n, std::int64_t pixels,
                  std::int64_t channels, bool multiply, bool spread, Address stream) {
  const char* op = multiply ? "multiply" : "add";
  const std::int64_t count = checked_count(op, n, pixels, channels, 1);
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer z = buffer<float>(op, "other", other, spread ? n * channels : count);
  check_same_or_apart(op, y, x);
  if (spread)
    check_no_overlap(op, y, z);
  else
    check_same_or_apart(op, y, z);
  const Combine p{pointer<float>(x), pointer<float>(z), pointer<float>(y), n, pixels, channels, multiply, spread};
  const py::gil_scoped_release release;
  combine(p, as_stream(stream));
}

void bind_sinusoidal_embedding(Address positions, Address frequency, Address output, std::int64_t rows,
                               std::int64_t half, Address stream) {
  const char* op = "sinusoidal_embedding";
  const std::int64_t count = checked_count(op, 2, rows, half, 1);
  const Buffer x = buffer<float>(op, "positions", positions, rows), f = buffer<float>(op, "frequency", frequency, half);
  const Buffer y = buffer<float>(op, "out", output, count);
  check_no_overlap(op, y, x), check_no_overlap(op, y, f);
  const py::gil_scoped_release release;
  sinusoidal_embedding(pointer<float>(x), pointer<float>(f), pointer<float>(y), rows, half, as_stream(stream));
}

void bind_sinusoidal_embedding_backward(Address grad_output, Address output, Address frequency, Address grad_positions,
                                        std::int64_t rows, std::int64_t half, Address stream) {
  const char* op = "sinusoidal_embedding_backward";
  const std::int64_t count = checked_count(op, 2, rows, half, 1);
  const Buffer gy = buffer<float>(op, "grad_output", grad_output, count),
               y = buffer<float>(op, "output", output, count);
  const Buffer f = buffer<float>(op, "frequency", frequency, half);
  const Buffer gx = buffer<float>(op, "out", grad_positions, rows);
  for (const Buffer& read : {gy, y, f}) check_no_overlap(op, gx, read);
  const py::gil_scoped_release release;
  sinusoidal_embedding_backward(pointer<float>(gy), pointer<float>(y), pointer<float>(f), pointer<float>(gx), rows,
                                half, as_stream(stream));
}

void bind_pair_loss(const std::string& kind, Address input, Address target, Address grad, std::int64_t count,
                    Address workspace, std::int64_t workspace_bytes, Address loss, double delta, double grad_scale,
                    double loss_scale, Address stream) {
  const char* op = "pair_loss";
  check_at_least(op, "count", count, 0);
  check_at_least(op, "workspace_bytes", workspace_bytes, pair_loss_workspace_bytes(count));
  const Buffer x = buffer<float>(op, "input", input, count),
               t = buffer<float>(op, "target", target, target ? count : 0);
  const Buffer g = buffer<float>(op, "grad", grad, grad ? count : 0), result = buffer<float>(op, "loss", loss, 1);
  const Buffer work = buffer<double>(op, "workspace", workspace, pair_loss_workspace_bytes(count) / 8);
  for (const Buffer& output : {g, result, work})
    for (const Buffer& read : {x, t}) check_no_overlap(op, output, read);
  check_no_overlap(op, g, work), check_no_overlap(op, g, result), check_no_overlap(op, work, result);
  PairLossParams p{};
  p.input = pointer<float>(x), p.target = pointer<float>(t), p.grad = pointer<float>(g);
  p.partial = pointer<double>(work), p.loss = pointer<float>(result), p.count = count;
  p.kind = parse_pair_loss(kind), p.delta = static_cast<float>(delta);
  p.grad_scale = grad_scale, p.loss_scale = loss_scale;
  const py::gil_scoped_release release;
  pair_loss(p, as_stream(stream));
}

void bind_clip_factor(Address squares, std::int64_t count, double limit, Address factor, Address stream) {
  const char* op = "clip_factor";
  check_at_least(op, "count", count, 0);
  const Buffer x = buffer<float>(op, "squares", squares, count), y = buffer<float>(op, "factor", factor, 1);
  check_no_overlap(op, y, x);
  const py::gil_scoped_release release;
  clip_factor(pointer<float>(x), count, limit, pointer<float>(y), as_stream(stream));
}

void bind_multiply_by(Address array, Address factor, std::int64_t count, Address stream) {
  const char* op = "multiply_by";
  check_at_least(op, "count", count, 0);
  const Buffer x = buffer<float>(op, "array", array, count), f = buffer<float>(op, "factor", factor, 1);
  check_no_overlap(op, x, f);
  const py::gil_scoped_release release;
  multiply_by(pointer<float>(x), pointer<float>(f), count, as_stream(stream));
}

// Elements from the first to the last of a part.
std::int64_t extent(const StridedCopy& p, const Part& part) {
  return p.n * p.h * p.w * p.c == 0 ? 0
                                    : (p.n - 1) * part.n_step + (p.h - 1) * part.h_step + (p.w - 1) * part.w_step + p.c;
}

using Four = std::array<std::int64_t, 4>;
using Three = std::array<std::int64_t, 3>;

void bind_strided_copy(Address input, Address output, const Four& shape, const Three& from, const Three& to,
                       Address stream) {
  const char* op = "copy";
  StridedCopy p{
      nullptr, nullptr, shape[0], shape[1], shape[2], shape[3], {from[0], from[1], from[2]}, {to[0], to[1], to[2]}};
  for (const std::int64_t size : shape) check_at_least(op, "sizes", size, 0);
  for (const auto& steps : {from, to})
    for (const std::int64_t step : steps) check_at_least(op, "strides", step, 0);
  const Buffer x = buffer<float>(op, "input", input, extent(p, p.from));
  const Buffer y = buffer<float>(op, "out", output, extent(p, p.to));
  p.input = pointer<float>(x), p.output = pointer<float>(y);
  const py::gil_scoped_release release;
  strided_copy(p, as_stream(stream));
}

// First and start as int32, weight as float32, of one axis.
py::tuple table_of(const AxisMap& map) {
  const auto bytes_of = [](const auto& values) {
    return py::bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
  };
  return py::make_tuple(bytes_of(std::vector<std::int32_t>(map.first.begin(), map.first.end())),
                        bytes_of(std::vector<std::int32_t>(map.start.begin(), map.start.end())),
                        bytes_of(std::vector<float>(map.weight.begin(), map.weight.end())));
}

py::tuple resample2d_tables(const Shape4& input, const std::array<std::int64_t, 2>& output_size,
                            const std::string& mode, bool align_corners, const std::array<double, 2>& scales,
                            bool backward) {
  const char* op = "resample2d";
  const Resample2dShape s =
      make_resample2d_shape(op, input, output_size, parse_resampling(op, mode), align_corners, scales);
  return py::make_tuple(table_of(backward ? s.rows_back : s.rows), table_of(backward ? s.columns_back : s.columns));
}

void bind_resample2d(Address input, Address output, const Four& input_shape, const std::array<std::int64_t, 2>& size,
                     const std::array<Address, 3>& rows, const std::array<Address, 3>& columns, Address stream) {
  const char* op = "resample2d";
  const auto [n, ih, iw, c] = input_shape;
  for (const std::int64_t side : {ih, iw, c, size[0], size[1]}) check_at_least(op, "sizes", side, 1);
  check_at_least(op, "N", n, 0);
  const auto count = [&](std::int64_t h, std::int64_t w) {
    return checked_mul(checked_mul(checked_mul(n, h, op), w, op), c, op);
  };
  const Buffer x = buffer<float>(op, "input", input, count(ih, iw));
  const Buffer y = buffer<float>(op, "out", output, count(size[0], size[1]));
  check_no_overlap(op, y, x);
  const auto table = [&](const std::array<Address, 3>& at) {
    return AxisTable{pointer<std::int32_t>(buffer<std::int32_t>(op, "table", at[0], 1)),
                     pointer<std::int32_t>(buffer<std::int32_t>(op, "table", at[1], 1)),
                     pointer<float>(buffer<float>(op, "table", at[2], 1))};
  };
  const Resample2d p{pointer<float>(x), pointer<float>(y), n, ih, iw, size[0], size[1], c, table(rows), table(columns)};
  const py::gil_scoped_release release;
  resample2d(p, as_stream(stream));
}

}  // namespace

void bind_layers(py::module_& m) {
  using py::arg;
  const py::kw_only named;
  m.def("plan_activation", &activation_plan, arg("function"), arg("count"), py::kw_only(), arg("a"), arg("b"),
        arg("op"));
  m.def("plan_activation_backward", &activation_backward_plan, arg("function"), arg("count"), py::kw_only(), arg("a"),
        arg("b"), arg("op"));
  m.def("activation_forward", &bind_activation_forward, arg("function"), arg("input"), arg("output"), arg("count"),
        named, arg("a"), arg("b"), arg("stream"));
  m.def("activation_backward", &bind_activation_backward, arg("function"), arg("grad_output"), arg("saved"),
        arg("grad_input"), arg("count"), named, arg("a"), arg("b"), arg("stream"));
  m.def("add_bias", &bind_add_bias, arg("input"), arg("bias"), arg("output"), arg("rows"), arg("columns"), named,
        arg("relu"), arg("stream"));
  m.def("softmax_forward", &bind_softmax_forward, arg("input"), arg("output"), arg("rows"), arg("classes"), named,
        arg("stream"));
  m.def("softmax_backward", &bind_softmax_backward, arg("grad_output"), arg("output"), arg("grad_input"), arg("rows"),
        arg("classes"), named, arg("stream"));
  m.def("fill_int64", &bind_fill_int64, arg("output"), arg("value"), arg("count"), named, arg("stream"));
  m.def("dropout2d", &bind_dropout2d, arg("input"), arg("output"), arg("n"), arg("pixels"), arg("channels"), named,
        arg("p"), arg("seed"), arg("offset"), arg("counter"), arg("stream"));
  m.def("batch_norm_workspace_bytes", &batch_norm_workspace_bytes, arg("rows"), arg("columns"));
  m.def("batch_norm_forward", &bind_batch_norm_forward, arg("input"), arg("weight"), arg("bias"), arg("output"),
        arg("stats"), arg("running_mean"), arg("running_var"), arg("rows"), arg("columns"), arg("workspace"),
        arg("workspace_bytes"), named, arg("training"), arg("momentum"), arg("eps"), arg("relu"), arg("stream"));
  m.def("batch_norm_backward", &bind_batch_norm_backward, arg("grad_output"), arg("input"), arg("stats"), arg("weight"),
        arg("bias"), arg("grad_input"), arg("grad_weight"), arg("grad_bias"), arg("rows"), arg("columns"),
        arg("workspace"), arg("workspace_bytes"), named, arg("training"), arg("relu"), arg("accumulate"),
        arg("stream"));
  m.def("group_norm_forward", &bind_group_norm_forward, arg("input"), arg("weight"), arg("bias"), arg("output"),
        arg("stats"), arg("n"), arg("pixels"), arg("channels"), arg("groups"), named, arg("eps"), arg("relu"),
        arg("stream"));
  m.def("group_norm_backward", &bind_group_norm_backward, arg("grad_output"), arg("input"), arg("stats"), arg("weight"),
        arg("bias"), arg("grad_input"), arg("grad_weight"), arg("grad_bias"), arg("n"), arg("pixels"), arg("channels"),
        arg("groups"), arg("workspace"), arg("workspace_bytes"), named, arg("relu"), arg("accumulate"), arg("stream"));
  m.def("local_response_norm", &bind_local_response_norm, arg("input"), arg("grad_output"), arg("output"),
        arg("pixels"), arg("channels"), named, arg("size"), arg("alpha"), arg("beta"), arg("k"), arg("stream"));
  m.def("combine", &bind_combine, arg("input"), arg("other"), arg("output"), arg("n"), arg("pixels"), arg("channels"),
        named, arg("multiply"), arg("spread"), arg("stream"));
  m.def("sinusoidal_embedding", &bind_sinusoidal_embedding, arg("positions"), arg("frequency"), arg("output"),
        arg("rows"), arg("half"), named, arg("stream"));
  m.def("sinusoidal_embedding_backward", &bind_sinusoidal_embedding_backward, arg("grad_output"), arg("output"),
        arg("frequency"), arg("grad_positions"), arg("rows"), arg("half"), named, arg("stream"));
  m.def("pair_loss_workspace_bytes", &pair_loss_workspace_bytes, arg("count"));
  m.def("pair_loss", &bind_pair_loss, arg("kind"), arg("input"), arg("target"), arg("grad"), arg("count"),
        arg("workspace"), arg("workspace_bytes"), arg("loss"), named, arg("delta"), arg("grad_scale"),
        arg("loss_scale"), arg("stream"));
  m.def("clip_factor", &bind_clip_factor, arg("squares"), arg("count"), arg("limit"), arg("factor"), named,
        arg("stream"));
  m.def("multiply_by", &bind_multiply_by, arg("array"), arg("factor"), arg("count"), named, arg("stream"));
  m.def("strided_copy", &bind_strided_copy, arg("input"), arg("output"), arg("shape"), arg("from_steps"),
        arg("to_steps"), named, arg("stream"));
  m.def("resample2d_tables", &resample2d_tables, arg("input_shape"), arg("output_size"), arg("mode"),
        arg("align_corners"), arg("scales"), arg("backward"));
  m.def("resample2d", &bind_resample2d, arg("input"), arg("output"), arg("input_shape"), arg("output_size"),
        arg("rows"), arg("columns"), named, arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
