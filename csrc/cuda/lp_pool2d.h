// Powers around sum pooling, which make it the p-norm of windows; formulas of ops/lp_pool2d.py. Device pointers.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/stream.h"

namespace fastconv {
namespace cuda {

// power: |x|^p. root: x^(1/p). root_back: gradient * saved^(1-p), and 0 where saved, the root, is 0.
// power_back: gradient * sign(saved) * |saved|^(p-1), without the p that the root takes away again.
enum class NormStep { power, root, root_back, power_back };

NormStep parse_norm_step(const std::string& name);  // throws for others

struct NormPower {
  const float* input;  // of the backward steps the gradient
  const float* saved;  // of the backward steps alone
  float* output;       // may be either
  std::int64_t count;
  double p;
  NormStep step;
};
void norm_power(const NormPower& p, Stream stream);

}  // namespace cuda
}  // namespace fastconv
