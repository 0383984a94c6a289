#include "cpu/winograd_grid.h"

#include <algorithm>

#include "core/checked_math.h"
#include "cpu/isa.h"

namespace fastconv {

namespace {

// ceil(a / step) for a > 0; nearly always the step is 1, and a division costs as much as a row of a tile.
std::int64_t steps(std::int64_t a, std::int64_t step) { return step == 1 ? a : ceil_div(a, step); }

// Of `edge` source rows (or columns) first, first + step, ...: those inside [0, size).
void inside(std::int64_t first, std::int64_t step, int edge, std::int64_t size, int& begin, int& end) {
  const std::int64_t low = first < 0 ? steps(-first, step) : 0;
  const std::int64_t high = first < size ? steps(size - first, step) : 0;
  begin = static_cast<int>(std::min<std::int64_t>(low, edge));
  end = static_cast<int>(std::clamp<std::int64_t>(high, begin, edge));
}

// Outputs first, first + step, ... below size, at most `most`.
int covered(std::int64_t first, std::int64_t size, std::int64_t step, int most) {
  return static_cast<int>(first < size ? std::min<std::int64_t>(steps(size - first, step), most) : 0);
}

}  // namespace

std::int64_t point_pitch(std::int64_t channels) { return round_up(channels, 16) + 16; }

std::int64_t point_stride(std::int64_t tiles, std::int64_t pitch) {
  constexpr std::int64_t kLine = 16;
  return (ceil_div(tiles * pitch, kLine) | 1) * kLine;
}

WinogradGrid winograd_grid(WinogradTile tile, const ConvGrid<float>& p) {
  const int outputs = winograd_size(tile).outputs;
  WinogradGrid grid{};
  grid.phases_h = p.tap_step_h, grid.phases_w = p.tap_step_w;
  grid.tiles_h = ceil_div(ceil_div(p.out_h, grid.phases_h), outputs);
  grid.tiles_w = ceil_div(ceil_div(p.out_w, grid.phases_w), outputs);
  grid.tiles = p.n * grid.phases_h * grid.phases_w * grid.tiles_h * grid.tiles_w;
  return grid;
}

TileWalk::TileWalk(WinogradTile tile, const WinogradGrid& grid, const ConvGrid<float>& problem, std::int64_t index)
    : grid_(grid), problem_(problem), outputs_(winograd_size(tile).outputs) {
  tile_w_ = index % grid.tiles_w;
  index /= grid.tiles_w;
  tile_h_ = index % grid.tiles_h;
  index /= grid.tiles_h;
  phase_w_ = index % grid.phases_w;
  index /= grid.phases_w;
  phase_h_ = index % grid.phases_h;
  place_.image = index / grid.phases_h;
  set_row();
  set_column();
}

void TileWalk::set_row() {
  place_.row = phase_h_ + tile_h_ * outputs_ * grid_.phases_h;
  place_.rows = covered(place_.row, problem_.out_h, grid_.phases_h, outputs_);
}

void TileWalk::set_column() {
  place_.column = phase_w_ + tile_w_ * outputs_ * grid_.phases_w;
  place_.columns = covered(place_.column, problem_.out_w, grid_.phases_w, outputs_);
}

TileWalk& TileWalk::operator++() {
  if (++tile_w_ == grid_.tiles_w) {
    tile_w_ = 0;
    if (++tile_h_ == grid_.tiles_h) {
      tile_h_ = 0;
      if (++phase_w_ == grid_.phases_w) {
        phase_w_ = 0;
        if (++phase_h_ == grid_.phases_h) phase_h_ = 0, ++place_.image;
      }
    }
    set_row();
  }
  set_column();
  return *this;
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
  a.prefetch = winograd_size(tile).outputs * a.pixel;
  a.point = point_stride(tiles, pitch);
  TileWalk t(tile, grid, p, tile0);
  for (std::int64_t i = 0; i < tiles; ++i, ++t, points += pitch) {
    const std::int64_t ih = p.origin_h + t->row, iw = p.origin_w + t->column;
    inside(ih, p.tap_step_h, edge, p.source_h, a.row0, a.row1);
    inside(iw, p.tap_step_w, edge, p.source_w, a.column0, a.column1);
    a.pixels = p.source + ((t->image * p.source_h + ih) * p.source_w + iw) * pixel + group * p.icg;
    a.points = points;
    transform(a);
  }
}

}  // namespace fastconv
