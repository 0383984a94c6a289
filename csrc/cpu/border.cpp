#include "cpu/border.h"

#include <algorithm>
#include <cmath>

#include "cpu/pack_weight.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

// As the instruction set's tiles round.
template <class T>
T multiply_add(T a, T b, T c, bool fused) {
  return fused ? std::fma(a, b, c) : c + a * b;
}

bool inside(std::int64_t first, std::int64_t taps, std::int64_t step, std::int64_t size) {
  return first >= 0 && first + (taps - 1) * step < size;
}

// One output, its sum in the tile's order: taps, then channels.
template <class T>
T one_output(const DirectConv<T>& p, const T* image, std::int64_t ih0, std::int64_t iw0, const T* weight,
             std::int64_t width, T sum, bool fused) {
  const std::int64_t pixel = p.groups * p.icg;
  for (std::int64_t th = 0; th < p.taps_h; ++th)
    for (std::int64_t tw = 0; tw < p.taps_w; ++tw) {
      const std::int64_t ih = ih0 + th * p.tap_step_h, iw = iw0 + tw * p.tap_step_w;
      if (ih < 0 || ih >= p.source_h || iw < 0 || iw >= p.source_w) continue;
      const T* x = image + (ih * p.source_w + iw) * pixel;
      const T* w = weight + (th * p.taps_w + tw) * p.icg * width;
      for (std::int64_t c = 0; c < p.icg; ++c) sum = multiply_add(x[c], w[c * width], sum, fused);
    }
  return sum;
}

}  // namespace

template <class T>
void redo_border(const DirectConv<T>& p) {
  const int vector = active_kernel_set<T>().conv.vector_size;
  const bool fused = active_isa() != Isa::baseline;
  const std::int64_t taps = p.taps_h * p.taps_w, pixel = p.groups * p.icg;
  parallel_for(p.n * p.out_h, max_threads(), [&](std::int64_t task, int) {
    const std::int64_t n = task / p.out_h, oh = task % p.out_h, ih0 = p.origin_h + oh * p.step_h;
    const bool whole_rows = inside(ih0, p.taps_h, p.tap_step_h, p.source_h);
    for (std::int64_t ow = 0; ow < p.out_w; ++ow) {
      const std::int64_t iw0 = p.origin_w + ow * p.step_w;
      if (whole_rows && inside(iw0, p.taps_w, p.tap_step_w, p.source_w)) continue;
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const T* image = p.source + n * p.source_h * p.source_w * pixel + g * p.icg;
        const T* weights = p.weight + g * packed_group_elements(p.ocg, p.icg, taps, vector);
        T* output = p.output + n * p.output_image + oh * p.output_row + ow * p.output_pixel + g * p.ocg;
        for (std::int64_t oc = 0; oc < p.ocg; ++oc) {
          const std::int64_t first = oc / (2 * vector) * 2 * vector;
          const std::int64_t width = block_vectors(p.ocg, first, vector) * vector;
          const T* weight = weights + first * p.icg * taps + (oc - first);
          const T y = one_output(p, image, ih0, iw0, weight, width, p.bias ? p.bias[g * p.ocg + oc] : T(0), fused);
          output[oc] = p.activation == Activation::relu && y <= T(0) ? T(0) : y;
        }
      }
    }
  });
}

template <class T>
void add_weight_gradient_inside(const ConvGrid<T>& g, const Block& b, const T* packed_grad, std::int64_t width,
                                T* grad) {
  const std::int64_t pixel = g.groups * g.icg;
  const bool fused = active_isa() != Isa::baseline;
  for (std::int64_t i = 0; i < b.images; ++i)
    for (std::int64_t row = b.row0; row < b.row0 + b.rows; ++row)
      for (std::int64_t x = b.column0; x < b.column0 + b.columns; ++x, packed_grad += width)
        for (std::int64_t th = 0; th < g.taps_h; ++th)
          for (std::int64_t tw = 0; tw < g.taps_w; ++tw) {
            const std::int64_t ih = g.origin_h + row * g.step_h + th * g.tap_step_h;
            const std::int64_t iw = g.origin_w + x * g.step_w + tw * g.tap_step_w;
            if (ih < 0 || ih >= g.source_h || iw < 0 || iw >= g.source_w) continue;
            const T* source =
                g.source + (((b.image + i) * g.source_h + ih) * g.source_w + iw) * pixel + b.group * g.icg + b.channel0;
            T* to = grad + ((th * g.taps_w + tw) * g.icg + b.channel0) * width;
            for (std::int64_t c = 0; c < b.channels; ++c)
              for (std::int64_t lane = 0; lane < width; ++lane) {
                T& sum = to[c * width + lane];
                sum = multiply_add(source[c], packed_grad[lane], sum, fused);
              }
          }
}

template void redo_border(const DirectConv<float>&);
template void redo_border(const DirectConv<double>&);
template void add_weight_gradient_inside(const ConvGrid<float>&, const Block&, const float*, std::int64_t, float*);
template void add_weight_gradient_inside(const ConvGrid<double>&, const Block&, const double*, std::int64_t, double*);

}  // namespace fastconv
