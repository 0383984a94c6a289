// The driver of layout changes.
#include <stdexcept>
#include <string>

#include "core/checked_math.h"
#include "cuda/elementwise.h"
#include "cuda/kernels/transpose.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

namespace {

template <class T>
void run(const void* input, void* output, std::int64_t batch, std::int64_t rows, std::int64_t columns, Stream stream) {
  TransposeParams<T> p{static_cast<const T*>(input),   static_cast<T*>(output),          rows, columns,
                       ceil_div(rows, kTransposeTile), ceil_div(columns, kTransposeTile)};
  const std::int64_t blocks = checked_mul(batch, p.row_tiles * p.column_tiles, "transpose");
  constexpr int kSharedBytes = kTransposeTile * kTransposePitch<T> * static_cast<int>(sizeof(T));
  launch({"transpose", blocks, kTransposeThreads, kSharedBytes, stream}, transpose_kernel<T>, p,
         Elements{batch * rows * columns});
}

}  // namespace

void transpose(const void* input, void* output, int element_bytes, std::int64_t batch, std::int64_t rows,
               std::int64_t columns, Stream stream) {
  if (element_bytes == 4)
    run<std::uint32_t>(input, output, batch, rows, columns, stream);
  else if (element_bytes == 2)
    run<std::uint16_t>(input, output, batch, rows, columns, stream);
  else
    throw std::invalid_argument("transpose: element_bytes must be 2 or 4, got " + std::to_string(element_bytes));
}

}  // namespace cuda
}  // namespace fastconv
