#include "cpu/conv2d_choice.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/checked_math.h"
#include "cpu/channel_lanes.h"
#include "cpu/fold_conv.h"
#include "cpu/grouped_conv.h"
#include "cpu/isa.h"
#include "cpu/whole_weight.h"

namespace fastconv {

bool pointwise(const Conv2dShape& s) {
  return s.kh * s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.oh == s.ih &&
         s.ow == s.iw;
}

namespace {

// What one vector of channels of a tile costs on its way to or from the points, and what part of the multiply-add rate
// the tiles reach; measured, see docs/kernels.md.
constexpr double kToPoints = 4.2, kFromPoints = 2.8;  // vector operations for each point
constexpr double kDirectShare = 0.95, kProductShare = 0.88;
constexpr double kFold = 10;                           // to add one vector of a window to the target
constexpr double kGather = 2.8;                        // at stride 1: to add one pixel of a window
constexpr std::int64_t kFoldFilterBytes = 512 * 1024;  // they are read again for each chunk of pixels
constexpr std::int64_t kPixelLanesOutputs = 16;        // from there on channels fill the lanes
// To bring one value to its channel's plane: with whole vectors of channels, and value by value.
constexpr double kPlaneCopy = 1.2, kPlaneCopyFew = 3;
// Pixels and weights are loaded for few products each; then each result's lanes are added up, and stored.
constexpr double kLoadedProduct = 1.2, kLaneSum = 3, kLaneStore = 2;
constexpr double kPlaneBytes = 256 * 1024;
constexpr std::int64_t kExchangeChannels = 128;  // so few input channels do not repay the packing of grad_output
// To bring one vector of the filters' gradient from a point to the taps, and from a tap to its place: once for all
// images.
constexpr double kPointBack = 8, kTapBack = 10;
constexpr std::int64_t kWinogradChannels = 16;  // shorter sums do not repay the transforms

// The pass as a correlation: `inputs` channels are summed, `outputs` are computed at `rows` x `columns` places.
struct Sizes {
  double rows, columns, inputs, outputs, output_vectors, input_vectors;
};

Sizes sizes_of(const Conv2dShape& s, Pass pass, int vector) {
  const bool back = pass == Pass::backward_input;
  const std::int64_t inputs = back ? s.ocg() : s.icg(), outputs = back ? s.icg() : s.ocg();
  return {static_cast<double>(back ? s.ih : s.oh),
          static_cast<double>(back ? s.iw : s.ow),
          static_cast<double>(inputs),
          static_cast<double>(outputs),
          static_cast<double>(ceil_div(outputs, vector)),
          static_cast<double>(ceil_div(inputs, vector))};
}

// Pairs of an output and a tap that lies inside the image, along one axis; what small maps of a batch are multiplied
// by.
double taps_inside(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                   std::int64_t dilation) {
  double pairs = 0;
  for (std::int64_t k = 0; k < kernel; ++k) {
    const std::int64_t shift = pad - k * dilation;  // output o reads input o * stride - shift
    const std::int64_t first = shift > 0 ? ceil_div(shift, stride) : 0;
    const std::int64_t end = in + shift > 0 ? std::min(ceil_div(in + shift, stride), out) : 0;
    pairs += static_cast<double>(std::max<std::int64_t>(end - first, 0));
  }
  return pairs;
}

double filters_back_cost(const Conv2dShape& s, Pass pass, const Sizes& z, double points) {
  if (pass != Pass::backward_weight || s.n == 0) return 0;
  const double each = kTapBack * static_cast<double>(s.kh * s.kw) + kPointBack * points;
  return each * static_cast<double>(s.groups) * z.inputs * z.output_vectors / static_cast<double>(s.n);
}

double direct_cost(const Conv2dShape& s, Pass pass, const Sizes& z, bool padding) {
  const double all = static_cast<double>(s.oh * s.ow) * static_cast<double>(s.kh * s.kw);
  const double inside = taps_inside(s.ih, s.oh, s.kh, s.stride_h, s.pad_top, s.dilation_h) *
                        taps_inside(s.iw, s.ow, s.kw, s.stride_w, s.pad_left, s.dilation_w);
  const double pairs = padding ? all : inside;
  return static_cast<double>(s.groups) * pairs * z.inputs * z.output_vectors / kDirectShare +
         filters_back_cost(s, pass, z, 0);
}

// Every window entry is added to the target by a load, an addition and a store, in runs of `piece` elements.
double fold_cost(const Conv2dShape& s, Pass pass, const Sizes& z, int vector) {
  const bool back = pass == Pass::backward_input;
  const double places = static_cast<double>(back ? s.oh * s.ow : s.ih * s.iw);
  const bool merged = s.groups == 1 && s.dilation_w == 1;
  const double entries = static_cast<double>(s.kh * s.kw) * z.outputs;
  const double piece = merged ? static_cast<double>(s.kw) * z.outputs : z.outputs;
  const double vectors = std::ceil(entries / vector);
  const bool gathers = s.groups == 1 && s.stride_h == 1 && s.stride_w == 1 && z.outputs <= kFoldGatherChannels;
  const double additions = entries / piece * std::ceil(piece / vector);
  const double fold = gathers ? kGather * static_cast<double>(s.kh * s.kw) : kFold * additions;
  return static_cast<double>(s.groups) * places * (vectors * (z.inputs / kProductShare + 1) + fold);
}

const char* fold_refusal(const Conv2dShape& s, Pass pass, const Sizes& z, int vector, std::int64_t packed_bytes) {
  if (pass == Pass::backward_weight) return "not for the weight's gradient";
  if (s.groups > 1 && 2 * std::max(s.icg(), s.ocg()) <= vector) return "groups narrower than half a vector";
  if (pass == Pass::forward && (s.stride_h != 1 || s.stride_w != 1)) return "forward only for stride 1";
  if (z.outputs >= vector) return "output channels alone fill a vector";
  if (packed_bytes > kFoldFilterBytes) return "filters larger than the L2 cache";
  return nullptr;
}

// Vectors run over all positions of the copied rows, those between the rows' ends included; each is turned to the
// channels' order once, and every source value is copied.
double pixel_lanes_cost(const Conv2dShape& s, const Sizes& z, int vector, int most_channels) {
  const double pitch = z.columns + static_cast<double>((s.kw - 1) * s.dilation_w);
  const double vectors = z.rows * pitch / vector, steps = static_cast<double>(s.kh * s.kw) * z.inputs;
  const double blocks = std::ceil(z.outputs / most_channels);
  const double copy = z.inputs == 1 ? 0 : z.inputs < vector ? kPlaneCopyFew : kPlaneCopy;
  return static_cast<double>(s.groups) * (vectors * (steps * z.outputs / kProductShare + blocks * (24 + 2 * vector)) +
                                          z.rows * pitch * copy * z.inputs);
}

const char* pixel_lanes_refusal(const Conv2dShape& s, Pass pass, const Sizes& z, int vector, std::size_t item) {
  if (pass == Pass::backward_weight) return "not for the weight's gradient";
  if (s.groups > 1 && 2 * std::max(s.icg(), s.ocg()) <= vector) return "groups narrower than half a vector";
  if (s.stride_h != 1 || s.stride_w != 1) return "only for stride 1";
  if (z.outputs > kPixelLanesOutputs) return "more than 16 output channels";
  const double rows = 4 + static_cast<double>(s.kh - 1) * static_cast<double>(s.dilation_h);
  const double pitch = z.columns + static_cast<double>(s.kw - 1) * static_cast<double>(s.dilation_w);
  if (rows * pitch * z.inputs * static_cast<double>(item) > kPlaneBytes) return "few rows fill the cache";
  return nullptr;
}

double channel_lanes_cost(const Sizes& z) {
  return z.rows * z.columns * (z.outputs * (kLoadedProduct * z.input_vectors + kLaneSum) + kLaneStore);
}

const char* channel_lanes_refusal(const Conv2dShape& s, Pass pass, const Sizes& z, int vector) {
  if (pass == Pass::backward_weight) return "not for the weight's gradient";
  if (s.groups > 1 || !pointwise(s)) return "only for one tap, stride 1, no padding and no groups";
  if (z.outputs > kChannelLanesOutputs || z.outputs > vector) return "more than 4 output channels";
  return nullptr;
}

double tiles_along(double size, std::int64_t dilation, int outputs) {
  const std::int64_t along_phase = ceil_div(static_cast<std::int64_t>(size), dilation);
  return static_cast<double>(dilation) * static_cast<double>(ceil_div(along_phase, outputs));
}

double winograd_cost(const Conv2dShape& s, Pass pass, const Sizes& z, WinogradTile tile) {
  const WinogradSize w = winograd_size(tile);
  const double tiles = static_cast<double>(s.groups) * tiles_along(z.rows, s.dilation_h, w.outputs) *
                       tiles_along(z.columns, s.dilation_w, w.outputs);
  return tiles * w.points() *
             (z.inputs * z.output_vectors / kProductShare + kToPoints * z.input_vectors +
              kFromPoints * z.output_vectors) +
         filters_back_cost(s, pass, z, w.points());
}

template <class T>
const char* winograd_refusal(const Conv2dShape& s, WinogradTile tile) {
  const int taps = winograd_size(tile).taps;
  if (!std::is_same_v<T, float>) return "only for float32";
  if (s.kh != taps || s.kw != taps) return "for another kernel size";
  if (s.stride_h != 1 || s.stride_w != 1) return "only for stride 1";
  if (s.icg() < kWinogradChannels || s.ocg() < kWinogradChannels) return "fewer than 16 channels a group";
  if (s.dilation_h > s.oh || s.dilation_w > s.ow) return "dilation wider than the output";
  return nullptr;
}

}  // namespace

const char* method_name(const Candidate& c) {
  if (c.method == Method::direct) return "direct";
  if (c.method == Method::grouped) return "grouped";
  if (c.method == Method::fold) return "fold";
  if (c.method == Method::pixel_lanes) return "pixel lanes";
  if (c.method == Method::channel_lanes) return "channel lanes";
  switch (c.tile) {
    case WinogradTile::f2x2_3x3:
      return "winograd F(2x2,3x3)";
    case WinogradTile::f4x4_3x3:
      return "winograd F(4x4,3x3)";
    default:
      return "winograd F(2x2,5x5)";
  }
}

template <class T>
Conv2dChoice choose_conv2d(const Conv2dShape& whole, Pass pass, Algorithm algorithm) {
  Conv2dShape s = whole;
  if (pointwise(s) && s.ih == 1 && pass != Pass::backward_weight) s.iw = s.ow = 1;  // a dense layer's batch lies there
  const int vector = active_kernel_set<T>().conv.vector_size;
  const Sizes z = sizes_of(s, pass, vector);
  Conv2dChoice choice{};
  auto* candidate = choice.candidates.data();
  const bool grouped = takes_grouped<T>(s);
  // The gradient of large weights copies padding and multiplies it.
  const bool padding = pass == Pass::backward_weight && !takes_whole_weight<T>(s);
  *candidate++ = {
      Method::direct, {}, grouped ? "groups narrower than half a vector" : nullptr, direct_cost(s, pass, z, padding)};
  *candidate++ = {Method::grouped, {}, grouped ? nullptr : "no groups narrower than half a vector", 0};
  const bool back = pass == Pass::backward_input;
  const std::int64_t packed =
      fold_weight_elements(1, back ? s.icg() : s.ocg(), back ? s.ocg() : s.icg(), s.kh * s.kw, vector);
  *candidate++ = {Method::fold,
                  {},
                  fold_refusal(s, pass, z, vector, packed * static_cast<std::int64_t>(sizeof(T))),
                  fold_cost(s, pass, z, vector)};
  *candidate++ = {Method::pixel_lanes,
                  {},
                  pixel_lanes_refusal(s, pass, z, vector, sizeof(T)),
                  pixel_lanes_cost(s, z, vector, active_kernel_set<T>().conv.max_pixel_tile_channels)};
  *candidate++ = {Method::channel_lanes, {}, channel_lanes_refusal(s, pass, z, vector), channel_lanes_cost(z)};
  for (int i = 0; i < kWinogradTiles; ++i) {
    const auto tile = static_cast<WinogradTile>(i);
    const char* refusal = winograd_refusal<T>(s, tile);
    if (!refusal && algorithm == Algorithm::direct) refusal = "algo is 'direct'";
    *candidate++ = {Method::winograd, tile, refusal, winograd_cost(s, pass, z, tile)};
  }

  const auto wanted = [&](const Candidate& c) {  // algo="winograd": wherever it can, whatever it costs
    return algorithm == Algorithm::winograd && c.method == Method::winograd;
  };
  choice.chosen = -1;
  for (int i = 0; i < static_cast<int>(choice.candidates.size()); ++i) {
    const Candidate& c = choice.candidates[i];
    if (c.refusal) continue;
    if (choice.chosen < 0) {
      choice.chosen = i;
      continue;
    }
    const Candidate& best = choice.candidates[choice.chosen];
    if (wanted(c) != wanted(best) ? wanted(c) : c.cost < best.cost) choice.chosen = i;
  }
  return choice;
}

template <class T>
bool exchanges(const Conv2dShape& s) {
  if (s.groups > 1 || !pointwise(s)) return false;
  if (s.ic < s.oc && s.ic <= kExchangeChannels) return true;
  const int vector = active_kernel_set<T>().conv.vector_size;  // half the multiply-adds repay the reading of the input
  return 2 * s.oc * ceil_div(s.ic, vector) <= s.ic * ceil_div(s.oc, vector);
}

template bool exchanges<float>(const Conv2dShape&);
template bool exchanges<double>(const Conv2dShape&);
template Conv2dChoice choose_conv2d<float>(const Conv2dShape&, Pass, Algorithm);
template Conv2dChoice choose_conv2d<double>(const Conv2dShape&, Pass, Algorithm);

}  // namespace fastconv
