"""Conversion between the two memory layouts of image batches."""

from __future__ import annotations

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv.ops.device import gpu_ops


def nchw_to_nhwc(input: Array, *, out: Array | None = None) -> Array:
    """Return a channels-last copy of a batch of images.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W) or (C, H, W), float32 or float64
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable, not overlapping `input`.

    Returns
    -------
    ndarray, shape (N, H, W, C) or (H, W, C)

    Raises
    ------
    TypeError, ValueError
        For other dtypes, ranks, and an `out` that cannot be written.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.nchw_to_nhwc(input, out=out)
    op = "nchw_to_nhwc"
    images, single = arg.check_images(op, "input", input)
    n, c, h, w = images.shape
    output = arg.check_output(op, out, (n, h, w, c)[single:], images.dtype, (images,))
    _core.nchw_to_nhwc(arg.contiguous(images), output[None] if single else output)
    return output


def nhwc_to_nchw(input: Array, *, out: Array | None = None) -> Array:
    """Return a channels-first copy of a batch of images.

    Parameters
    ----------
    input : ndarray, shape (N, H, W, C) or (H, W, C), float32 or float64
    out : ndarray, optional
        As for `nchw_to_nhwc`.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    TypeError, ValueError
        As for `nchw_to_nhwc`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.nhwc_to_nchw(input, out=out)
    op = "nhwc_to_nchw"
    images, single = arg.check_images(op, "input", input)
    n, h, w, c = images.shape
    output = arg.check_output(op, out, (n, c, h, w)[single:], images.dtype, (images,))
    _core.nhwc_to_nchw(arg.contiguous(images), output[None] if single else output)
    return output
