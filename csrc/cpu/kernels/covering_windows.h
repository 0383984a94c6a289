// Which windows cover a pixel: what the backward passes of pooling gather from.
#pragma once

#include <cstdint>

#include "cpu/kernels/pool_kernels.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

// The windows [begin, end) that cover a column, kept up to date as the column moves right.
struct CoveringWindows {
  std::int64_t begin = 0, end = 0;

  void move_to(std::int64_t iw, const PoolColumns& w) {
    while (end < w.ow && end * w.stride - w.pad <= iw) ++end;
    while (begin < end && begin * w.stride - w.pad + w.kernel <= iw) ++begin;
  }
};

}  // namespace
}  // namespace FASTCONV_ISA
}  // namespace fastconv
