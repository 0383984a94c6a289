#include "cpu/isa.h"

#include <atomic>
#include <stdexcept>

namespace fastconv {

namespace {

constexpr Isa kAll[] = {Isa::baseline, Isa::avx2, Isa::avx512};

// __builtin_cpu_supports asks cpuid and XGETBV, so a kernel that does not save the wide registers counts as absent.
bool supported(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return true;
#if defined(FASTCONV_X86)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && supported(Isa::avx2);
#endif
    default:
      return false;
  }
}

const KernelTable& table_of(Isa isa) {
  switch (isa) {
#if defined(FASTCONV_X86)
    case Isa::avx2:
      return kernel_table_avx2();
    case Isa::avx512:
      return kernel_table_avx512();
#endif
    default:
      return kernel_table_baseline();
  }
}

Isa best_isa() { return available_isas().back(); }

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{best_isa()};
  return isa;
}

std::string available_names() {
  std::string names;
  for (Isa isa : available_isas()) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    default:
      return "baseline";
  }
}

std::vector<Isa> available_isas() {
  std::vector<Isa> list;
  for (Isa isa : kAll)
    if (supported(isa)) list.push_back(isa);
  return list;
}

Isa active_isa() { return active().load(std::memory_order_relaxed); }

const KernelTable& active_kernels() { return table_of(active_isa()); }

void set_isa(const std::string& source, const std::string& name) {
  for (Isa isa : kAll) {
    if (name != isa_name(isa)) continue;
    if (!supported(isa))
      throw std::runtime_error(source + ": instruction set '" + name +
                               "' is not available on this machine; available: " + available_names());
    active().store(isa, std::memory_order_relaxed);
    return;
  }
  throw std::invalid_argument(source + ": instruction set must be one of " + available_names() + ", got '" + name +
                              "'");
}

}  // namespace fastconv
