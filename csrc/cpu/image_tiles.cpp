#include "cpu/image_tiles.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/kernels/pool_kernels.h"
#include "cpu/pack_weight.h"
#include "cpu/tap_tiles.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

constexpr std::int64_t kImages = 8;         // fewer leave short tiles: then taps outside are better, where they can
constexpr std::int64_t kMaxPositions = 64;  // of larger maps padding is a small part

}  // namespace

template <class T>
bool takes_image_tiles(const DirectConv<T>& p) {
  if (p.out_h > kMaxPositions || p.out_w > kMaxPositions || p.out_h * p.out_w > kMaxPositions) return false;
  // Images a multiple of 2 KiB apart would share one or two sets of the L1 cache.
  const std::int64_t image = p.source_h * p.source_w * p.groups * p.icg * static_cast<std::int64_t>(sizeof(T));
  if (image % 2048 == 0) return false;
  return mostly_padding<T>(p) && (p.n >= kImages || !takes_tap_tiles(p));
}

template <class T>
void run_image_tiles(const DirectConv<T>& p, int threads) {
  const ConvKernels<T>& kernels = active_kernel_set<T>().conv;
  const int vector = kernels.vector_size;
  const std::int64_t pixel = p.groups * p.icg, image = p.source_h * p.source_w * pixel;
  const std::int64_t group_elements = packed_group_elements(p.ocg, p.icg, p.taps_h * p.taps_w, vector);
  const std::int64_t blocks = block_count(p.ocg, vector);
  const std::int64_t tiles = ceil_div(p.n, kernels.max_pixels[p.ocg > vector ? 1 : 0]);

  parallel_for(tiles * p.groups * p.out_h, threads, [&](std::int64_t task, int) {
    const std::int64_t oh = task % p.out_h, group = task / p.out_h % p.groups, tile = task / p.out_h / p.groups;
    const std::int64_t n0 = p.n * tile / tiles, images = p.n * (tile + 1) / tiles - n0;
    const std::int64_t ih0 = p.origin_h + oh * p.step_h;
    const Span rows = taps_inside(ih0, p.taps_h, p.tap_step_h, p.source_h);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t first = block * 2 * vector;
      const int vectors = block_vectors(p.ocg, first, vector);
      const std::int64_t width = vectors * vector;
      const T* weight = p.weight + group * group_elements + first * p.icg * p.taps_h * p.taps_w;
      ConvTileArgs<T> a{};
      a.input_pixel = image;
      a.taps_h = 1;
      a.input_tap_w = p.tap_step_w * pixel;
      a.run = p.icg;
      a.output_pixel = p.output_image;
      a.channels = static_cast<int>(std::min<std::int64_t>(width, p.ocg - first));
      a.bias = p.bias ? p.bias + group * p.ocg + first : nullptr;
      for (std::int64_t ow = 0; ow < p.out_w; ++ow) {
        const std::int64_t iw0 = p.origin_w + ow * p.step_w;
        const Span columns = taps_inside(iw0, p.taps_w, p.tap_step_w, p.source_w);
        a.output = p.output + n0 * p.output_image + oh * p.output_row + ow * p.output_pixel + group * p.ocg + first;
        a.taps_w = std::max<std::int64_t>(columns.count, 0);
        a.accumulate = false;
        a.activation = rows.count > 0 ? Activation::none : p.activation;
        if (rows.count <= 0) {  // nothing but padding: the bias
          a.taps_w = 0;
          kernels.conv_tile[vectors - 1][images - 1](a);
        }
        const std::int64_t first_tw = (columns.first - iw0) / p.tap_step_w;
        for (std::int64_t r = 0; r < rows.count; ++r, a.accumulate = true) {
          const std::int64_t ih = rows.first + r * p.tap_step_h, th = (ih - ih0) / p.tap_step_h;
          a.input = p.source + n0 * image + (ih * p.source_w + columns.first) * pixel + group * p.icg;
          a.weight = weight + (th * p.taps_w + first_tw) * p.icg * width;
          if (r + 1 == rows.count) a.activation = p.activation;
          kernels.conv_tile[vectors - 1][images - 1](a);
        }
      }
    }
  });
}

template bool takes_image_tiles(const DirectConv<float>&);
template bool takes_image_tiles(const DirectConv<double>&);
template void run_image_tiles(const DirectConv<float>&, int);
template void run_image_tiles(const DirectConv<double>&, int);

}  // namespace fastconv
