#include "cpu/winograd_grid.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/isa.h"

namespace fastconv {

namespace {

// Of `edge` source rows (or columns) first, first + step, ...: those inside [0, size).
void inside(std::int64_t first, std::int64_t step, int edge, std::int64_t size, int& begin, int& end) {
  const std::int64_t low = first < 0 ? ceil_div(-first, step) : 0;
  const std::int64_t high = first < size ? ceil_div(size - first, step) : 0;
  begin = static_cast<int>(std::min<std::int64_t>(low, edge));
  end = static_cast<int>(std::clamp<std::int64_t>(high, begin, edge));
}

}  // namespace

std::int64_t point_pitch(std::int64_t channels) { return round_up(channels, 16) + 16; }

WinogradGrid winograd_grid(WinogradTile tile, const ConvGrid<float>& p) {
  const int outputs = winograd_size(tile).outputs;
  WinogradGrid grid{};
  grid.phases_h = p.tap_step_h, grid.phases_w = p.tap_step_w;
  grid.tiles_h = ceil_div(ceil_div(p.out_h, grid.phases_h), outputs);
  grid.tiles_w = ceil_div(ceil_div(p.out_w, grid.phases_w), outputs);
  grid.tiles = p.n * grid.phases_h * grid.phases_w * grid.tiles_h * grid.tiles_w;
  return grid;
}

TilePlace place_tile(WinogradTile tile, const WinogradGrid& grid, const ConvGrid<float>& p, std::int64_t index) {
  const int outputs = winograd_size(tile).outputs;
  TilePlace t{};
  const std::int64_t tw = index % grid.tiles_w;
  index /= grid.tiles_w;
  const std::int64_t th = index % grid.tiles_h;
  index /= grid.tiles_h;
  t.column = index % grid.phases_w + tw * outputs * grid.phases_w;
  index /= grid.phases_w;
  t.row = index % grid.phases_h + th * outputs * grid.phases_h;
  t.image = index / grid.phases_h;
  const auto covered = [&](std::int64_t first, std::int64_t size, std::int64_t step) {
    return static_cast<int>(first < size ? std::min<std::int64_t>(ceil_div(size - first, step), outputs) : 0);
  };
  t.rows = covered(t.row, p.out_h, grid.phases_h);
  t.columns = covered(t.column, p.out_w, grid.phases_w);
  return t;
}

void tiles_to_points(WinogradTile tile, const WinogradGrid& grid, const ConvGrid<float>& p, std::int64_t group,
                     std::int64_t tile0, std::int64_t tiles, std::int64_t pitch, float* points) {
  const auto transform = active_kernels().winograd.input[static_cast<int>(tile)];
  const int edge = winograd_size(tile).edge();
  const std::int64_t pixel = p.groups * p.icg;
  WinogradToPoints a{};
  a.row = p.tap_step_h * p.source_w * pixel;
  a.pixel = p.tap_step_w * pixel;
  a.channels = p.icg;
  a.point = tiles * pitch;
  for (std::int64_t i = 0; i < tiles; ++i, points += pitch) {
    const TilePlace t = place_tile(tile, grid, p, tile0 + i);
    const std::int64_t ih = p.origin_h + t.row, iw = p.origin_w + t.column;
    inside(ih, p.tap_step_h, edge, p.source_h, a.row0, a.row1);
    inside(iw, p.tap_step_w, edge, p.source_w, a.column0, a.column1);
    a.pixels = p.source + ((t.image * p.source_h + ih) * p.source_w + iw) * pixel + group * p.icg;
    a.points = points;
    transform(a);
  }
}

}  // namespace fastconv
