// The native module: a list of its topics.
#include "bindings/array.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "fastconv's native kernels; arrays must be contiguous, aligned, float32 or float64 (see _core.pyi).";
  fastconv::bindings::bind_activation(m);
  fastconv::bindings::bind_conv2d(m);
  fastconv::bindings::bind_elementwise(m);
  fastconv::bindings::bind_layout(m);
  fastconv::bindings::bind_linear(m);
  fastconv::bindings::bind_loss(m);
  fastconv::bindings::bind_norm(m);
  fastconv::bindings::bind_optimizer(m);
  fastconv::bindings::bind_pool2d(m);
  fastconv::bindings::bind_resample2d(m);
  fastconv::bindings::bind_runtime(m);
}
