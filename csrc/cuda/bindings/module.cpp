// The CUDA module: a list of its topics. The same source makes _cuda (nvcc) and _cuda_emulated (g++).
#include "cuda/bindings/buffers.h"

PYBIND11_MODULE(FASTCONV_CUDA_MODULE, m, pybind11::mod_gil_not_used()) {
  m.doc() = "fastconv's CUDA kernels; arrays are device addresses (see _cuda.pyi).";
  fastconv::cuda::bind_runtime(m);
  fastconv::cuda::bind_shapes(m);
  fastconv::cuda::bind_quick_calls(m);
  fastconv::cuda::bind_conv2d_backward(m);
  fastconv::cuda::bind_conv2d_mma(m);
  fastconv::cuda::bind_elementwise(m);
  fastconv::cuda::bind_images(m);
  fastconv::cuda::bind_layers(m);
  fastconv::cuda::bind_hopper(m);
  fastconv::cuda::bind_loss(m);
  fastconv::cuda::bind_optimizer(m);
  fastconv::cuda::bind_stem_conv2d(m);
  fastconv::cuda::bind_streams(m);
  fastconv::cuda::bind_pool2d(m);
}
