// What a pooling call would do: the same plans that the passes run, put into words.
#include "cpu/pool2d.h"
#include "cpu/pool2d_plans.h"
#include "cpu/pool2d_tasks.h"
#include "cpu/scratch.h"

namespace fastconv {

namespace {

std::int64_t block(std::int64_t bytes) { return round_up(bytes, static_cast<std::int64_t>(kAlignment)); }

std::string kernel_of(const Pool2dShape& s, PoolPass pass, Layout layout) {
  const bool planes = layout == Layout::nchw;
  if (!planes) return "channels in the vector lanes";
  if ((pass == PoolPass::max_forward || pass == PoolPass::avg_forward) && s.kw > s.ow && s.dilation_w == 1)
    return "the pixels under one window in the vector lanes";
  return "neighbouring windows in the vector lanes";
}

}  // namespace

template <class T>
Pool2dExplanation explain_pool2d(const Pool2dShape& s, PoolPass pass, Layout layout, std::int64_t place_size) {
  const bool maximum = pass == PoolPass::max_forward || pass == PoolPass::max_backward;
  const bool backward = pass == PoolPass::max_backward || pass == PoolPass::avg_backward;
  if (!maximum) place_size = 0;
  const Pool2dShape tall = pass == PoolPass::avg_forward && !forward_beside(s, layout, false) ? stacked(s, layout) : s;
  const PoolPlan plan = !maximum   ? plan_avg<T>(tall, layout, backward)
                        : backward ? plan_max_backward<T>(s, layout, place_size)
                                   : plan_max_forward<T>(s, layout, place_size);
  Pool2dExplanation e{};
  e.algorithm = backward ? "gather" : "windows";
  e.kernel = kernel_of(s, pass, layout);
  e.threads = plan.threads;
  e.bytes_moved = static_cast<std::int64_t>(pool_bytes(s, sizeof(T), place_size));

  const auto item = static_cast<std::int64_t>(sizeof(T));
  const std::int64_t counts = maximum ? 0 : block((tall.oh + tall.ow) * item);
  const bool places = place_size > 0, taps = place_size == 1;
  if (backward ? !maximum && backward_beside(s, layout) : !taps && forward_beside(s, layout, places)) {
    e.kernel = "planes side by side in the vector lanes";
    e.scratch_bytes = block(plan.threads * plan_beside(s, backward, places).bytes) + counts;
    return e;
  }
  const bool scatters = pass == PoolPass::max_backward && !max_backward_gathers(s, plan);
  const bool staged = plan.stream && !scatters && (backward || !splits_channels(plan));
  if (scatters) {
    e.algorithm = "scatter";
    e.kernel = "one element at a time";
    if (s.oh > 1 || s.ow > 1)
      e.notes.push_back(s.dilation_h != 1 || s.dilation_w != 1
                            ? "slow: with a dilation each window adds to its maximum, one element at a time"
                        : plan.planes
                            ? "each window adds to its maximum, one element at a time"
                            : "slow: where many windows overlap each adds to its maximum, one element at a time");
  }
  if (staged) {
    const std::int64_t places = pass == PoolPass::max_forward && place_size ? plan.stage_bytes(place_size) : 0;
    e.scratch_bytes += block(plan.threads * (plan.stage_bytes(item) + places));
    e.notes.push_back("results are stored past the caches");
  }
  if (pass == PoolPass::avg_backward) e.scratch_bytes += block(plan.threads * item * avg_backward_room(s, plan));
  e.scratch_bytes += counts;
  const bool windows_in_lanes = !backward && layout == Layout::nchw && !(s.kw > s.ow && s.dilation_w == 1);
  if (windows_in_lanes && s.stride_w > 2)
    e.notes.push_back("slow: windows " + std::to_string(s.stride_w) + " columns apart are read lane by lane in NCHW");
  return e;
}

template Pool2dExplanation explain_pool2d<float>(const Pool2dShape&, PoolPass, Layout, std::int64_t);
template Pool2dExplanation explain_pool2d<double>(const Pool2dShape&, PoolPass, Layout, std::int64_t);

}  // namespace fastconv
