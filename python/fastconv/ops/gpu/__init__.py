"""`fastconv.ops` on GPU arrays, and its one door to `fastconv.cuda`, which knows nothing of `ops`.

`fastconv.ops.device.gpu_ops` loads this at the first call with such an array. Functions have the names of `ops`;
layouts are the business of `routed`.
"""

from __future__ import annotations

from fastconv.cuda.elementwise import add, relu
from fastconv.cuda.elementwise import relu_backward_output as relu_backward
from fastconv.cuda.loss import cross_entropy
from fastconv.cuda.optimizer import adam_step, rmsprop_step, sgd_step
from fastconv.ops.gpu.layers import (
    activation,
    activation_backward,
    batch_norm,
    batch_norm_backward,
    conv_transpose2d,
    pair_loss,
    softmax,
    softmax_backward,
    upsample,
    upsample_backward,
)
from fastconv.ops.gpu.routed import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    cross_entropy_with_grad,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    linear,
    linear_backward_bias,
    linear_backward_input,
    linear_backward_weight,
    max_pool2d,
    max_pool2d_backward,
    nchw_to_nhwc,
    nhwc_to_nchw,
)

__all__ = [
    "activation",
    "activation_backward",
    "adam_step",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_transpose2d",
    "cross_entropy",
    "cross_entropy_with_grad",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "linear",
    "linear_backward_bias",
    "linear_backward_input",
    "linear_backward_weight",
    "max_pool2d",
    "max_pool2d_backward",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
    "pair_loss",
    "relu",
    "relu_backward",
    "rmsprop_step",
    "sgd_step",
    "softmax",
    "softmax_backward",
    "upsample",
    "upsample_backward",
]
