// Forward: the statistics in one pass over the input, then the output in another.
#include "cpu/norm.h"

#include <cmath>
#include <limits>

#include "cpu/isa.h"
#include "cpu/norm_sheets.h"
#include "cpu/scratch.h"
#include "cpu/streaming.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

int sheet_threads(const NormSheets& sheets, std::int64_t bytes) {
  return threads_for_bytes(static_cast<double>(sheets.count) * static_cast<double>(sheets.rows * sheets.columns) *
                           static_cast<double>(bytes));
}

std::size_t moment_doubles(const NormShape& s, const NormSheets& sheets) {
  return static_cast<std::size_t>(s.cells() + 2 * sheets.tasks() * sheets.columns + 2 * s.statistics());
}

// Mean and 1 / sqrt(variance + eps). Within a block sums are of type T, relative to the block's first row; between
// blocks of float64, relative to the statistic's first element. So nothing cancels that has not the size of the
// deviation.
template <class T>
void compute_statistics(const NormShape& s, const NormForward<T>& args) {
  const NormSheets sheets(s);
  const auto moments = active_kernel_set<T>().norm.moments;
  const int threads = sheet_threads(sheets, sizeof(T));
  const Scratch doubles(moment_doubles(s, sheets) * sizeof(double));
  const Scratch blocks(static_cast<std::size_t>(2 * threads * sheets.wide) * sizeof(T));
  double* origins = doubles.as<double>();
  double* partials = origins + s.cells();
  double* totals = partials + 2 * sheets.tasks() * sheets.columns;
  const std::int64_t columns = sheets.columns;
  for (std::int64_t cell = 0; cell < s.cells(); ++cell) origins[cell] = args.input[sheets.origin(s, s.statistic(cell))];
  parallel_for(sheets.tasks(), threads, [&](std::int64_t task, int thread) {
    const double* origin = origins + sheets.first_cell(task / sheets.chunks);
    double* total = partials + 2 * task * columns;
    std::fill_n(total, 2 * columns, 0.0);
    T* sum = blocks.as<T>() + 2 * thread * sheets.wide;
    T* square = sum + sheets.wide;
    sheets.for_each_block(task, NormSheets::kBlockRows, [&](std::int64_t place, std::int64_t rows, std::int64_t width) {
      const T* first = args.input + place;
      moments(first, rows, width, sum, square);
      const auto height = static_cast<double>(rows);
      for (std::int64_t j = 0; j < width; j += columns) {
        for (std::int64_t c = 0; c < columns; ++c) {
          const double d = first[j + c] - origin[c], part = sum[j + c];
          total[c] += part + height * d;
          total[columns + c] += square[j + c] + d * (2 * part + height * d);
        }
      }
    });
  });
  std::fill_n(totals, 2 * s.statistics(), 0.0);
  for (std::int64_t task = 0; task < sheets.tasks(); ++task) {
    for (std::int64_t c = 0; c < columns; ++c) {
      double* total = totals + 2 * s.statistic(sheets.first_cell(task / sheets.chunks) + c);
      total[0] += partials[2 * task * columns + c];
      total[1] += partials[(2 * task + 1) * columns + c];
    }
  }
  const auto count = static_cast<double>(s.per_statistic());
  for (std::int64_t i = 0; i < s.statistics(); ++i) {
    const double shifted = totals[2 * i] / count;
    const double mean = args.input[sheets.origin(s, i)] + shifted;
    double variance = totals[2 * i + 1] / count - shifted * shifted;
    if (variance < 0) variance = 0;
    // Squares that overflow T say so, rather than that all is equal.
    if (!(variance < std::numeric_limits<double>::infinity())) variance = std::numeric_limits<double>::quiet_NaN();
    args.stats[2 * i] = mean;
    args.stats[2 * i + 1] = 1 / std::sqrt(variance + args.eps);
    if (!args.running_mean) continue;
    const double unbiased = count > 1 ? variance * (count / (count - 1)) : variance;
    args.running_mean[i] = static_cast<T>((1 - args.momentum) * args.running_mean[i] + args.momentum * mean);
    args.running_var[i] = static_cast<T>((1 - args.momentum) * args.running_var[i] + args.momentum * unbiased);
  }
}

}  // namespace

