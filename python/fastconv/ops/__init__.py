"""Operations without state: forward and backward pairs on NumPy arrays.

Names and argument order are PyTorch's where it has them. Images are NCHW, or NHWC with `layout="NHWC"`; weights are
OIHW. Arrays are float32 or float64, one dtype a call, and are never cast; inputs are never written.
"""

from __future__ import annotations

from fastconv.ops.conv2d import conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight
from fastconv.ops.layout import nchw_to_nhwc, nhwc_to_nchw
from fastconv.ops.linear import linear, linear_backward_bias, linear_backward_input, linear_backward_weight

__all__ = [
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "linear",
    "linear_backward_bias",
    "linear_backward_input",
    "linear_backward_weight",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
]
