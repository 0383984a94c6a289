// Drivers of the element-by-element kernels. Arrays that do not begin at 16 bytes take a narrow variant.
#include "cuda/elementwise.h"

#include "core/checked_math.h"
#include "cuda/aligned.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class T, class Params>
void run(const char* name, void (*kernel)(Params), const Params& p, Stream stream) {
  launch({name, ceil_div(p.count, kOwnBlock<T>), kElementwiseThreads, 0, stream}, kernel, p, Elements{p.count});
}

template <class T>
ElementwiseParams<T> params(const void* input, void* output, const std::uint32_t* mask, std::int64_t count) {
  return {static_cast<const T*>(input), static_cast<T*>(output), const_cast<std::uint32_t*>(mask), count};
}
template <class T>
PairParams<T> pair(const void* first, const void* second, void* output, std::int64_t count) {
  return {static_cast<const T*>(first), static_cast<const T*>(second), static_cast<T*>(output), count};
}

template <class Word>
WordParams<Word> words(const void* input, void* output, std::int64_t count, std::uint32_t value) {
  return {static_cast<const Word*>(input), static_cast<Word*>(output), count, static_cast<Word>(value)};
}

bool wide(const void* a, const void* b, const void* c = nullptr) {
  return aligned(a, 16) && aligned(b, 16) && aligned(c, 16);
}

std::uint32_t bits_of(ElementType type, float value) {
  if (type == ElementType::kFloat16) return from_float<Float16>(value).bits;
  if (type == ElementType::kBFloat16) return from_float<BFloat16>(value).bits;
  return detail::bits_of(value);
}

}  // namespace

void relu_forward(ElementType type, const void* input, void* output, std::uint32_t* mask, std::int64_t count,
                  Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    run<T>("relu_forward", wide(input, output) ? relu_forward_kernel<T, true> : relu_forward_kernel<T, false>,
           params<T>(input, output, mask, count), stream);
  });
}
// Of gradients nothing but zero or not is decided: those of 16 bits are all the same.
void relu_backward(ElementType type, const void* grad_output, const std::uint32_t* mask, void* grad_input,
                   std::int64_t count, Stream stream) {
  const auto of_word = [&](auto word) {
    using T = decltype(word);
    run<T>("relu_backward",
           wide(grad_output, grad_input) ? relu_backward_kernel<T, true> : relu_backward_kernel<T, false>,
           params<T>(grad_output, grad_input, mask, count), stream);
  };
  bytes_of(type) == 4 ? of_word(std::uint32_t{}) : of_word(std::uint16_t{});
}
void relu_backward_output(ElementType type, const void* grad_output, const void* output, void* grad_input,
                          std::int64_t count, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    run<T>("relu_backward_output",
           wide(grad_output, output, grad_input) ? relu_backward_output_kernel<T, true>
                                                 : relu_backward_output_kernel<T, false>,
           pair<T>(grad_output, output, grad_input, count), stream);
  });
}
void add(ElementType type, const void* input, const void* other, void* output, std::int64_t count, Stream stream) {
  with_element(type, [&](auto element) {
    using T = decltype(element);
    run<T>("add", wide(input, other, output) ? add_kernel<T, true> : add_kernel<T, false>,
           pair<T>(input, other, output, count), stream);
  });
}
void fill(ElementType type, void* output, float value, std::int64_t count, Stream stream) {
  const auto of_word = [&](auto word) {
    using Word = decltype(word);
    run<Word>("fill", wide(output, output) ? fill_kernel<Word, true> : fill_kernel<Word, false>,
              words<Word>(nullptr, output, count, bits_of(type, value)), stream);
  };
  bytes_of(type) == 4 ? of_word(std::uint32_t{}) : of_word(std::uint16_t{});
}
void copy(ElementType type, const void* input, void* output, std::int64_t count, Stream stream) {
  const auto of_word = [&](auto word) {
    using Word = decltype(word);
    run<Word>("copy", wide(input, output) ? copy_kernel<Word, true> : copy_kernel<Word, false>,
              words<Word>(input, output, count, 0), stream);
  };
  bytes_of(type) == 4 ? of_word(std::uint32_t{}) : of_word(std::uint16_t{});
}

}  // namespace cuda
}  // namespace fastconv