template <class T>
void norm_forward(const NormShape& s, const NormForward<T>& args) {
  if (args.use_running) {
    for (std::int64_t i = 0; i < s.channels; ++i) {
      args.stats[2 * i] = args.running_mean[i];
      args.stats[2 * i + 1] = 1 / std::sqrt(args.running_var[i] + args.eps);
    }
  }
  if (s.n == 0) return;
  if (!args.use_running) compute_statistics(s, args);
  const NormSheets sheets(s);
  const auto apply = active_kernel_set<T>().norm.apply;
  const std::int64_t row = args.column_affine ? s.pixels : 0;
  const Scratch memory(static_cast<std::size_t>(3 * s.cells() + 2 * row) * sizeof(T));
  T* p = memory.as<T>();
  const NormCoefficients<T> coefficients{p, p + s.cells(), p + 2 * s.cells(), nullptr, nullptr};
  const bool whole = !args.column_affine;
  norm_coefficients<T>(s, args.stats, whole ? args.weight : nullptr, whole ? args.bias : nullptr, coefficients);
  T* zeros = p + 3 * s.cells();
  T* ones = zeros + row;
  std::fill_n(zeros, row, T(0));
  std::fill_n(ones, row, T(1));
  const double elements = static_cast<double>(sheets.count) * static_cast<double>(sheets.rows * sheets.columns);
  const bool stream = whole && args.output != args.input && worth_streaming(2 * sizeof(T) * elements);
  parallel_for(sheets.tasks(), sheet_threads(sheets, 2 * sizeof(T)), [&](std::int64_t task, int) {
    SheetRows<T> sheet(sheets, coefficients, task / sheets.chunks, args.relu, stream);
    const std::int64_t start = task / sheets.chunks * row;
    sheets.for_each_block(task, sheets.chunk_rows, [&](std::int64_t place, std::int64_t rows, std::int64_t width) {
      sheet.rows.rows = rows;
      sheet.rows.columns = width;
      sheet.rows.x = args.input + place;
      apply(sheet.rows, args.output + place);
      if (whole) return;
      NormRows<T> affine{};  // while it is in the cache: each element's own weight and bias
      affine.rows = 1;
      affine.columns = rows * width;
      affine.x = args.output + place;
      affine.center = zeros;
      affine.scale = args.weight ? args.weight + (place - start) : ones;
      affine.shift = args.bias ? args.bias + (place - start) : zeros;
      apply(affine, args.output + place);
    });
  });
}

template <class T>
std::int64_t norm_scratch_bytes(const NormShape& s, bool constant_stats, bool column_affine, bool backward) {
  const auto bytes = [](std::int64_t count, std::size_t size) {
    return round_up(count * static_cast<std::int64_t>(size), kAlignment);
  };
  if (backward && column_affine) return bytes(2 * layer_norm_groups(s) * s.pixels, sizeof(double));
  if (s.n == 0) return 0;
  const NormSheets sheets(s);
  const std::int64_t threads = sheet_threads(sheets, (backward ? 2 : 1) * sizeof(T));
  if (backward)
    return bytes(5 * s.cells() + 2 * threads * sheets.wide, sizeof(T)) +
           bytes(2 * sheets.tasks() * sheets.columns + 2 * s.cells() + 2 * s.statistics(), sizeof(double));
  const std::int64_t coefficients = bytes(3 * s.cells() + (column_affine ? 2 * s.pixels : 0), sizeof(T));
  if (constant_stats) return coefficients;
  return std::max(coefficients, bytes(static_cast<std::int64_t>(moment_doubles(s, sheets)), sizeof(double)) +
                                    bytes(2 * threads * sheets.wide, sizeof(T)));
}

template void norm_forward(const NormShape&, const NormForward<float>&);
template void norm_forward(const NormShape&, const NormForward<double>&);
template std::int64_t norm_scratch_bytes<float>(const NormShape&, bool, bool, bool);
template std::int64_t norm_scratch_bytes<double>(const NormShape&, bool, bool, bool);

}  // namespace fastconv
