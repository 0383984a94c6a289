#include "cpu/tap_tiles.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/pack_weight.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr double kUseful = 0.75;            // more than this part of the taps inside: copied rows are as good
constexpr std::int64_t kInputs = 32;        // shorter sums do not repay the trips of the outputs to the cache
constexpr std::int64_t kBlockPixels = 512;  // outputs that stay in the L2 cache while all taps pass

double useful_part(std::int64_t origin, std::int64_t step, std::int64_t out, std::int64_t tap_step, std::int64_t taps,
                   std::int64_t size) {
  std::int64_t inside = 0;
  for (std::int64_t o = 0; o < out; ++o)
    inside += std::max<std::int64_t>(0, taps_inside(origin + o * step, taps, tap_step, size).count);
  return static_cast<double>(inside) / static_cast<double>(out * taps);
}

}  // namespace

template <class T>
bool mostly_padding(const ConvGrid<T>& g) {
  return useful_part(g.origin_h, g.step_h, g.out_h, g.tap_step_h, g.taps_h, g.source_h) *
             useful_part(g.origin_w, g.step_w, g.out_w, g.tap_step_w, g.taps_w, g.source_w) <
         kUseful;
}

template <class T>
bool takes_tap_tiles(const DirectConv<T>& p) {
  return p.icg >= kInputs && p.out_w >= 4 && mostly_padding<T>(p);
}

template <class T>
void run_tap_tiles(const DirectConv<T>& p, int threads) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const int vector = kernels.vector_size;
  const std::int64_t pixel = p.groups * p.icg;
  const std::int64_t group_elements = packed_group_elements(p.ocg, p.icg, p.taps_h * p.taps_w, vector);
  const std::int64_t blocks = block_count(p.ocg, vector);
  const std::int64_t most_rows = std::max<std::int64_t>(1, kBlockPixels / p.out_w);
  const std::int64_t rows = ceil_div(p.out_h, ceil_div(p.out_h, most_rows)), row_blocks = ceil_div(p.out_h, rows);

  parallel_for(p.n * p.groups * row_blocks * blocks, threads, [&](std::int64_t task, int) {
    const std::int64_t first = task % blocks * 2 * vector, row0 = task / blocks % row_blocks * rows;
    const std::int64_t row1 = std::min(row0 + rows, p.out_h);
    const std::int64_t group = task / blocks / row_blocks % p.groups, image = task / blocks / row_blocks / p.groups;
    const int vectors = block_vectors(p.ocg, first, vector);
    const std::int64_t width = vectors * vector, most = kernels.max_pixels[vectors - 1];
    const T* source = p.source + image * p.source_h * p.source_w * pixel + group * p.icg;
    T* output = p.output + image * p.output_image + group * p.ocg + first;
    const T* weight = p.weight + group * group_elements + first * p.icg * p.taps_h * p.taps_w;
    ConvTileArgs<T> a{};
    a.input_pixel = p.step_w * pixel;
    a.taps_h = 1;
    a.run = p.icg;
    a.output_pixel = p.output_pixel;
    a.channels = static_cast<int>(std::min<std::int64_t>(width, p.ocg - first));
    a.bias = p.bias ? p.bias + group * p.ocg + first : nullptr;
    a.activation = Activation::none;

    const auto run_row = [&](std::int64_t oh, Range columns, const T* input) {
      a.input = input;
      a.output = output + oh * p.output_row + columns.begin * p.output_pixel;
      const std::int64_t pixels = columns.end - columns.begin, count = ceil_div(pixels, most);
      for (std::int64_t t = 0; t < count; ++t) {
        const std::int64_t size = pixels * (t + 1) / count - pixels * t / count;
        kernels.conv_tile[vectors - 1][size - 1](a);
        a.input += size * a.input_pixel;
        a.output += size * a.output_pixel;
      }
    };
    for (std::int64_t oh = row0; oh < row1; ++oh) run_row(oh, {0, p.out_w}, source);  // no tap: the bias
    a.accumulate = true;
    a.taps_w = 1;
    for (std::int64_t th = 0; th < p.taps_h; ++th)
      for (std::int64_t tw = 0; tw < p.taps_w; ++tw) {
        const std::int64_t ih0 = p.origin_h + th * p.tap_step_h, iw0 = p.origin_w + tw * p.tap_step_w;
        const Range lines = outputs_inside(ih0, p.step_h, p.source_h, row0, row1);
        const Range columns = outputs_inside(iw0, p.step_w, p.source_w, 0, p.out_w);
        if (columns.begin >= columns.end) continue;
        a.weight = weight + (th * p.taps_w + tw) * p.icg * width;
        for (std::int64_t oh = lines.begin; oh < lines.end; ++oh)
          run_row(oh, columns, source + ((ih0 + oh * p.step_h) * p.source_w + iw0 + columns.begin * p.step_w) * pixel);
      }
    if (p.activation == Activation::none) return;
    a.taps_w = 0;
    a.activation = p.activation;
    for (std::int64_t oh = row0; oh < row1; ++oh) run_row(oh, {0, p.out_w}, source);
  });
}

template bool mostly_padding(const ConvGrid<float>&);
template bool mostly_padding(const ConvGrid<double>&);
template bool takes_tap_tiles(const DirectConv<float>&);
template bool takes_tap_tiles(const DirectConv<double>&);
template void run_tap_tiles(const DirectConv<float>&, int);
template void run_tap_tiles(const DirectConv<double>&, int);

}  // namespace fastconv
