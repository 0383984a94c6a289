// Drivers of the element-by-element kernels. Arrays that do not begin at 16 bytes take a narrow variant.
#include "cuda/elementwise.h"

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

using Kernel = void (*)(ElementwiseParams);

void run(const char* name, Kernel wide, Kernel narrow, const ElementwiseParams& p, Stream stream) {
  const bool in_fours = aligned(p.input, 16) && aligned(p.output, 16);
  launch({name, ceil_div(p.count, kPerBlock), kElementwiseThreads, 0, stream}, in_fours ? wide : narrow, p,
         Elements{p.count});
}

void run_pair(const char* name, void (*wide)(PairParams), void (*narrow)(PairParams), const PairParams& p,
              Stream stream) {
  const bool in_fours = aligned(p.first, 16) && aligned(p.second, 16) && aligned(p.output, 16);
  launch({name, ceil_div(p.count, kPerBlock), kElementwiseThreads, 0, stream}, in_fours ? wide : narrow, p,
         Elements{p.count});
}

}  // namespace

void relu_forward(const float* input, float* output, std::uint32_t* mask, std::int64_t count, Stream stream) {
  run("relu_forward", relu_forward_kernel<true>, relu_forward_kernel<false>, {input, output, mask, count, 0}, stream);
}
void relu_backward(const float* grad_output, const std::uint32_t* mask, float* grad_input, std::int64_t count,
                   Stream stream) {
  run("relu_backward", relu_backward_kernel<true>, relu_backward_kernel<false>,
      {grad_output, grad_input, const_cast<std::uint32_t*>(mask), count, 0}, stream);
}
void relu_backward_output(const float* grad_output, const float* output, float* grad_input, std::int64_t count,
                          Stream stream) {
  run_pair("relu_backward_output", relu_backward_output_kernel<true>, relu_backward_output_kernel<false>,
           {grad_output, output, grad_input, count}, stream);
}
void add(const float* input, const float* other, float* output, std::int64_t count, Stream stream) {
  run_pair("add", add_kernel<true>, add_kernel<false>, {input, other, output, count}, stream);
}
void fill(float* output, float value, std::int64_t count, Stream stream) {
  run("fill", fill_kernel<true>, fill_kernel<false>, {nullptr, output, nullptr, count, value}, stream);
}
void copy(const float* input, float* output, std::int64_t count, Stream stream) {
  run("copy", copy_kernel<true>, copy_kernel<false>, {input, output, nullptr, count, 0}, stream);
}

}  // namespace cuda
}  // namespace fastconv
