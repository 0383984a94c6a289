// The body of every kernels_<isa>.cpp: collects the kernels compiled for FASTCONV_ISA into its table.
// FASTCONV_ISA is the namespace (baseline, avx2, avx512) and FASTCONV_TABLE the accessor's name.
#pragma once

#include "cpu/kernels/activation.h"
#include "cpu/kernels/avg_pool2d.h"
#include "cpu/kernels/avg_pool2d_backward.h"
#include "cpu/kernels/channel_lanes.h"
#include "cpu/kernels/column_sum.h"
#include "cpu/kernels/conv_tile.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/fma_chains.h"
#include "cpu/kernels/fold_gather.h"
#include "cpu/kernels/fold_row.h"
#include "cpu/kernels/grouped_tile.h"
#include "cpu/kernels/grouped_weight.h"
#include "cpu/kernels/kernel_table.h"
#include "cpu/kernels/max_pool2d.h"
#include "cpu/kernels/max_pool2d_backward.h"
#include "cpu/kernels/norm.h"
#include "cpu/kernels/optimizer_step.h"
#include "cpu/kernels/pack_pixels.h"
#include "cpu/kernels/pixel_lanes.h"
#include "cpu/kernels/transpose.h"
#include "cpu/kernels/weight_tile.h"
#include "cpu/kernels/winograd.h"

namespace fastconv {
namespace FASTCONV_ISA {
namespace {

template <class T>
constexpr KernelSet<T> make_kernel_set() {
  KernelSet<T> set{};
  set.conv.vector_size = Vec<T>::kSize;
  fill_conv_tiles(set.conv);
  fill_weight_tiles(set.conv);
  fill_pixel_tiles(set.conv);
  fill_channel_lanes(set.conv);
  set.conv.fold_row = &fold_row<T>;
  set.conv.fold_gather = &fold_gather<T>;
  set.conv.grouped_forward = &grouped_forward<T>;
  set.conv.grouped_weight = &grouped_weight<T>;
  set.conv.column_sum = &column_sum<T>;
  set.conv.pack_pixels = &pack_pixels<T>;
  set.conv.transpose = &transpose<T>;
  set.conv.fma_chains = &fma_chains<T>;
  set.pool = {&max_nhwc<T>,         &max_nchw<T>,  &max_gather_nhwc<T>, &max_gather_nchw<T>,   &max_scatter_nhwc<T>,
              &max_scatter_nchw<T>, &avg_nhwc<T>,  &avg_nchw<T>,        &avg_backward_nhwc<T>, &avg_backward_nchw<T>,
              &stream_lines,        &stream_fence, &indices_inside};
  set.elementwise = {&relu<T>, &relu_backward<T>, &add<T>, &copy<T>};
  set.pointwise = {&activation_forward<T>, &activation_backward<T>};
  set.norm = {&norm_moments<T>, &norm_grad_sums<T>, &norm_apply<T>, &norm_backward<T>};
  set.optimizer = {&sgd_step<T>, &rmsprop_step<T>, &adam_step<T>};
  return set;
}

}  // namespace
}  // namespace FASTCONV_ISA

const KernelTable& FASTCONV_TABLE() {
  static constexpr KernelTable kTable{FASTCONV_ISA::make_kernel_set<float>(), FASTCONV_ISA::make_kernel_set<double>(),
                                      FASTCONV_ISA::make_winograd_kernels()};
  return kTable;
}

}  // namespace fastconv
