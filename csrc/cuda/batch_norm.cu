// Drivers of batch normalisation: three launches forward in training, two in inference; up to three backward.
#include "cuda/batch_norm.h"

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/column_slices.h"
#include "cuda/kernels/batch_norm.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kPair = 2 * sizeof(double);

// `vector`: columns that a thread takes at once.
BatchNormWalk walk_of(std::int64_t rows, std::int64_t columns, int vector, void* workspace) {
  const ColumnSlices s = column_slices(rows, columns);
  BatchNormWalk w{};
  w.slices = static_cast<std::int32_t>(s.slices);
  w.slice_rows = s.slices > 0 ? ceil_div(rows, s.slices) : 0;
  w.lanes = static_cast<std::int32_t>(s.lanes);
  w.column_blocks = static_cast<std::int32_t>(ceil_div(columns, s.lanes * vector));
  w.partial = static_cast<double*>(workspace);
  return w;
}

template <class Params>
void launch_walk(const char* name, void (*wide)(Params), void (*narrow)(Params), int vector, bool shares,
                 const Params& q, Stream stream) {
  const std::int64_t shared = shares ? 2 * kColumnThreads * vector * static_cast<std::int64_t>(sizeof(float)) : 0;
  launch({name, static_cast<std::int64_t>(q.walk.slices) * q.walk.column_blocks, kColumnThreads, shared, stream},
         vector == 4 ? wide : narrow, q, Elements{q.p.rows * q.p.columns});
}

}  // namespace

std::int64_t batch_norm_workspace_bytes(std::int64_t rows, std::int64_t columns) {
  return std::max<std::int64_t>(1, column_slices(rows, columns).slices) * columns * kPair;
}

void batch_norm_forward(const BatchNormForward& p, void* workspace, Stream stream) {
  const bool fours = columns_at_once(p.columns) == 4 && aligned(p.input, 16) && aligned(p.output, 16);
  const int vector = fours ? 4 : 1;
  const BatchNormForwardParams q{p, walk_of(p.rows, p.columns, vector, workspace)};
  const Elements elements{p.rows * p.columns};
  if (p.training && p.rows > 0) {
    launch_walk("batch_norm_statistics", batch_norm_statistics<4>, batch_norm_statistics<1>, vector, true, q, stream);
    launch({"batch_norm_moments", ceil_div(p.columns, kNormColumns), kColumnThreads,
            kColumnThreads * static_cast<std::int64_t>(sizeof(Moments)), stream},
           batch_norm_moments, q, elements);
  } else if (!p.training) {
    launch({"batch_norm_running", ceil_div(p.columns, kColumnThreads), kColumnThreads, 0, stream}, batch_norm_running,
           q, elements);
  }
  launch_walk("batch_norm_normalise", batch_norm_normalise<4>, batch_norm_normalise<1>, vector, false, q, stream);
}

void batch_norm_backward(const BatchNormBackward& p, void* workspace, Stream stream) {
  const bool fours = columns_at_once(p.columns) == 4 && aligned(p.input, 16) && aligned(p.grad_output, 16) &&
                     aligned(p.grad_input, 16);
  const int vector = fours ? 4 : 1;
  BatchNormBackwardParams q{p, walk_of(p.rows, p.columns, vector, workspace), static_cast<double*>(workspace)};
  if (p.training || p.grad_weight || p.grad_bias) {
    launch_walk("batch_norm_gradient_sums", batch_norm_gradient_sums<4>, batch_norm_gradient_sums<1>, vector, true, q,
                stream);
    launch({"batch_norm_gradients", ceil_div(p.columns, kNormColumns), kColumnThreads, kColumnThreads * kPair, stream},
           batch_norm_gradients, q, Elements{p.rows * p.columns});
  }
  if (p.grad_input)
    launch_walk("batch_norm_grad_input", batch_norm_grad_input<4>, batch_norm_grad_input<1>, vector, false, q, stream);
}

}  // namespace cuda
}  // namespace fastconv
