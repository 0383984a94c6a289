#include "cuda/hopper_probe.h"

#include <stdexcept>

#include "cuda/conv2d_wgmma_launch.h"
#include "cuda/kernels/hopper_probe.h"

namespace fastconv {
namespace cuda {

namespace {

constexpr std::int64_t kAlignment = kWgmmaAlignment;

std::int32_t line_elements(ElementType type) { return static_cast<std::int32_t>(kProbeLineBytes / bytes_of(type)); }

template <bool im2col>
void run(TmaProbeParams p, std::int64_t lines, const Conv2dShape& shape, Stream stream) {
  p.bytes = static_cast<std::int32_t>(lines * kProbeLineBytes);
  launch({"tma_probe", 1, 32, kAlignment + p.bytes + static_cast<std::int64_t>(sizeof(Barrier)), stream},
         tma_probe<im2col>, p, shape);
}

template <class T, bool turns_a, bool turns_b>
void run_wgmma(int columns, const WgmmaProbeParams& p, Stream stream) {
  const auto with = [&](void (*kernel)(WgmmaProbeParams)) {
    launch({"wgmma_probe", 1, kWarpgroup, kAlignment + (64 + columns) * kProbeLineBytes, stream}, kernel, p,
           Elements{64 * columns});
  };
  if (columns == 64)
    with(wgmma_probe<T, 64, turns_a, turns_b>);
  else if (columns == 128)
    with(wgmma_probe<T, 128, turns_a, turns_b>);
  else if (columns == 256)
    with(wgmma_probe<T, 256, turns_a, turns_b>);
  else
    throw std::invalid_argument("probe_wgmma: columns must be 64, 128 or 256, got " + std::to_string(columns));
}

template <class T>
void run_turned(int columns, Turned turned, const WgmmaProbeParams& p, Stream stream) {
  if (turned == Turned::none)
    run_wgmma<T, false, false>(columns, p, stream);
  else if (turned == Turned::b)
    run_wgmma<T, false, true>(columns, p, stream);
  else
    run_wgmma<T, true, true>(columns, p, stream);
}

}  // namespace

void probe_tma_im2col(const Conv2dShape& s, ElementType type, const void* input, void* to, std::int32_t row,
                      std::int32_t c, std::int32_t kh, std::int32_t kw, Stream stream) {
  TmaProbeParams p{};
  p.map = im2col_tensor_map(type, input, {s.n, s.ih, s.iw, s.ic},
                            conv2d_im2col_box(s, line_elements(type), static_cast<std::int32_t>(kProbePixels)));
  p.to = static_cast<unsigned char*>(to);
  const auto in_plane = static_cast<std::int32_t>(row % (s.oh * s.ow));
  p.at[0] = c, p.at[3] = static_cast<std::int32_t>(row / (s.oh * s.ow));
  p.at[1] = static_cast<std::int32_t>(in_plane % s.ow * s.stride_w - s.pad_left);
  p.at[2] = static_cast<std::int32_t>(in_plane / s.ow * s.stride_h - s.pad_top);
  p.tap[0] = static_cast<std::int32_t>(kw * s.dilation_w), p.tap[1] = static_cast<std::int32_t>(kh * s.dilation_h);
  run<true>(p, kProbePixels, s, stream);
}

void probe_tma_filter(const Conv2dShape& s, ElementType type, const void* weight, void* to, std::int32_t column,
                      std::int32_t c, std::int32_t tap, Stream stream) {
  TmaProbeParams p{};
  p.map = filter_tensor_map(type, weight, {s.oc, s.kh * s.kw, s.ic}, line_elements(type), 64);
  p.to = static_cast<unsigned char*>(to);
  p.at[0] = c, p.at[1] = tap, p.at[2] = column;
  run<false>(p, 64, s, stream);
}

void probe_wgmma(ElementType type, int columns, Turned turned, const void* a, const void* b, float* sums,
                 Stream stream) {
  const WgmmaProbeParams p{static_cast<const unsigned char*>(a), static_cast<const unsigned char*>(b), sums};
  if (type == ElementType::kBFloat16)
    run_turned<BFloat16>(columns, turned, p, stream);
  else if (type == ElementType::kFloat16)
    run_turned<Float16>(columns, turned, p, stream);
  else if (turned == Turned::none)
    run_wgmma<float, false, false>(columns, p, stream);
  else
    throw std::invalid_argument("probe_wgmma: operands of float32 cannot be turned");
}

}  // namespace cuda
}  // namespace fastconv
