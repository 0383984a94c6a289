// What a convolution call would do: the same plans that the passes run, put into words.
#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "cpu/channel_lanes.h"
#include "cpu/conv2d.h"
#include "cpu/conv2d_problems.h"
#include "cpu/fold_conv.h"
#include "cpu/grouped_conv.h"
#include "cpu/layout.h"
#include "cpu/pixel_lanes.h"
#include "cpu/threads.h"
#include "cpu/whole_weight.h"

namespace fastconv {

template <class T>
std::int64_t backward_weight_scratch_bytes(const Conv2dShape& shape);  // conv2d_backward_weight.cpp

namespace {

constexpr const char* kStreamNote = "outputs too large for the caches are stored past them (if aligned to 64 bytes)";

template <class T>
void explain_direct(const DirectConv<T>& problem, Conv2dExplanation& e) {
  const DirectPlan plan = plan_direct(problem);
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * plan.threads * plan.scratch_elements;
  e.scratch_bytes = std::max(e.scratch_bytes, bytes);
  e.threads = std::max(e.threads, plan.threads);
  if (plan.image_tiles) return e.notes.push_back("tiles run across images: no padding is multiplied");
  if (plan.tap_tiles) return e.notes.push_back("one tap after the other: no padding is multiplied");
  if (plan.source.mode == SourceMode::rows)
    e.notes.push_back("blocks of " + std::to_string(plan.rows_per_block) + " rows are copied with their zero padding");
  if (plan.stream) e.notes.push_back(kStreamNote);
  if (plan.source.mode == SourceMode::gather)
    e.notes.push_back("windows are gathered: narrow rows, or a stride or dilation far wider than the kernel");
}

template <class T>
void explain_problem(const Conv2dChoice& choice, DirectConv<T> problem, bool converts, Conv2dExplanation& e) {
  problem.may_stream = !converts;
  if constexpr (std::is_same_v<T, float>) {
    if (choice.method() == Method::winograd) {
      const WinogradPlan plan = plan_winograd(choice.tile(), problem);
      e.scratch_bytes = std::max(e.scratch_bytes, plan.scratch_bytes);
      e.threads = std::max(e.threads, plan.threads);
      if (plan.grid.phases_h * plan.grid.phases_w > 1)
        e.notes.push_back("dilation: " + std::to_string(plan.grid.phases_h * plan.grid.phases_w) +
                          " sub-grids of stride 1");
      if (plan.stream) e.notes.push_back(kStreamNote);
      e.notes.push_back("tiles whose results are not finite are computed again by the direct kernel");
      return;
    }
  }
  if (choice.method() == Method::pixel_lanes) {
    const PixelLanesPlan plan = plan_pixel_lanes(problem);
    e.scratch_bytes = plan.scratch_bytes;
    e.threads = plan.threads;
    e.notes.push_back("blocks of " + std::to_string(plan.rows_per_block) +
                      " rows are copied channel by channel with their zero padding");
    return;
  }
  if (choice.method() == Method::channel_lanes) {
    e.threads = channel_lanes_threads(problem);
    return;
  }
  explain_direct(problem, e);
}

template <class T>
void explain_fold(const FoldConv<T>& problem, Conv2dExplanation& e) {
  const FoldPlan plan = plan_fold(problem);
  e.scratch_bytes = static_cast<std::int64_t>(sizeof(T)) * plan.threads * plan.scratch_elements;
  e.threads = plan.threads;
  const std::int64_t entries = problem.taps_h * problem.taps_w * problem.outputs;
  e.notes.push_back("windows of " + std::to_string(entries) + " entries fill " + std::to_string(plan.pitch) +
                    " vector lanes and are added up where they overlap");
}

void explain_choice(const Conv2dShape& s, const Conv2dChoice& choice, Conv2dExplanation& e) {
  const Candidate& best = choice.candidates[choice.chosen];
  e.algorithm = best.method == Method::grouped && s.depthwise() ? "depthwise" : method_name(best);
  for (const Candidate& c : choice.candidates) {
    if (&c == &best) continue;
    char work[64];
    std::snprintf(work, sizeof work, "%.2f times the estimated work", c.cost / best.cost);
    e.rejected.push_back(std::string(method_name(c)) + ": " + (c.refusal ? c.refusal : work));
  }
}

const char* kernel_text(Method method, Pass pass) {
  const bool weight = pass == Pass::backward_weight;
  if (method == Method::grouped) return "groups side by side in the vector lanes, a filter per lane";
  if (method == Method::fold) return "pixels by (taps, output channels), broadcast times packed weights";
  if (method == Method::pixel_lanes) return "output channels by pixels, broadcast weights times pixels in the lanes";
  if (method == Method::channel_lanes)
    return "(pixel, output channel) pairs by input channels in the lanes, added up at the end";
  if (method == Method::winograd)
    return weight ? "(ic) entries by output channels at each point, summed over tiles"
                  : "tiles by output channels at each point, broadcast times packed weights";
  return weight ? "(kw, ic) entries by output channels, summed over pixels"
                : "pixels by output channels, broadcast times packed weights";
}

}  // namespace

Pass parse_pass(const char* op, const std::string& name) {
  if (name == "forward") return Pass::forward;
  if (name == "backward_input") return Pass::backward_input;
  if (name == "backward_weight") return Pass::backward_weight;
  throw std::invalid_argument(std::string(op) +
                              ": pass must be 'forward', 'backward_input' or 'backward_weight', got '" + name + "'");
}

Algorithm parse_algorithm(const char* op, const std::string& name) {
  if (name == "auto") return Algorithm::automatic;
  if (name == "direct") return Algorithm::direct;
  if (name == "winograd") return Algorithm::winograd;
  throw std::invalid_argument(std::string(op) + ": algo must be 'auto', 'direct' or 'winograd', got '" + name + "'");
}

template <class T>
Conv2dExplanation explain_conv2d(const Conv2dShape& s, Pass pass, Layout layout, Algorithm algorithm) {
  Conv2dExplanation e{};
  const Conv2dChoice choice = choose_conv2d<T>(s, pass, algorithm);
  const bool grouped = choice.method() == Method::grouped, fold = choice.method() == Method::fold;
  explain_choice(s, choice, e);
  const int vector = active_kernel_set<T>().conv.vector_size;
  const auto item = static_cast<std::int64_t>(sizeof(T));
  e.packed_weight_bytes = packed_weight_elements<T>(s, pass, algorithm) * item;
  e.scratch_bytes = e.packed_weight_bytes;
  e.kernel = kernel_text(choice.method(), pass);
  e.threads = 1;
  if (s.n == 0) {
    e.notes.push_back("an empty batch: nothing is computed");
    return e;
  }
  e.scratch_bytes = 0;
  e.threads = grouped ? grouped_threads(s) : threads_for(static_cast<double>(s.flops()));

  std::int64_t converted = 0;
  const auto convert = [&](const Shape4& shape, const char* text) {
    if (!needs_conversion(shape, layout)) return;
    e.layout_conversions.push_back(text);
    converted += static_cast<std::int64_t>(element_count(shape)) * item;
  };
  const bool exchange = pass == Pass::backward_weight && choice.method() == Method::direct && exchanges<T>(s);
  const std::int64_t lanes = pass == Pass::backward_input || exchange ? s.icg() : s.ocg();
  if (pass == Pass::forward) {
    convert(s.input_shape(), "input NCHW -> NHWC");
    convert(s.output_shape(), "output NHWC -> NCHW");
    if (fold)
      explain_fold(forward_fold<T>(s), e);
    else if (!grouped)
      explain_problem(choice, forward_problem<T>(s), needs_conversion(s.output_shape(), layout), e);
  } else if (pass == Pass::backward_input) {
    convert(s.output_shape(), "grad_output NCHW -> NHWC");
    convert(s.input_shape(), "grad_input NHWC -> NCHW");
    std::int64_t phases = 0;
    if (fold)
      explain_fold(backward_input_fold<T>(s), e);
    else if (!grouped)
      for_each_phase(s, [&](const BackwardInputPhase& phase) {
        if (!phase.no_taps() && phases++ == 0)
          explain_problem(choice, backward_input_problem<T>(s, phase), needs_conversion(s.input_shape(), layout), e);
      });
    if (phases > 1)
      e.notes.push_back(std::to_string(phases) + " stride phases, each a stride-1 convolution of grad_output");
  } else {
    convert(s.input_shape(), "input NCHW -> NHWC");
    convert(s.output_shape(), "grad_output NCHW -> NHWC");
    if (exchange) e.notes.push_back("input and grad_output change places: input channels in the vector lanes");
    e.scratch_bytes = choice.method() == Method::winograd ? winograd_backward_weight_scratch_bytes(choice.tile(), s)
                                                          : backward_weight_scratch_bytes<T>(s);
    if (choice.method() == Method::direct && takes_whole_weight<T>(s))
      e.notes.push_back(
          "few pixels or much padding: every part of the gradient is summed at once, no padding multiplied");
  }
  if (grouped && grouped_streams<T>(s, pass) && !converted)
    e.notes.push_back("outputs too large for the caches are stored past them (if aligned to 64 bytes)");
  if (!grouped && !fold && choice.method() != Method::pixel_lanes && choice.method() != Method::channel_lanes &&
      4 * lanes <= vector)
    e.notes.push_back("slow: " + std::to_string(lanes) + (exchange ? " input" : " output") + " channels" +
                      (s.groups > 1 ? " per group" : "") + " fill " + std::to_string(lanes) + " of " +
                      std::to_string(vector) + " vector lanes");
  e.scratch_bytes += converted + e.packed_weight_bytes;
  return e;
}

template Conv2dExplanation explain_conv2d<float>(const Conv2dShape&, Pass, Layout, Algorithm);
template Conv2dExplanation explain_conv2d<double>(const Conv2dShape&, Pass, Layout, Algorithm);

}  // namespace fastconv
