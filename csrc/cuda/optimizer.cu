// Drivers of the optimisers.
#include "cuda/optimizer.h"

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/optimizer.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class Params, class... Pointers>
void run(const char* name, void (*wide)(Params), void (*narrow)(Params), const Params& p, Stream stream,
         const Pointers*... pointers) {
  const bool in_fours = (aligned(pointers, 16) && ...);  // null is aligned
  launch({name, ceil_div(p.count, kPerBlock), kElementwiseThreads, 0, stream}, in_fours ? wide : narrow, p,
         Elements{p.count});
}

}  // namespace

void sgd_step(const SgdParams& p, Stream stream) {
  run("sgd_step", sgd_kernel<true>, sgd_kernel<false>, p, stream, p.param, p.grad, p.velocity);
}
void rmsprop_step(const RmspropParams& p, Stream stream) {
  run("rmsprop_step", rmsprop_kernel<true>, rmsprop_kernel<false>, p, stream, p.param, p.grad, p.square_avg, p.grad_avg,
      p.velocity);
}
void adam_step(const AdamParams& p, Stream stream) {
  run("adam_step", adam_kernel<true>, adam_kernel<false>, p, stream, p.param, p.grad, p.exp_avg, p.exp_avg_sq);
}
void adam_factors_step(const AdamFactorsParams& p, Stream stream) {
  launch({"adam_factors", 1, 32, 0, stream}, adam_factors_kernel, p, Elements{1});
}

}  // namespace cuda
}  // namespace fastconv
