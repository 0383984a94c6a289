// Borders, pixels of channels, maxima of bins, values at places, powers around pooling, softmax of columns, total
// variation.
#include <array>
#include <limits>

#include "core/checked_math.h"
#include "cuda/activation.h"
#include "cuda/bindings/buffers.h"
#include "cuda/lp_pool2d.h"
#include "cuda/pad2d.h"
#include "cuda/pair_loss.h"
#include "cuda/places.h"

namespace fastconv {
namespace cuda {

namespace {

using Four = std::array<std::int64_t, 4>;
using Two = std::array<std::int64_t, 2>;

// Elements of a shape whose sides are at least 1, but the first, which may be 0.
std::int64_t checked_count(const char* op, const Four& shape) {
  std::int64_t count = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] < (axis == 0 ? 0 : 1))
      throw std::invalid_argument(std::string(op) + ": sizes must be positive, got " + std::to_string(shape[axis]));
    count = checked_mul(count, shape[axis], op);
  }
  return count;
}

std::int32_t small(const char* op, const char* name, std::int64_t value, std::int64_t least) {
  if (value < least || value > std::numeric_limits<std::int32_t>::max())
    throw std::invalid_argument(std::string(op) + ": " + name + " must be >= " + std::to_string(least) +
                                " and below 2^31, got " + std::to_string(value));
  return static_cast<std::int32_t>(value);
}

PaddedAxis padded_axis(const char* op, std::int64_t size, const Two& amounts, Border border) {
  for (const std::int64_t amount : amounts) {
    small(op, "padding", amount, 0);
    if (border == Border::reflect && amount >= size)
      throw std::invalid_argument(std::string(op) + ": padding must be less than the image for 'reflect', got " +
                                  std::to_string(amount) + " for " + std::to_string(size));
  }
  return {small(op, "size", size, 1), small(op, "padding", amounts[0], 0),
          small(op, "size", size + amounts[0] + amounts[1], 1)};
}

void bind_pad2d(Address input, Address output, const Four& shape, const Two& rows, const Two& columns,
                const std::string& mode, bool backward, Address stream) {
  const char* op = backward ? "pad2d_backward" : "pad2d";
  const Border border = parse_border(mode);
  Pad2d p{nullptr,
          nullptr,
          shape[0],
          shape[3],
          padded_axis(op, shape[1], rows, border),
          padded_axis(op, shape[2], columns, border),
          border};
  const std::int64_t image = checked_count(op, shape);
  const std::int64_t padded = checked_count(op, {shape[0], p.rows.padded, p.columns.padded, shape[3]});
  const Buffer x = buffer<float>(op, "input", input, backward ? padded : image);
  const Buffer y = buffer<float>(op, "out", output, backward ? image : padded);
  check_no_overlap(op, y, x);
  p.input = pointer<float>(x), p.output = pointer<float>(y);
  const py::gil_scoped_release release;
  backward ? pad2d_backward(p, as_stream(stream)) : pad2d(p, as_stream(stream));
}

void bind_pixel_shuffle(Address few, Address many, const Four& shape, std::int64_t factor, bool back, Address stream) {
  const char* op = "pixel_shuffle";
  const std::int32_t r = small(op, "factor", factor, 1);
  const auto [n, h, w, c] = shape;  // of few, with c channels of many
  const std::int64_t count = checked_mul(checked_count(op, shape), checked_mul(factor, factor, op), op);
  small(op, "height", checked_mul(h, factor, op), 1), small(op, "width", checked_mul(w, factor, op), 1);
  const Buffer a = buffer<float>(op, "few", few, count), b = buffer<float>(op, "many", many, count);
  check_no_overlap(op, a, b);
  const py::gil_scoped_release release;
  pixel_shuffle({pointer<float>(a), pointer<float>(b), n, h, w, c, r, back}, as_stream(stream));
}

void bind_adaptive_max_pool2d(Address input, Address output, Address places, const Four& shape, const Two& size,
                              bool backward, Address stream) {
  const char* op = backward ? "adaptive_max_pool2d_backward" : "adaptive_max_pool2d";
  const auto [n, ih, iw, c] = shape;
  AdaptiveMaxPool2d p{nullptr,
                      nullptr,
                      nullptr,
                      n,
                      c,
                      small(op, "height", ih, 1),
                      small(op, "width", iw, 1),
                      small(op, "output_size", size[0], 1),
                      small(op, "output_size", size[1], 1)};
  small(op, "pixels", checked_mul(ih, iw, op), 1);
  const std::int64_t large = checked_count(op, shape), less = checked_count(op, {n, size[0], size[1], c});
  const Buffer x = buffer<float>(op, "input", input, backward ? less : large);
  const Buffer y = buffer<float>(op, "out", output, backward ? large : less);
  const Buffer at = buffer<std::int32_t>(op, "places", places, less);
  check_no_overlap(op, y, x), check_no_overlap(op, y, at), check_no_overlap(op, at, x);
  p.input = pointer<float>(x), p.output = pointer<float>(y), p.places = pointer<std::int32_t>(at);
  const py::gil_scoped_release release;
  backward ? adaptive_max_pool2d_backward(p, as_stream(stream)) : adaptive_max_pool2d(p, as_stream(stream));
}

