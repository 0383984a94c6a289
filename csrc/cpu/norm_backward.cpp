// Backward: the sums of the gradient and of its product with the normalised input, then the gradient of the input.
// With m elements to a statistic, A = sum(w g) / m and B = sum(w g xhat) / m:
//   grad_input = rstd * (w g - A - xhat B)      (Ioffe and Szegedy 2015, section 3; Ba, Kiros and Hinton 2016)
#include <algorithm>

#include "cpu/isa.h"
#include "cpu/norm_sheets.h"
#include "cpu/scratch.h"
#include "cpu/streaming.h"
#include "cpu/threads.h"

namespace fastconv {

namespace {

template <class T>
void add_to(T* target, std::int64_t i, double value, bool accumulate) {
  target[i] = static_cast<T>(accumulate ? target[i] + value : value);
}

}  // namespace

template <class T>
void norm_backward(const NormShape& s, const NormBackward<T>& args) {
  if (!args.accumulate) {
    if (args.grad_weight) std::fill_n(args.grad_weight, s.channels, T(0));
    if (args.grad_bias) std::fill_n(args.grad_bias, s.channels, T(0));
  }
  if (s.n == 0) return;
  const NormSheets sheets(s);
  const auto& kernels = active_kernel_set<T>().norm;
  const double elements = static_cast<double>(sheets.count) * static_cast<double>(sheets.rows * sheets.columns);
  const int threads = threads_for_bytes(2 * sizeof(T) * elements);
  const std::int64_t cells = s.cells(), columns = sheets.columns;
  const Scratch memory(static_cast<std::size_t>(5 * cells + 2 * threads * sheets.wide) * sizeof(T));
  const Scratch doubles(static_cast<std::size_t>(2 * sheets.tasks() * columns + 2 * cells + 2 * s.statistics()) *
                        sizeof(double));
  T* p = memory.as<T>();
  NormCoefficients<T> coefficients{p, p + cells, p + 2 * cells, nullptr, nullptr};
  T* blocks = p + 5 * cells;
  double* partials = doubles.as<double>();
  double* sums = partials + 2 * sheets.tasks() * columns;  // of grad and of grad * xhat, for each cell
  double* means = sums + 2 * cells;                        // A and B of each statistic
  norm_coefficients(s, args.stats, args.weight, args.bias, coefficients);

  if (args.grad_weight || args.grad_bias || !args.constant_stats) {
    parallel_for(sheets.tasks(), threads, [&](std::int64_t task, int thread) {
      SheetRows<T> sheet(sheets, coefficients, task / sheets.chunks, args.relu, false);
      double* total = partials + 2 * task * columns;
      std::fill_n(total, 2 * columns, 0.0);
      T* sum = blocks + 2 * thread * sheets.wide;
      T* product = sum + sheets.wide;
      sheets.for_each_block(task, NormSheets::kBlockRows,
                            [&](std::int64_t place, std::int64_t rows, std::int64_t width) {
                              sheet.rows.rows = rows;
                              sheet.rows.columns = width;
                              sheet.rows.x = args.input + place;
                              sheet.rows.grad = args.grad_output + place;
                              kernels.grad_sums(sheet.rows, sum, product);
                              for (std::int64_t j = 0; j < width; j += columns) {
                                for (std::int64_t c = 0; c < columns; ++c) {
                                  total[c] += sum[j + c];
                                  total[columns + c] += product[j + c];
                                }
                              }
                            });
    });
    std::fill_n(sums, 2 * cells, 0.0);
    for (std::int64_t task = 0; task < sheets.tasks(); ++task) {
      double* cell = sums + 2 * sheets.first_cell(task / sheets.chunks);
      for (std::int64_t c = 0; c < columns; ++c) {
        cell[2 * c] += partials[2 * task * columns + c];
        cell[2 * c + 1] += partials[(2 * task + 1) * columns + c];
      }
    }
    std::fill_n(means, 2 * s.statistics(), 0.0);
    const auto count = static_cast<double>(s.per_statistic());
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const std::int64_t statistic = s.statistic(cell);
      const double mean = args.stats[2 * statistic], rstd = args.stats[2 * statistic + 1];
      const double weight = args.weight ? static_cast<double>(args.weight[cell % s.channels]) : 1.0;
      double& product = sums[2 * cell + 1];
      product = rstd * (product - (mean - coefficients.center[cell]) * sums[2 * cell]);
      means[2 * statistic] += weight * sums[2 * cell] / count;
      means[2 * statistic + 1] += weight * product / count;
    }
    for (std::int64_t channel = 0; channel < s.channels; ++channel) {
      double weight = 0, bias = 0;
      for (std::int64_t cell = channel; cell < cells; cell += s.channels) {
        bias += sums[2 * cell];
        weight += sums[2 * cell + 1];
      }
      if (args.grad_weight) add_to(args.grad_weight, channel, weight, args.accumulate);
      if (args.grad_bias) add_to(args.grad_bias, channel, bias, args.accumulate);
    }
  }

