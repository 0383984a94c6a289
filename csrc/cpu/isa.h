// Which instruction set runs: chosen once from what the processor and the operating system support, or forced.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels/kernel_table.h"

namespace fastconv {

enum class Isa { baseline, avx2, avx512 };

const char* isa_name(Isa isa);
std::vector<Isa> available_isas();  // ascending; the last is the default
Isa active_isa();
const KernelTable& active_kernels();

// Throws std::invalid_argument for an unknown name and std::runtime_error for one that this machine lacks; `source`
// names where the name came from ("set_isa", "FASTCONV_ISA").
void set_isa(const std::string& source, const std::string& name);

template <class T>
const KernelSet<T>& active_kernel_set() {
  return kernel_set<T>(active_kernels());
}

}  // namespace fastconv
