#include "cuda/lp_pool2d.h"

#include <stdexcept>

#include "core/checked_math.h"
#include "cuda/kernels/lp_pool2d.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

NormStep parse_norm_step(const std::string& name) {
  if (name == "power") return NormStep::power;
  if (name == "root") return NormStep::root;
  if (name == "root_back") return NormStep::root_back;
  if (name == "power_back") return NormStep::power_back;
  throw std::invalid_argument("norm_power: step must be one that is known, got '" + name + "'");
}

void norm_power(const NormPower& p, Stream stream) {
  launch({"norm_power", ceil_div(p.count, kNormPowerThreads), kNormPowerThreads, 0, stream}, norm_power_kernel, p,
         Elements{p.count});
}

}  // namespace cuda
}  // namespace fastconv