  if (!args.grad_input) return;
  coefficients.slope = p + 3 * cells;
  coefficients.offset = p + 4 * cells;
  std::fill_n(coefficients.slope, 2 * cells, T(0));
  if (!args.constant_stats) {
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const std::int64_t statistic = s.statistic(cell);
      const double mean = args.stats[2 * statistic], rstd = args.stats[2 * statistic + 1];
      const double slope = -rstd * rstd * means[2 * statistic + 1];
      coefficients.slope[cell] = static_cast<T>(slope);
      coefficients.offset[cell] =
          static_cast<T>(-rstd * means[2 * statistic] - slope * (mean - coefficients.center[cell]));
    }
  }
  const bool in_place = args.grad_input == args.grad_output || args.grad_input == args.input;
  const bool stream = !in_place && worth_streaming(3 * sizeof(T) * elements);
  parallel_for(sheets.tasks(), threads, [&](std::int64_t task, int) {
    SheetRows<T> sheet(sheets, coefficients, task / sheets.chunks, args.relu, stream);
    sheets.for_each_block(task, sheets.chunk_rows, [&](std::int64_t place, std::int64_t rows, std::int64_t width) {
      sheet.rows.rows = rows;
      sheet.rows.columns = width;
      sheet.rows.x = args.input + place;
      sheet.rows.grad = args.grad_output + place;
      kernels.backward(sheet.rows, args.grad_input + place);
    });
  });
}

// Each element has a weight of its own, so the gradient is weighted before the sums of a row are taken.
template <class T>
void layer_norm_backward(const NormShape& s, const NormBackward<T>& args) {
  const std::int64_t length = s.pixels, groups = layer_norm_groups(s);
  const Scratch memory(static_cast<std::size_t>(2 * groups * length) * sizeof(double));
  double* sums = memory.as<double>();
  const double bytes = 4.0 * sizeof(T) * static_cast<double>(s.n) * static_cast<double>(length);
  parallel_for(groups, threads_for_bytes(bytes), [&](std::int64_t group, int) {
    double* weights = sums + 2 * group * length;
    double* biases = weights + length;
    std::fill_n(weights, 2 * length, 0.0);
    for (std::int64_t row = s.n * group / groups; row < s.n * (group + 1) / groups; ++row) {
      const T* g = args.grad_output + row * length;
      const T* x = args.input + row * length;
      const double mean = args.stats[2 * row], rstd = args.stats[2 * row + 1];
      constexpr int kLanes = 4;  // sums side by side, for the compiler's vectors
      double a[kLanes] = {}, b[kLanes] = {};
      const auto take = [&](std::int64_t i, int lane) {
        const double xhat = (x[i] - mean) * rstd, wg = args.weight ? static_cast<double>(args.weight[i]) * g[i] : g[i];
        weights[i] += g[i] * xhat;
        biases[i] += g[i];
        a[lane] += wg;
        b[lane] += wg * xhat;
      };
      std::int64_t i = 0;
      for (; i + kLanes <= length; i += kLanes)
        for (int lane = 0; lane < kLanes; ++lane) take(i + lane, lane);
      for (; i < length; ++i) take(i, 0);
      if (!args.grad_input) continue;
      const double mean_g = (a[0] + a[1] + a[2] + a[3]) / static_cast<double>(length);
      const double mean_gx = (b[0] + b[1] + b[2] + b[3]) / static_cast<double>(length);
      T* out = args.grad_input + row * length;
      for (i = 0; i < length; ++i) {
        const double xhat = (x[i] - mean) * rstd, wg = args.weight ? static_cast<double>(args.weight[i]) * g[i] : g[i];
        out[i] = static_cast<T>(rstd * (wg - mean_g - xhat * mean_gx));
      }
    }
  });
  for (std::int64_t i = 0; i < length; ++i) {
    double weight = 0, bias = 0;
    for (std::int64_t group = 0; group < groups; ++group) {
      weight += sums[2 * group * length + i];
      bias += sums[(2 * group + 1) * length + i];
    }
    if (args.grad_weight) add_to(args.grad_weight, i, weight, args.accumulate);
    if (args.grad_bias) add_to(args.grad_bias, i, bias, args.accumulate);
  }
}

template void norm_backward(const NormShape&, const NormBackward<float>&);
template void norm_backward(const NormShape&, const NormBackward<double>&);
template void layer_norm_backward(const NormShape&, const NormBackward<float>&);
template void layer_norm_backward(const NormShape&, const NormBackward<double>&);

}  // namespace fastconv
