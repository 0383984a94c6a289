// What normalisation may ask of an instruction set: one block of rows whose columns have coefficients of their own.
#pragma once

#include <cstdint>

namespace fastconv {

// y = (x - center) * scale + shift, a ReLU after it where `relu` says so; every coefficient has `columns` entries.
template <class T>
struct NormRows {
  std::int64_t rows, columns;
  const T* x;
  const T* grad;  // backward: with respect to y
  const T* center;
  const T* scale;
  const T* shift;
  const T* slope;  // backward: grad_input = grad * scale + (x - center) * slope + offset
  const T* offset;
  bool relu, stream;
};

template <class T>
struct NormKernels {
  // Sums over the rows of x - (first row), and of its square.
  void (*moments)(const T* x, std::int64_t rows, std::int64_t columns, T* sum, T* square);
  // Sums over the rows of grad, and of grad * (x - center); grad is 0 where the ReLU was closed.
  void (*grad_sums)(const NormRows<T>& args, T* sum, T* product);
  // Outputs may be the very memory of an input.
  void (*apply)(const NormRows<T>& args, T* y);
  void (*backward)(const NormRows<T>& args, T* grad_input);
};

}  // namespace fastconv
