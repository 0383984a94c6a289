#include "cuda/mma_probe.h"

#include <stdexcept>

#include "cuda/kernels/mma_probe.h"
#include "cuda/launch.h"

namespace fastconv {
namespace cuda {

void probe_mma(const std::string& instruction, const std::uint32_t* a, const std::uint32_t* b, float* d,
               Stream stream) {
  const auto run = [&](void (*kernel)(MmaProbeParams)) {
    launch({"mma_probe", 1, 32, 512, stream}, kernel, {a, b, d}, Elements{128});
  };
  if (instruction == "tf32")
    run(mma_probe<Probe::kTf32>);
  else if (instruction == "float16")
    run(mma_probe<Probe::kFloat16>);
  else if (instruction == "bfloat16")
    run(mma_probe<Probe::kBFloat16>);
  else if (instruction == "float16_half")
    run(mma_probe<Probe::kFloat16Half>);
  else if (instruction == "load_matrices")
    run(mma_probe<Probe::kLoadMatrices>);
  else if (instruction == "load_matrices_turned")
    run(mma_probe<Probe::kLoadMatricesTurned>);
  else
    throw std::invalid_argument("probe_mma: no instruction '" + instruction + "'");
}

}  // namespace cuda
}  // namespace fastconv
