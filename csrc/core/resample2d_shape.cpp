#include "core/resample2d_shape.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/checked_math.h"

namespace fastconv {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

// floor(o * in / out) without overflow: 2^31 pixels a side are refused before.
std::int64_t bin_begin(std::int64_t o, std::int64_t in, std::int64_t out) { return o * in / out; }

void append(AxisMap& map, std::int64_t first, std::initializer_list<double> weights) {
  map.first.push_back(first);
  for (const double weight : weights) map.weight.push_back(weight);
  map.start.push_back(static_cast<std::int64_t>(map.weight.size()));
}

void append_linear(AxisMap& map, std::int64_t o, bool align_corners, double step) {
  const double place =
      align_corners ? static_cast<double>(o) * step : std::max(0.0, (static_cast<double>(o) + 0.5) * step - 0.5);
  const double last = static_cast<double>(map.in - 1);
  const auto i = static_cast<std::int64_t>(std::min(std::floor(place), last));
  const double right = std::min(place - static_cast<double>(i), 1.0);
  if (right <= 0 || i + 1 >= map.in) return append(map, i, {1.0});
  if (right >= 1) return append(map, i + 1, {1.0});
  append(map, i, {1 - right, right});
}

AxisMap make_axis(std::int64_t in, std::int64_t out, Resampling mode, bool align_corners, double scale) {
  AxisMap map{in, out, {}, {0}, {}};
  double step = scale > 0 ? 1 / scale : static_cast<double>(in) / static_cast<double>(out);
  if (mode == Resampling::linear && align_corners)
    step = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0;
  for (std::int64_t o = 0; o < out; ++o) {
    if (mode == Resampling::linear) {
      append_linear(map, o, align_corners, step);
    } else if (mode == Resampling::nearest) {
      const double place = std::min(std::floor(static_cast<double>(o) * step), static_cast<double>(in - 1));
      append(map, static_cast<std::int64_t>(place), {1.0});
    } else {
      const std::int64_t begin = bin_begin(o, in, out), end = ceil_div((o + 1) * in, out);
      map.first.push_back(begin);
      map.weight.insert(map.weight.end(), static_cast<std::size_t>(end - begin),
                        1.0 / static_cast<double>(end - begin));
      map.start.push_back(static_cast<std::int64_t>(map.weight.size()));
    }
  }
  return map;
}

// Windows move forward only, so the outputs that read one input lie side by side too.
AxisMap transposed(const AxisMap& map) {
  AxisMap back{map.out, map.in, {}, {0}, {}};
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < map.in; ++i) {
    const auto end_of = [&](std::int64_t o) { return map.first[static_cast<std::size_t>(o)] + map.count(o); };
    while (begin < map.out && end_of(begin) <= i) ++begin;
    back.first.push_back(begin);
    for (std::int64_t o = begin; o < map.out && map.first[static_cast<std::size_t>(o)] <= i; ++o)
      back.weight.push_back(map.weight[static_cast<std::size_t>(map.start[static_cast<std::size_t>(o)] + i -
                                                                map.first[static_cast<std::size_t>(o)])]);
    back.start.push_back(static_cast<std::int64_t>(back.weight.size()));
  }
  return back;
}

}  // namespace

Resampling parse_resampling(const std::string& op, const std::string& name) {
  if (name == "nearest") return Resampling::nearest;
  if (name == "bilinear") return Resampling::linear;
  if (name == "bins") return Resampling::bins;
  refuse(op + ": mode must be 'nearest', 'bilinear' or 'bins', got '" + name + "'");
}

Resample2dShape make_resample2d_shape(const std::string& op, const Shape4& input,
                                      const std::array<std::int64_t, 2>& output_size, Resampling mode,
                                      bool align_corners, const std::array<double, 2>& scales) {
  check_data_shape(op, "input", input);
  const Shape4 output{input[0], input[1], output_size[0], output_size[1]};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::string name = axis == 0 ? "height" : "width";
    if (output_size[axis] < 1)
      refuse(op + ": output size must be at least 1 along " + name + ", got " + std::to_string(output_size[axis]));
    if (std::max(output_size[axis], input[axis + 2]) > std::numeric_limits<std::int32_t>::max())
      refuse(op + ": sizes must be below 2147483648 along " + name + ", got input " + std::to_string(input[axis + 2]) +
             " and output " + std::to_string(output_size[axis]));
  }
  check_data_shape(op, "output", output);
  Resample2dShape s{};
  s.n = input[0], s.c = input[1], s.ih = input[2], s.iw = input[3], s.oh = output[2], s.ow = output[3];
  s.rows = make_axis(s.ih, s.oh, mode, align_corners, scales[0]);
  s.columns = make_axis(s.iw, s.ow, mode, align_corners, scales[1]);
  s.rows_back = transposed(s.rows);
  s.columns_back = transposed(s.columns);
  return s;
}

}  // namespace fastconv
