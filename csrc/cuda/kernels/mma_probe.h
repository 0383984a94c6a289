// One tensor-core instruction of one warp, on what each lane finds in memory.
#pragma once

#include "cuda/mma.h"

namespace fastconv {
namespace cuda {

enum class Probe { kTf32, kFloat16, kBFloat16, kFloat16Half, kLoadMatrices, kLoadMatricesTurned };

struct MmaProbeParams {
  const std::uint32_t *a, *b;
  float* d;
};

template <Probe probe>
FASTCONV_KERNEL mma_probe(const MmaProbeParams p) {
  std::uint32_t a[4];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = p.a[lane() * 4 + i], d[i] = p.d[lane() * 4 + i];
  const std::uint32_t b[2] = {p.b[lane() * 2], p.b[lane() * 2 + 1]};
  if constexpr (probe == Probe::kTf32) {
    mma_tf32(d, a, b);
  } else if constexpr (probe == Probe::kFloat16) {
    mma<Float16>(d, a, b);
  } else if constexpr (probe == Probe::kBFloat16) {
    mma<BFloat16>(d, a, b);
  } else if constexpr (probe == Probe::kFloat16Half) {
    mma_float16_half(d, {a[0], a[1]}, b[0]);
  } else {
    auto* rows = shared<std::uint32_t>();
    for (int i = 0; i < 4; ++i) rows[lane() * 4 + i] = a[i];
    sync_warp();
    std::uint32_t m[4];
    if (probe == Probe::kLoadMatrices)
      load_matrices(m, rows + lane() * 4);
    else
      load_matrices_turned(m, rows + lane() * 4);
    for (int i = 0; i < 4; ++i) d[i] = detail::from_bits(m[i]);
  }
  for (int i = 0; i < 4; ++i) p.d[lane() * 4 + i] = d[i];
}

}  // namespace cuda
}  // namespace fastconv
