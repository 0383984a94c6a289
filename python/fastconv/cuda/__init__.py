"""Kernels for NVIDIA GPUs on arrays of CuPy, PyTorch or anything with `__cuda_array_interface__`.

The functions here are the layer right above the kernels. Images are (N, H, W, C), weights (O, KH, KW, C/groups), both
float32 and C-contiguous; nothing is converted. Work is put on the stream that is current in the library of the
input, results are allocated by that library, and no call waits for the GPU.

Without a GPU this package still imports: `device_count()` is 0 and `status()` says why.
"""

from __future__ import annotations

from fastconv.cuda.conv2d import conv2d
from fastconv.cuda.conv2d_backward import (
    conv2d_backward_bias,
    conv2d_backward_bias_workspace_bytes,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_backward_weight_workspace_bytes,
)
from fastconv.cuda.elementwise import (
    add,
    copy,
    dropout,
    fill,
    nchw_to_nhwc,
    nhwc_to_nchw,
    relu,
    relu_backward,
    relu_backward_output,
)
from fastconv.cuda.error import CudaError
from fastconv.cuda.images import (
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    layer_norm,
    layer_norm_backward,
    lp_pool2d,
    lp_pool2d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    pad2d,
    pad2d_backward,
    pixel_shuffle,
    pixel_unshuffle,
)
from fastconv.cuda.loss import cross_entropy
from fastconv.cuda.native import device_count, device_properties, status
from fastconv.cuda.optimizer import adam_factors, adam_step, rmsprop_step, sgd_step
from fastconv.cuda.pool2d import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from fastconv.cuda.stem_conv2d import stem_conv2d, stem_conv2d_backward_weight

__all__ = [
    "CudaError",
    "adam_factors",
    "adam_step",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_bias_workspace_bytes",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_backward_weight_workspace_bytes",
    "copy",
    "cross_entropy",
    "device_count",
    "device_properties",
    "dropout",
    "fill",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "layer_norm",
    "layer_norm_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
    "pad2d",
    "pad2d_backward",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "relu_backward",
    "relu_backward_output",
    "rmsprop_step",
    "sgd_step",
    "status",
    "stem_conv2d",
    "stem_conv2d_backward_weight",
]