void bind_planes(bool scatter, Address values, Address places, Address large, std::int64_t n, std::int64_t channels,
                 std::int64_t pixels, std::int64_t plane, Address stream) {
  const char* op = scatter ? "scatter_planes" : "gather_planes";
  small(op, "pixels of a plane", plane, 1);
  const Buffer a = buffer<float>(op, "values", values, checked_count(op, {n, pixels, 1, channels}));
  const Buffer b = buffer<float>(op, "planes", large, checked_count(op, {n, plane, 1, channels}));
  const Buffer at = buffer<std::int32_t>(op, "places", places, a.bytes / 4);
  check_no_overlap(op, a, b), check_no_overlap(op, a, at), check_no_overlap(op, b, at);
  const PlaneCopy p{pointer<float>(a), pointer<float>(b), pointer<std::int32_t>(at), n, channels, pixels, plane};
  const py::gil_scoped_release release;
  scatter ? scatter_planes(p, as_stream(stream)) : gather_planes(p, as_stream(stream));
}

void check_same_or_apart(const char* op, const Buffer& output, const Buffer& input) {
  if (output.address != input.address) check_no_overlap(op, output, input);
}

void bind_norm_power(const std::string& step, Address input, Address saved, Address output, std::int64_t count,
                     double p, Address stream) {
  const char* op = "norm_power";
  const NormStep s = parse_norm_step(step);
  const bool backward = s == NormStep::root_back || s == NormStep::power_back;
  if (!(p >= 1)) throw std::invalid_argument("norm_power: p must be at least 1, got " + std::to_string(p));
  checked_count(op, {count, 1, 1, 1});
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer z = buffer<float>(op, "saved", backward ? saved : 0, backward ? count : 0);
  check_same_or_apart(op, y, x), check_same_or_apart(op, y, z);
  const py::gil_scoped_release release;
  norm_power({pointer<float>(x), pointer<float>(z), pointer<float>(y), count, p, s}, as_stream(stream));
}

void bind_softmax_columns(Address input, Address saved, Address output, std::int64_t outer, std::int64_t classes,
                          std::int64_t inner, Address stream) {
  const char* op = saved ? "softmax_backward" : "softmax";
  const std::int64_t count = checked_count(op, {outer, classes, inner, 1});
  const Buffer x = buffer<float>(op, "input", input, count), y = buffer<float>(op, "out", output, count);
  const Buffer z = buffer<float>(op, "output", saved, saved ? count : 0);
  check_same_or_apart(op, y, x), check_same_or_apart(op, y, z);
  const py::gil_scoped_release release;
  softmax_columns(pointer<float>(x), pointer<float>(z), pointer<float>(y), outer, classes, inner, as_stream(stream));
}

void bind_total_variation(Address input, Address grad, const Four& shape, Address workspace,
                          std::int64_t workspace_bytes, Address loss, double grad_scale, double loss_scale,
                          Address stream) {
  const char* op = "total_variation";
  const std::int64_t count = checked_count(op, shape), needed = pair_loss_workspace_bytes(count);
  if (workspace_bytes < needed)
    throw std::invalid_argument(std::string(op) + ": workspace must have at least " + std::to_string(needed) +
                                " bytes, got " + std::to_string(workspace_bytes));
  const Buffer x = buffer<float>(op, "input", input, count), g = buffer<float>(op, "grad", grad, grad ? count : 0);
  const Buffer work = buffer<double>(op, "workspace", workspace, needed / static_cast<std::int64_t>(sizeof(double)));
  const Buffer y = buffer<float>(op, "loss", loss, 1);
  for (const Buffer& written : {g, work, y}) check_no_overlap(op, written, x);
  check_no_overlap(op, g, work);
  TotalVariationParams p{};
  p.p.input = pointer<float>(x), p.p.grad = pointer<float>(g), p.p.partial = pointer<double>(work);
  p.p.loss = pointer<float>(y), p.p.count = count, p.p.grad_scale = grad_scale, p.p.loss_scale = loss_scale;
  p.h = shape[1], p.w = shape[2], p.c = shape[3];
  const py::gil_scoped_release release;
  total_variation(p, as_stream(stream));
}

}  // namespace

void bind_images(py::module_& m) {
  using py::arg;
  const py::kw_only named;
  m.def("pad2d", &bind_pad2d, arg("input"), arg("output"), arg("shape"), arg("rows"), arg("columns"), named,
        arg("mode"), arg("backward"), arg("stream"));
  m.def("pixel_shuffle", &bind_pixel_shuffle, arg("few"), arg("many"), arg("shape"), arg("factor"), named, arg("back"),
        arg("stream"));
  m.def("adaptive_max_pool2d", &bind_adaptive_max_pool2d, arg("input"), arg("output"), arg("places"), arg("shape"),
        arg("size"), named, arg("backward"), arg("stream"));
  const auto planes = [&](const char* name, bool scatter) {
    m.def(
        name,
        [scatter](Address values, Address places, Address large, std::int64_t n, std::int64_t channels,
                  std::int64_t pixels, std::int64_t plane,
                  Address stream) { bind_planes(scatter, values, places, large, n, channels, pixels, plane, stream); },
        arg("values"), arg("places"), arg("planes"), arg("n"), arg("channels"), arg("pixels"), arg("plane"), named,
        arg("stream"));
  };
  planes("scatter_planes", true);
  planes("gather_planes", false);
  m.def("norm_power", &bind_norm_power, arg("step"), arg("input"), arg("saved"), arg("output"), arg("count"), named,
        arg("p"), arg("stream"));
  m.def("softmax_columns", &bind_softmax_columns, arg("input"), arg("saved"), arg("output"), arg("outer"),
        arg("classes"), arg("inner"), named, arg("stream"));
  m.def("total_variation", &bind_total_variation, arg("input"), arg("grad"), arg("shape"), arg("workspace"),
        arg("workspace_bytes"), arg("loss"), named, arg("grad_scale"), arg("loss_scale"), arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
