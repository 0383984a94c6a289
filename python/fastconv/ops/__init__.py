"""Operations without state: forward and backward pairs on NumPy arrays.

Names and argument order are PyTorch's where it has them. Images are NCHW, or NHWC with `layout="NHWC"`; weights are
OIHW. Arrays are float32 or float64, one dtype a call, and are never cast; inputs are never written.
"""

from __future__ import annotations

from fastconv.ops.activation import add, relu, relu_backward, softmax, softmax_backward
from fastconv.ops.adaptive_pool2d import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
)
from fastconv.ops.conv2d import conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight
from fastconv.ops.conv_transpose2d import (
    conv_transpose2d,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
)
from fastconv.ops.global_pool2d import (
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
)
from fastconv.ops.layout import nchw_to_nhwc, nhwc_to_nchw
from fastconv.ops.linear import linear, linear_backward_bias, linear_backward_input, linear_backward_weight
from fastconv.ops.loss import cross_entropy, cross_entropy_with_grad, mse_loss, mse_loss_with_grad
from fastconv.ops.lp_pool2d import lp_pool2d, lp_pool2d_backward
from fastconv.ops.max_unpool2d import max_unpool2d, max_unpool2d_backward
from fastconv.ops.maxout import maxout, maxout_backward
from fastconv.ops.norm import (
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from fastconv.ops.optimizer import adam_step, rmsprop_step, sgd_step
from fastconv.ops.pad2d import center_crop2d, crop2d, crop2d_backward, pad2d, pad2d_backward
from fastconv.ops.pair_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_with_grad,
    huber_loss,
    huber_loss_with_grad,
    l1_loss,
    l1_loss_with_grad,
)
from fastconv.ops.pixel_shuffle import pixel_shuffle, pixel_unshuffle
from fastconv.ops.pointwise import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from fastconv.ops.pool2d import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from fastconv.ops.sinusoidal_embedding import sinusoidal_embedding, sinusoidal_embedding_backward
from fastconv.ops.upsample import upsample, upsample_backward
from fastconv.ops.weighted_pool2d import gaussian_window, weighted_pool2d, weighted_pool2d_backward

__all__ = [
    "adam_step",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "binary_cross_entropy",
    "binary_cross_entropy_with_grad",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_with_grad",
    "center_crop2d",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "crop2d",
    "crop2d_backward",
    "cross_entropy",
    "cross_entropy_with_grad",
    "elu",
    "elu_backward",
    "gaussian_window",
    "gelu",
    "gelu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "group_norm",
    "group_norm_backward",
    "huber_loss",
    "huber_loss_with_grad",
    "l1_loss",
    "l1_loss_with_grad",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward_bias",
    "linear_backward_input",
    "linear_backward_weight",
    "local_response_norm",
    "local_response_norm_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "maxout",
    "maxout_backward",
    "mse_loss",
    "mse_loss_with_grad",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
    "pad2d",
    "pad2d_backward",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "relu_backward",
    "rmsprop_step",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "sinusoidal_embedding",
    "sinusoidal_embedding_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
    "upsample",
    "upsample_backward",
    "weighted_pool2d",
    "weighted_pool2d_backward",
]
