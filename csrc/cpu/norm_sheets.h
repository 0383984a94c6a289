// How normalisation sees memory: sheets of rows by columns, a column's coefficients being the same in all rows. A plane
// of an NCHW array is a sheet of one column. Narrow sheets are folded: 64 columns of one channel are 64 pixels side by
// side. Sheets are cut into chunks of rows by shape alone, and chunks into blocks that are short enough for sums in T.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/checked_math.h"
#include "cpu/kernels/norm_kernels.h"
#include "cpu/norm.h"

namespace fastconv {

class NormSheets {
 public:
  static constexpr std::int64_t kBlockRows = 128;
  static constexpr std::int64_t kWide = 64;

  std::int64_t count, rows, columns;  // rows as they are, before folding
  std::int64_t fold, wide, wide_rows, chunk_rows, chunks;

  explicit NormSheets(const NormShape& s) : planes_(s.planes && s.pixels > 1), grouped_(s.groups > 0) {
    channels_ = s.channels;
    count = planes_ ? s.n * s.channels : grouped_ ? s.n : 1;
    rows = planes_ || grouped_ ? s.pixels : s.n * s.pixels;
    columns = planes_ ? 1 : s.channels;
    fold = std::max<std::int64_t>(1, std::min(kWide / columns, rows / 4));
    wide = fold * columns;
    wide_rows = rows / fold;
    constexpr std::int64_t kChunkElements = 32768, kMostChunks = 64;
    std::int64_t most = 1;
    while (most < kMostChunks && most * kChunkElements < rows * columns) most *= 2;
    chunk_rows = round_up(ceil_div(wide_rows, most), kBlockRows);
    chunks = std::max<std::int64_t>(1, ceil_div(wide_rows, chunk_rows));
  }

  std::int64_t tasks() const { return count * chunks; }
  std::int64_t first_cell(std::int64_t sheet) const {
    return planes_ ? (grouped_ ? sheet : sheet % channels_) : grouped_ ? sheet * channels_ : 0;
  }
  // Where in the array a statistic's first element lies.
  std::int64_t origin(const NormShape& s, std::int64_t statistic) const {
    if (!grouped_) return planes_ ? statistic * s.pixels : statistic;
    const std::int64_t width = s.channels / s.groups;
    if (planes_) return statistic * width * s.pixels;
    return statistic / s.groups * s.pixels * s.channels + statistic % s.groups * width;
  }

  // function(place, rows, columns) for the blocks of a task, at most `block_rows` high; the rows that folding leaves
  // over come last, as a single row.
  template <class Function>
  void for_each_block(std::int64_t task, std::int64_t block_rows, Function&& function) const {
    const std::int64_t sheet = task / chunks, chunk = task % chunks, base = sheet * rows * columns;
    const std::int64_t end = std::min(wide_rows, (chunk + 1) * chunk_rows);
    for (std::int64_t row = chunk * chunk_rows; row < end; row += block_rows)
      function(base + row * wide, std::min(block_rows, end - row), wide);
    const std::int64_t left = rows - wide_rows * fold;
    if (chunk == chunks - 1 && left > 0) function(base + wide_rows * wide, std::int64_t{1}, left * columns);
  }

 private:
  bool planes_, grouped_;
  std::int64_t channels_;
};

// The coefficients of every cell.
template <class T>
struct NormCoefficients {
  T* center;
  T* scale;
  T* shift;
  T* slope;  // slope and offset: null in forward
  T* offset;
};

// The coefficients of one sheet: those of its cells, repeated where it is folded.
template <class T>
class SheetRows {
 public:
  SheetRows(const NormSheets& sheets, const NormCoefficients<T>& from, std::int64_t sheet, bool relu, bool stream) {
    const std::int64_t cell = sheets.first_cell(sheet);
    rows.relu = relu;
    rows.stream = stream;
    rows.center = spread(sheets, from.center + cell, copies_[0]);
    rows.scale = spread(sheets, from.scale + cell, copies_[1]);
    rows.shift = spread(sheets, from.shift + cell, copies_[2]);
    rows.slope = from.slope ? spread(sheets, from.slope + cell, copies_[3]) : nullptr;
    rows.offset = from.slope ? spread(sheets, from.offset + cell, copies_[4]) : nullptr;
  }
  SheetRows(const SheetRows&) = delete;
  SheetRows& operator=(const SheetRows&) = delete;

  NormRows<T> rows{};

 private:
  static const T* spread(const NormSheets& sheets, const T* from, T* copy) {
    if (sheets.fold == 1) return from;
    for (std::int64_t i = 0; i < sheets.wide; i += sheets.columns) std::copy_n(from, sheets.columns, copy + i);
    return copy;
  }
  T copies_[5][NormSheets::kWide];
};

// Center, scale and shift. The center is the mean rounded to T; what it lacks goes into the shift, so that a mean that
// is large against the deviation costs nothing.
template <class T>
void norm_coefficients(const NormShape& s, const double* stats, const T* weight, const T* bias,
                       const NormCoefficients<T>& to) {
  for (std::int64_t cell = 0; cell < s.cells(); ++cell) {
    const std::int64_t statistic = s.statistic(cell), channel = cell % s.channels;
    const double mean = stats[2 * statistic], scale = stats[2 * statistic + 1] * (weight ? weight[channel] : T(1));
    to.center[cell] = static_cast<T>(mean);
    to.scale[cell] = static_cast<T>(scale);
    to.shift[cell] = static_cast<T>((bias ? bias[channel] : 0.0) - (mean - to.center[cell]) * scale);
  }
}

}  // namespace fastconv
