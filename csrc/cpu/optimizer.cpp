#include "cpu/optimizer.h"

#include "cpu/elementwise.h"
#include "cpu/isa.h"

namespace fastconv {

namespace {

// Parameter, gradient and state are read, all but the gradient written.
constexpr std::int64_t kArraysMoved = 6;

template <class T>
T* at(T* p, std::int64_t i) {
  return p ? p + i : nullptr;
}

}  // namespace

template <class T>
void sgd_step(const SgdArgs<T>& args) {
  const auto kernel = active_kernel_set<T>().optimizer.sgd;
  for_each_block(args.count, kArraysMoved * sizeof(T), [&](std::int64_t i, std::int64_t length) {
    SgdArgs<T> a = args;
    a.count = length;
    a.param += i, a.grad += i, a.velocity = at(a.velocity, i);
    kernel(a);
  });
}

template <class T>
void rmsprop_step(const RmspropArgs<T>& args) {
  const auto kernel = active_kernel_set<T>().optimizer.rmsprop;
  for_each_block(args.count, kArraysMoved * sizeof(T), [&](std::int64_t i, std::int64_t length) {
    RmspropArgs<T> a = args;
    a.count = length;
    a.param += i, a.grad += i, a.square_avg += i, a.grad_avg = at(a.grad_avg, i), a.velocity = at(a.velocity, i);
    kernel(a);
  });
}

template <class T>
void adam_step(const AdamArgs<T>& args) {
  const auto kernel = active_kernel_set<T>().optimizer.adam;
  for_each_block(args.count, kArraysMoved * sizeof(T), [&](std::int64_t i, std::int64_t length) {
    AdamArgs<T> a = args;
    a.count = length;
    a.param += i, a.grad += i, a.exp_avg += i, a.exp_avg_sq += i;
    kernel(a);
  });
}

template void sgd_step(const SgdArgs<float>&);
template void sgd_step(const SgdArgs<double>&);
template void rmsprop_step(const RmspropArgs<float>&);
template void rmsprop_step(const RmspropArgs<double>&);
template void adam_step(const AdamArgs<float>&);
template void adam_step(const AdamArgs<double>&);

}  // namespace fastconv
