#include "cpu/source_block.h"

#include <algorithm>
#include <cstring>

#include "core/checked_math.h"

namespace fastconv {

namespace {

constexpr std::int64_t kGatherAboveBytes = 4 * 1024 * 1024;  // rows scratch of one tile that calls for gathering
constexpr std::int64_t kAliasBytes = 4096;                   // pixels this far apart share one set of the L1 cache
constexpr std::int64_t kAliasChannels = 512;                 // below, a tile's pixels still fit the set
constexpr std::int64_t kAliasPixels = 6;                     // ... and so do this many pixels of any size
constexpr std::int64_t kPitchPadding = 16;

struct Window {  // the source region under a block of outputs
  std::int64_t height, width;
};

template <class T>
Window window_of(const ConvGrid<T>& g, std::int64_t rows, std::int64_t columns) {
  return {(rows - 1) * g.step_h + (g.taps_h - 1) * g.tap_step_h + 1,
          (columns - 1) * g.step_w + (g.taps_w - 1) * g.tap_step_w + 1};
}

template <class T>
bool aliases(std::int64_t pixel_elements) {
  return pixel_elements >= kAliasChannels && pixel_elements * static_cast<std::int64_t>(sizeof(T)) % kAliasBytes == 0;
}

template <class T>
const T* block_image(const ConvGrid<T>& g, const Block& b, std::int64_t i) {
  return g.source + (b.image + i) * g.source_h * g.source_w * g.groups * g.icg + b.group * g.icg + b.channel0;
}

// Copies the block's source rows, zeros where the window leaves the image.
template <class T>
void copy_rows(const ConvGrid<T>& g, std::int64_t pitch, const Block& b, const T* image, T* scratch) {
  const Window w = window_of(g, b.rows, b.columns);
  const std::int64_t source_pixel = g.groups * g.icg;
  const std::int64_t h0 = g.origin_h + b.row0 * g.step_h, w0 = g.origin_w + b.column0 * g.step_w;
  const std::int64_t left = std::clamp<std::int64_t>(-w0, 0, w.width);
  const std::int64_t right = std::clamp<std::int64_t>(g.source_w - w0, left, w.width);
  const auto zero = [pitch](T* to, std::int64_t pixels) {
    std::memset(to, 0, static_cast<std::size_t>(pixels * pitch) * sizeof(T));
  };
  for (std::int64_t r = 0; r < w.height; ++r) {
    T* to = scratch + r * w.width * pitch;
    const std::int64_t ih = h0 + r;
    if (ih < 0 || ih >= g.source_h || left == right) {
      zero(to, w.width);
      continue;
    }
    zero(to, left);
    const T* from = image + (ih * g.source_w + w0 + left) * source_pixel;
    if (source_pixel == pitch && b.channels == pitch) {
      std::memcpy(to + left * pitch, from, static_cast<std::size_t>((right - left) * source_pixel) * sizeof(T));
    } else {
      for (std::int64_t x = left; x < right; ++x, from += source_pixel)
        std::memcpy(to + x * pitch, from, static_cast<std::size_t>(b.channels) * sizeof(T));
    }
    zero(to + right * pitch, w.width - right);
  }
}

// Copies one window [th][tw][c], zeros outside the image.
template <class T>
T* gather_window(const ConvGrid<T>& g, const T* image, std::int64_t oh, std::int64_t ow, std::int64_t channels, T* to) {
  const std::int64_t source_pixel = g.groups * g.icg;
  const std::int64_t iw0 = g.origin_w + ow * g.step_w;
  const auto bytes = static_cast<std::size_t>(channels) * sizeof(T);
  const bool whole_row = g.tap_step_w == 1 && channels == source_pixel && iw0 >= 0 && iw0 + g.taps_w <= g.source_w;
  for (std::int64_t th = 0; th < g.taps_h; ++th) {
    const std::int64_t ih = g.origin_h + oh * g.step_h + th * g.tap_step_h;
    const bool inside = ih >= 0 && ih < g.source_h;
    if (inside && whole_row) {
      std::memcpy(to, image + (ih * g.source_w + iw0) * source_pixel, bytes * static_cast<std::size_t>(g.taps_w));
      to += g.taps_w * channels;
      continue;
    }
    for (std::int64_t tw = 0; tw < g.taps_w; ++tw, to += channels) {
      const std::int64_t iw = iw0 + tw * g.tap_step_w;
      if (inside && iw >= 0 && iw < g.source_w)
        std::memcpy(to, image + (ih * g.source_w + iw) * source_pixel, bytes);
      else
        std::memset(to, 0, bytes);
    }
  }
  return to;
}

template <class T>
void gather_windows(const ConvGrid<T>& g, const Block& b, const T* image, T* to) {
  for (std::int64_t r = 0; r < b.rows; ++r)
    for (std::int64_t x = 0; x < b.columns; ++x)
      to = gather_window(g, image, b.row0 + r, b.column0 + x, b.channels, to);
}

// The same along a flat grid, whose pixels run through the images.
template <class T>
void gather_flat_windows(const ConvGrid<T>& g, Block b, T* to) {
  const std::int64_t pixels = g.flat_h * g.flat_w;
  for (std::int64_t x = b.column0; x < b.column0 + b.columns; ++x) {
    b.image = x / pixels;
    to = gather_window(g, block_image(g, b, 0), x % pixels / g.flat_w, x % g.flat_w, b.channels, to);
  }
}

// Rows scratch, or single windows where rows would be huge and mostly unused.
template <class T>
SourcePlan rows_or_gather(const ConvGrid<T>& g, std::int64_t tile, std::int64_t channels, std::int64_t pitch) {
  const Window least = window_of(g, 1, std::min(g.out_w, tile));
  const double pixels = static_cast<double>(least.height) * static_cast<double>(least.width);
  const double used = static_cast<double>(tile * g.taps_h) * static_cast<double>(g.taps_w);
  if (pixels * static_cast<double>(pitch) * sizeof(T) > kGatherAboveBytes && pixels > 2 * used)
    return {SourceMode::gather, g.taps_h * g.taps_w * channels};
  return {SourceMode::rows, pitch};
}

}  // namespace

template <class T>
bool touches_padding(const ConvGrid<T>& g) {
  const Window all = window_of(g, g.out_h, g.out_w);
  return g.origin_h < 0 || g.origin_w < 0 || g.origin_h + all.height > g.source_h ||
         g.origin_w + all.width > g.source_w;
}

template <class T>
SourcePlan plan_source(const ConvGrid<T>& g, std::int64_t tile) {
  if (g.flat_w > 0) return {SourceMode::gather, g.taps_h * g.taps_w * g.icg};
  const bool copy = touches_padding(g) || (g.groups > 1 && g.taps_h * g.taps_w > 1) ||
                    (aliases<T>(g.groups * g.icg * g.step_w) && std::min(g.out_w, tile) > kAliasPixels);
  if (!copy) return {SourceMode::in_place, g.groups * g.icg};
  return rows_or_gather(g, tile, g.icg, aliases<T>(g.icg * g.step_w) ? g.icg + kPitchPadding : g.icg);
}

template <class T>
SourcePlan plan_source_slices(const ConvGrid<T>& g, std::int64_t slice) {
  const bool copy = touches_padding(g) || (g.groups > 1 && g.taps_h * g.taps_w > 1) || slice < g.icg;
  if (!copy) return {SourceMode::in_place, g.groups * g.icg};
  // Pixels a multiple of 512 bytes apart would use an eighth of the L1 cache.
  const bool conflict = slice * static_cast<std::int64_t>(sizeof(T)) % 512 == 0;
  return rows_or_gather(g, 16, slice, conflict ? slice + kPitchPadding : slice);
}

template <class T>
std::int64_t block_elements(const ConvGrid<T>& g, const SourcePlan& plan, std::int64_t rows, std::int64_t columns) {
  if (plan.mode == SourceMode::gather) return rows * columns * plan.pixel_pitch;
  const Window w = window_of(g, rows, columns);
  return w.height * w.width * plan.pixel_pitch;
}

template <class T>
SourceView<T> view_source(const ConvGrid<T>& g, const SourcePlan& plan, const Block& b, T* scratch) {
  const std::int64_t pitch = plan.pixel_pitch;
  if (plan.mode == SourceMode::in_place) {
    const std::int64_t row = g.source_w * pitch;
    const std::int64_t ih = g.origin_h + b.row0 * g.step_h, iw = g.origin_w + b.column0 * g.step_w;
    return {block_image(g, b, 0) + ih * row + iw * pitch,
            g.source_h * row,
            g.step_h * row,
            g.step_w * pitch,
            g.tap_step_h * row,
            g.tap_step_w * pitch};
  }
  const std::int64_t image = block_elements(g, plan, b.rows, b.columns);
  for (std::int64_t i = 0; i < b.images; ++i) {
    if (g.flat_w > 0)
      gather_flat_windows(g, b, scratch);
    else if (plan.mode == SourceMode::rows)
      copy_rows(g, pitch, b, block_image(g, b, i), scratch + i * image);
    else
      gather_windows(g, b, block_image(g, b, i), scratch + i * image);
  }
  if (plan.mode == SourceMode::gather) {
    const std::int64_t window = g.taps_h * g.taps_w * b.channels;  // the last slice may be narrower than the pitch
    return {scratch, image, b.columns * window, window, g.taps_w * b.channels, b.channels};
  }
  const std::int64_t row = window_of(g, b.rows, b.columns).width * pitch;
  return {scratch, image, g.step_h * row, g.step_w * pitch, g.tap_step_h * row, g.tap_step_w * pitch};
}

template bool touches_padding(const ConvGrid<float>&);
template SourcePlan plan_source(const ConvGrid<float>&, std::int64_t);
template SourcePlan plan_source_slices(const ConvGrid<float>&, std::int64_t);
template std::int64_t block_elements(const ConvGrid<float>&, const SourcePlan&, std::int64_t, std::int64_t);
template SourceView<float> view_source(const ConvGrid<float>&, const SourcePlan&, const Block&, float*);
template bool touches_padding(const ConvGrid<double>&);
template SourcePlan plan_source(const ConvGrid<double>&, std::int64_t);
template SourcePlan plan_source_slices(const ConvGrid<double>&, std::int64_t);
template std::int64_t block_elements(const ConvGrid<double>&, const SourcePlan&, std::int64_t, std::int64_t);
template SourceView<double> view_source(const ConvGrid<double>&, const SourcePlan&, const Block&, double*);

}  // namespace fastconv
