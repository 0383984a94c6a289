#include "cpu/activation.h"

#include <algorithm>
#include <cstring>

#include "cpu/elementwise.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/streaming.h"

namespace fastconv {

namespace {

// Runs piece(first, length, place) over all elements. Large results go past the caches through a stage of one thread;
// those in the memory of an input are not streamed: their lines are at hand.
template <class T, class Piece>
void for_each_piece(std::int64_t count, int arrays, T* output, bool in_place, Piece&& piece) {
  const double moved = static_cast<double>(count) * arrays * sizeof(T);
  const int threads = threads_for_bytes(moved);
  if (in_place || !worth_streaming(moved)) {
    for_each_block(count, kBlock, threads, [&](std::int64_t i, std::int64_t length) { piece(i, length, output + i); });
    return;
  }
  constexpr auto kPiece = static_cast<std::int64_t>(kPieceBytes / sizeof(T));
  constexpr std::size_t kStage = static_cast<std::size_t>(kPieceBytes) + 2 * kAlignment;
  const Scratch stages(static_cast<std::size_t>(threads) * kStage);
  parallel_for(ceil_div(count, kStreamedBlock), threads, [&](std::int64_t task, int thread) {
    const std::int64_t first = task * kStreamedBlock, end = std::min(count, first + kStreamedBlock);
    StreamedRun<T> run(active_kernel_set<T>().pool, output + first,
                       reinterpret_cast<T*>(stages.as<char>() + static_cast<std::size_t>(thread) * kStage));
    for (std::int64_t i = first; i < end; i += kPiece) {
      const std::int64_t length = std::min(kPiece, end - i);
      piece(i, length, run.place());
      run.wrote(length);
    }
    run.finish();
  });
}

}  // namespace

template <class T>
void activation_forward(Pointwise function, T a, T b, const T* input, std::int64_t count, T* output) {
  const auto kernel = active_kernel_set<T>().pointwise.forward;
  for_each_piece<T>(count, 2, output, input == output, [=](std::int64_t i, std::int64_t length, T* place) {
    const std::int64_t whole = length / kPointwiseStep * kPointwiseStep;
    kernel(function, a, b, input + i, whole, place);
    if (whole == length) return;
    const auto rest = static_cast<std::size_t>(length - whole) * sizeof(T);
    T tail[kPointwiseStep] = {};
    std::memcpy(tail, input + i + whole, rest);
    kernel(function, a, b, tail, kPointwiseStep, tail);
    std::memcpy(place + whole, tail, rest);
  });
}

template <class T>
void activation_backward(Pointwise function, T a, T b, const T* grad_output, const T* saved, std::int64_t count,
                         T* grad_input) {
  const auto kernel = active_kernel_set<T>().pointwise.backward;
  const bool in_place = grad_input == grad_output || grad_input == saved;
  for_each_piece<T>(count, 3, grad_input, in_place, [=](std::int64_t i, std::int64_t length, T* place) {
    const std::int64_t whole = length / kPointwiseStep * kPointwiseStep;
    kernel(function, a, b, grad_output + i, saved + i, whole, place);
    if (whole == length) return;
    const auto rest = static_cast<std::size_t>(length - whole) * sizeof(T);
    T grad[kPointwiseStep] = {}, value[kPointwiseStep] = {};
    std::memcpy(grad, grad_output + i + whole, rest);
    std::memcpy(value, saved + i + whole, rest);
    kernel(function, a, b, grad, value, kPointwiseStep, grad);
    std::memcpy(place + whole, grad, rest);
  });
}

template void activation_forward(Pointwise, float, float, const float*, std::int64_t, float*);
template void activation_forward(Pointwise, double, double, const double*, std::int64_t, double*);
template void activation_backward(Pointwise, float, float, const float*, const float*, std::int64_t, float*);
template void activation_backward(Pointwise, double, double, const double*, const double*, std::int64_t, double*);

}  // namespace fastconv
