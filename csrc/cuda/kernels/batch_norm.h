// Batch normalisation of a matrix of pixels x channels. A thread has one or four neighbouring columns and walks down a
// slice of the rows; statistics come in two passes, slices first, then the slices of each column in their order.
//
// Mean and squared distances are updated together (Welford 1962) and put together by the formula of Chan, Golub and
// LeVeque (1979): one reading of the data, and no cancellation where the mean is large.
#pragma once

#include <cstdint>

#include "cuda/batch_norm.h"
#include "cuda/column_slices.h"
#include "cuda/device.h"

namespace fastconv {
namespace cuda {

struct BatchNormWalk {
  std::int64_t slice_rows;
  std::int32_t slices, column_blocks, lanes;
  double* partial;  // [slices][columns][2]
};

struct BatchNormForwardParams {
  BatchNormForward p;
  BatchNormWalk walk;
};

struct BatchNormBackwardParams {
  BatchNormBackward p;
  BatchNormWalk walk;
  const double* sums;  // of each column: of g, and of g times what was normalised
};

// Which rows and columns a thread has.
struct ColumnWalk {
  std::int64_t column, begin, end;
  std::int32_t slice;
  int side, sides;  // rows begin + side, begin + side + sides, ...
};

template <int kVector>
FASTCONV_DEVICE ColumnWalk column_walk(const BatchNormWalk& w, std::int64_t rows) {
  ColumnWalk at;
  at.side = thread_x() / w.lanes, at.sides = kColumnThreads / w.lanes;
  at.slice = block_x() / w.column_blocks;
  at.column = (block_x() % w.column_blocks * static_cast<std::int64_t>(w.lanes) + thread_x() % w.lanes) * kVector;
  at.begin = at.slice * w.slice_rows;
  at.end = at.begin + w.slice_rows < rows ? at.begin + w.slice_rows : rows;
  return at;
}

// How many rows one of the sides has.
FASTCONV_DEVICE std::int64_t rows_of_side(const ColumnWalk& at, int side) {
  const std::int64_t left = at.end - at.begin - side;
  return left > 0 ? (left + at.sides - 1) / at.sides : 0;
}

struct Moments {
  double count, mean, squares;  // squares: the sum of squared distances from the mean
};
FASTCONV_DEVICE Moments together(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double count = a.count + b.count, apart = b.mean - a.mean;
  return {count, a.mean + apart * (b.count / count),
          a.squares + b.squares + apart * apart * (a.count * b.count / count)};
}

template <int kVector>
FASTCONV_KERNEL batch_norm_statistics(FASTCONV_GRID_CONSTANT const BatchNormForwardParams q) {
  using Vector = Pack<float, kVector>;
  const ColumnWalk at = column_walk<kVector>(q.walk, q.p.rows);
  Vector mean = {}, squares = {};
  if (at.column < q.p.columns) {
    float count = 0;
    for (std::int64_t row = at.begin + at.side; row < at.end; row += at.sides) {
      const Vector x = load<Vector>(q.p.input + row * q.p.columns + at.column);
      count += 1;
      const float share = 1 / count;
      FASTCONV_UNROLL
      for (int k = 0; k < kVector; ++k) {
        const float apart = x.at[k] - mean.at[k];
        mean.at[k] = multiply_add(apart, share, mean.at[k]);
        squares.at[k] = multiply_add(apart, x.at[k] - mean.at[k], squares.at[k]);
      }
    }
  }
  float* const means = shared<float>();
  float* const distances = means + kColumnThreads * kVector;
  store(means + thread_x() * kVector, mean);
  store(distances + thread_x() * kVector, squares);
  sync();
  if (at.side > 0 || at.column >= q.p.columns) return;
  for (int k = 0; k < kVector; ++k) {
    Moments all = {};
    for (int side = 0; side < at.sides; ++side) {
      const int from = (side * q.walk.lanes + thread_x()) * kVector + k;
      all = together(all, {static_cast<double>(rows_of_side(at, side)), means[from], distances[from]});
    }
    double* const to = q.walk.partial + (at.slice * q.p.columns + at.column + k) * 2;
    to[0] = all.mean, to[1] = all.squares;
  }
}

constexpr int kNormColumns = 32, kNormParts = kColumnThreads / kNormColumns;

// One thread of a column adds every eighth slice, one of them the eight sums.
[[maybe_unused]] static FASTCONV_KERNEL batch_norm_moments(FASTCONV_GRID_CONSTANT const BatchNormForwardParams q) {
  const std::int64_t column = static_cast<std::int64_t>(block_x()) * kNormColumns + thread_x() % kNormColumns;
  Moments all = {};
  if (column < q.p.columns) {
    for (std::int32_t slice = thread_x() / kNormColumns; slice < q.walk.slices; slice += kNormParts) {
      const std::int64_t left = q.p.rows - slice * q.walk.slice_rows;  // a last slice may be short, or empty
      if (left <= 0) break;
      const double* const from = q.walk.partial + (slice * q.p.columns + column) * 2;
      const std::int64_t count = left < q.walk.slice_rows ? left : q.walk.slice_rows;
      all = together(all, {static_cast<double>(count), from[0], from[1]});
    }
  }
  Moments* const parts = shared<Moments>();
  parts[thread_x()] = all;
  sync();
  if (thread_x() >= kNormColumns || column >= q.p.columns) return;
  for (int part = 1; part < kNormParts; ++part) all = together(all, parts[part * kNormColumns + thread_x()]);
  const double rows = static_cast<double>(q.p.rows), momentum = q.p.momentum;
  q.p.stats[column * 2] = all.mean;
  q.p.stats[column * 2 + 1] = 1 / root(all.squares / rows + q.p.eps);
  const double var = all.squares / (rows - 1);
  q.p.running_mean[column] = static_cast<float>((1 - momentum) * q.p.running_mean[column] + momentum * all.mean);
  q.p.running_var[column] = static_cast<float>((1 - momentum) * q.p.running_var[column] + momentum * var);
}

[[maybe_unused]] static FASTCONV_KERNEL batch_norm_running(FASTCONV_GRID_CONSTANT const BatchNormForwardParams q) {
  const std::int64_t column = static_cast<std::int64_t>(block_x()) * kColumnThreads + thread_x();
  if (column >= q.p.columns) return;
  q.p.stats[column * 2] = q.p.running_mean[column];
  q.p.stats[column * 2 + 1] = 1 / root(static_cast<double>(q.p.running_var[column]) + q.p.eps);
}

// What a column is normalised by; forward and backward compute the output by the same operations, so that they agree
// about its sign.
struct Normaliser {
  float mean, rstd, scale, shift;
  FASTCONV_DEVICE float output(float x) const { return multiply_add(x - mean, scale, shift); }
};
FASTCONV_DEVICE Normaliser normaliser(const double* stats, const float* weight, const float* bias,
                                      std::int64_t column) {
  Normaliser n;
  n.mean = static_cast<float>(stats[column * 2]), n.rstd = static_cast<float>(stats[column * 2 + 1]);
  n.scale = weight ? n.rstd * weight[column] : n.rstd;
  n.shift = bias ? bias[column] : 0;
  return n;
}

template <int kVector>
FASTCONV_KERNEL batch_norm_normalise(FASTCONV_GRID_CONSTANT const BatchNormForwardParams q) {
  using Vector = Pack<float, kVector>;
  const ColumnWalk at = column_walk<kVector>(q.walk, q.p.rows);
  if (at.column >= q.p.columns) return;
  Normaliser n[kVector];
  FASTCONV_UNROLL
  for (int k = 0; k < kVector; ++k) n[k] = normaliser(q.p.stats, q.p.weight, q.p.bias, at.column + k);
  for (std::int64_t row = at.begin + at.side; row < at.end; row += at.sides) {
    const std::int64_t from = row * q.p.columns + at.column;
    Vector x = load<Vector>(q.p.input + from);
    FASTCONV_UNROLL
    for (int k = 0; k < kVector; ++k) {
      const float y = n[k].output(x.at[k]);
      x.at[k] = q.p.relu && y <= 0 ? 0 : y;
    }
    store(q.p.output + from, x);
  }
}

// The gradient of what comes before a ReLU that is part of the norm. NaN let it through.
FASTCONV_DEVICE float before_relu(const BatchNormBackward& p, const Normaliser& n, float gradient, float x) {
  return p.relu && n.output(x) <= 0 ? 0 : gradient;
}

template <int kVector>
FASTCONV_KERNEL batch_norm_gradient_sums(FASTCONV_GRID_CONSTANT const BatchNormBackwardParams q) {
  using Vector = Pack<float, kVector>;
  const ColumnWalk at = column_walk<kVector>(q.walk, q.p.rows);
  Vector sum = {}, product = {};
  if (at.column < q.p.columns) {
    Normaliser n[kVector];
    FASTCONV_UNROLL
    for (int k = 0; k < kVector; ++k) n[k] = normaliser(q.p.stats, q.p.weight, q.p.bias, at.column + k);
    for (std::int64_t row = at.begin + at.side; row < at.end; row += at.sides) {
      const std::int64_t from = row * q.p.columns + at.column;
      const Vector g = load<Vector>(q.p.grad_output + from), x = load<Vector>(q.p.input + from);
      FASTCONV_UNROLL
      for (int k = 0; k < kVector; ++k) {
        const float gradient = before_relu(q.p, n[k], g.at[k], x.at[k]);
        sum.at[k] += gradient;
        product.at[k] = multiply_add(gradient, (x.at[k] - n[k].mean) * n[k].rstd, product.at[k]);
      }
    }
  }
  float* const sums = shared<float>();
  float* const products = sums + kColumnThreads * kVector;
  store(sums + thread_x() * kVector, sum);
  store(products + thread_x() * kVector, product);
  sync();
  if (at.side > 0 || at.column >= q.p.columns) return;
  for (int k = 0; k < kVector; ++k) {
    double all = 0, all_products = 0;
    for (int side = 0; side < at.sides; ++side) {
      const int from = (side * q.walk.lanes + thread_x()) * kVector + k;
      all += sums[from], all_products += products[from];
    }
    double* const to = q.walk.partial + (at.slice * q.p.columns + at.column + k) * 2;
    to[0] = all, to[1] = all_products;
  }
}

// Adds the slices into the first of them, and writes the gradients of weight and bias.
static FASTCONV_KERNEL batch_norm_gradients(FASTCONV_GRID_CONSTANT const BatchNormBackwardParams q) {
  const std::int64_t column = static_cast<std::int64_t>(block_x()) * kNormColumns + thread_x() % kNormColumns;
  double sum = 0, product = 0;
  if (column < q.p.columns) {
    for (std::int32_t slice = thread_x() / kNormColumns; slice < q.walk.slices; slice += kNormParts) {
      const double* const from = q.walk.partial + (slice * q.p.columns + column) * 2;
      sum += from[0], product += from[1];
    }
  }
  double* const parts = shared<double>();
  parts[thread_x() * 2] = sum, parts[thread_x() * 2 + 1] = product;
  sync();
  if (thread_x() >= kNormColumns || column >= q.p.columns) return;
  for (int part = 1; part < kNormParts; ++part) {
    const double* const from = parts + (part * kNormColumns + thread_x()) * 2;
    sum += from[0], product += from[1];
  }
  q.walk.partial[column * 2] = sum, q.walk.partial[column * 2 + 1] = product;
  if (q.p.grad_weight)
    q.p.grad_weight[column] = static_cast<float>(product) + (q.p.accumulate ? q.p.grad_weight[column] : 0);
  if (q.p.grad_bias) q.p.grad_bias[column] = static_cast<float>(sum) + (q.p.accumulate ? q.p.grad_bias[column] : 0);
}

template <int kVector>
FASTCONV_KERNEL batch_norm_grad_input(FASTCONV_GRID_CONSTANT const BatchNormBackwardParams q) {
  using Vector = Pack<float, kVector>;
  const ColumnWalk at = column_walk<kVector>(q.walk, q.p.rows);
  if (at.column >= q.p.columns) return;
  Normaliser n[kVector];
  Vector mean, product;  // of the gradient, and of it times what was normalised
  FASTCONV_UNROLL
  for (int k = 0; k < kVector; ++k) {
    n[k] = normaliser(q.p.stats, q.p.weight, q.p.bias, at.column + k);
    const double* const sums = q.sums + (at.column + k) * 2;
    mean.at[k] = q.p.training ? static_cast<float>(sums[0] / static_cast<double>(q.p.rows)) : 0;
    product.at[k] = q.p.training ? static_cast<float>(sums[1] / static_cast<double>(q.p.rows)) : 0;
  }
  for (std::int64_t row = at.begin + at.side; row < at.end; row += at.sides) {
    const std::int64_t from = row * q.p.columns + at.column;
    Vector g = load<Vector>(q.p.grad_output + from);
    const Vector x = load<Vector>(q.p.input + from);
    FASTCONV_UNROLL
    for (int k = 0; k < kVector; ++k) {
      const float gradient = before_relu(q.p, n[k], g.at[k], x.at[k]);
      const float normalised = (x.at[k] - n[k].mean) * n[k].rstd;
      g.at[k] =
          q.p.training ? n[k].scale * (gradient - mean.at[k] - normalised * product.at[k]) : n[k].scale * gradient;
    }
    store(q.p.grad_input + from, g);
  }
}

}  // namespace cuda
}  // namespace fastconv
