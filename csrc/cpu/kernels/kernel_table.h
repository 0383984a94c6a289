// Everything that differs between instruction sets, as one table of plain functions per instruction set.
#pragma once

#include "cpu/kernels/activation_kernels.h"
#include "cpu/kernels/conv_kernels.h"
#include "cpu/kernels/elementwise_kernels.h"
#include "cpu/kernels/norm_kernels.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/kernels/winograd_kernels.h"

namespace fastconv {

template <class T>
struct KernelSet {
  ConvKernels<T> conv;
  PoolKernels<T> pool;
  ElementwiseKernels<T> elementwise;
  PointwiseKernels<T> pointwise;
  NormKernels<T> norm;
  OptimizerKernels<T> optimizer;
};

struct KernelTable {
  KernelSet<float> f32;
  KernelSet<double> f64;
  WinogradKernels winograd;
};

template <class T>
const KernelSet<T>& kernel_set(const KernelTable& table);
template <>
inline const KernelSet<float>& kernel_set<float>(const KernelTable& table) {
  return table.f32;
}
template <>
inline const KernelSet<double>& kernel_set<double>(const KernelTable& table) {
  return table.f64;
}

// One of these per object file kernels_<isa>.cpp, its only external symbol.
const KernelTable& kernel_table_baseline();
const KernelTable& kernel_table_avx2();
const KernelTable& kernel_table_avx512();

}  // namespace fastconv
