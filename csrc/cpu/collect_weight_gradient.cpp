#include "cpu/collect_weight_gradient.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/isa.h"
#include "cpu/pack_weight.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr int kLanes = 32;     // widest channel block
constexpr int kColumns = 128;  // of the filters: brought into their order together, then transposed

}  // namespace

template <class T>
void collect_weight_gradient(const Conv2dShape& s, const T* partials, std::int64_t count, T* grad_weight,
                             bool accumulate, int threads, bool transposed) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const std::int64_t icg = s.icg(), taps = s.kh * s.kw, filter = icg * taps;
  const std::int64_t group_elements = packed_group_elements(s.ocg(), icg, taps, kernels.vector_size);
  const std::int64_t blocks = block_count(s.ocg(), kernels.vector_size), stride = s.groups * group_elements;
  const std::int64_t slices = ceil_div(filter, kColumns);
  parallel_for(s.groups * blocks * slices, threads, [&](std::int64_t task, int) {
    const std::int64_t column0 = task % slices * kColumns, block = task / slices % blocks;
    const std::int64_t columns = std::min<std::int64_t>(kColumns, filter - column0);
    const std::int64_t group = task / slices / blocks, first = block * 2 * kernels.vector_size;
    const std::int64_t width = block_vectors(s.ocg(), first, kernels.vector_size) * kernels.vector_size;
    const std::int64_t valid = std::min(width, s.ocg() - first);
    const T* from = partials + group * group_elements + first * filter;
    T* to = grad_weight + (group * s.ocg() + first) * filter + column0;
    T totals[kColumns * kLanes];
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t ic = (column0 + column) / taps, tap = (column0 + column) % taps;
      const T* sums = from + (tap * icg + ic) * width;
      T* total = totals + column * width;
      std::copy_n(sums, width, total);
      for (std::int64_t g = 1; g < count; ++g)
        for (std::int64_t oc = 0; oc < width; ++oc) total[oc] += sums[g * stride + oc];
    }
    if (transposed) {
      for (std::int64_t column = 0; column < columns; ++column) {
        T* row = grad_weight + (column0 + column) * s.oc + first;
        for (std::int64_t oc = 0; oc < valid; ++oc)
          row[oc] = accumulate ? row[oc] + totals[column * width + oc] : totals[column * width + oc];
      }
      return;
    }
    if (!accumulate) return kernels.transpose(totals, columns, valid, width, to, filter);
    for (std::int64_t oc = 0; oc < valid; ++oc)
      for (std::int64_t column = 0; column < columns; ++column) to[oc * filter + column] += totals[column * width + oc];
  });
}

template void collect_weight_gradient(const Conv2dShape&, const float*, std::int64_t, float*, bool, int, bool);
template void collect_weight_gradient(const Conv2dShape&, const double*, std::int64_t, double*, bool, int, bool);

}  // namespace fastconv
