"""Upsampling (and downsampling) of images, nearest and bilinear, and its gradient.

Both treat rows and columns apart: output row o is a sum of one or two input rows with weights that the sizes decide,
and so are columns. The gradient is the transposed map: every input pixel collects what it gave, by the same weights.
Places follow PyTorch: nearest reads floor(o / scale); bilinear interpolates at (o + 0.5)/scale - 0.5 (not below 0), or
with `align_corners` at o * (in - 1)/(out - 1). A weight of zero is left out, so that Inf and NaN don't spread by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, Pair
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d_passes import flag

Scale: TypeAlias = float | Sequence[float]
MODES = ("nearest", "bilinear")


def _scale(op: str, value: object) -> tuple[float, float]:
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{op}: scale_factor must be a number or a pair (height, width), got {arg.describe(value)}")
    for number in values:
        if isinstance(number, bool | np.bool_) or not isinstance(number, int | float | np.integer | np.floating):
            raise TypeError(f"{op}: scale_factor must be a number or a pair of them, got {arg.describe(value)}")
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{op}: scale_factor must be positive and finite, got {arg.describe(value)}")
    return float(values[0]), float(values[1])


class Resize:
    """Checked options: how a size becomes another."""

    def __init__(self, op: str, size: object, scale_factor: object, mode: object, align_corners: object) -> None:
        self.op = op
        if not isinstance(mode, str):
            raise TypeError(f"{op}: mode must be one of {', '.join(map(repr, MODES))}, got {arg.describe(mode)}")
        if mode not in MODES:
            raise ValueError(f"{op}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
        self.mode = mode
        self.align_corners = flag(op, "align_corners", align_corners)
        if self.align_corners and mode == "nearest":
            raise ValueError(f"{op}: align_corners must be False for mode 'nearest', got True")
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"{op}: give either size or scale_factor, got size={size!r}, scale_factor={scale_factor!r}"
            )
        self.size: Pair | None = None if size is None else arg.pair(op, "size", size)
        self.scale = (0.0, 0.0) if scale_factor is None else _scale(op, scale_factor)

    def geometry(self, shape: Sequence[int]) -> _core.Resample2dShape:
        """Return the judged map for inputs of logical shape (N, C, H, W)."""
        n, c, h, w = shape
        size = self.size
        if size is None:
            sizes = [number * scale for number, scale in zip((h, w), self.scale, strict=True)]
            if max(sizes) >= 2**31:
                raise ValueError(f"{self.op}: scale_factor must give sizes below 2147483648, got {tuple(sizes)}")
            size = (math.floor(sizes[0]), math.floor(sizes[1]))
        return _core.Resample2dShape((n, c, h, w), size, self.mode, self.align_corners, self.scale, self.op)

    def arguments(self, shape: _core.Resample2dShape) -> tuple[object, ...]:
        """Return what the CUDA module makes the same map from."""
        return shape.input_shape, shape.output_shape[2:], self.mode, self.align_corners, self.scale


def resample(
    op: str, shape: _core.Resample2dShape, images: Array, single: bool, order: arg.Layout, out: object
) -> Array:
    """Forward of a judged map."""
    output = arg.check_output(op, out, arg.memory_shape(shape.output_shape, order)[single:], images.dtype, (images,))
    _core.resample2d_forward(shape, arg.contiguous(images), output[None] if single else output, layout=order)
    return output


def resample_backward(
    op: str, shape: _core.Resample2dShape, grad: Array, single: bool, order: arg.Layout, out: object
) -> Array:
    """Gradient of a judged map."""
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.output_shape, order)[single:])
    grad_input = arg.check_output(op, out, arg.memory_shape(shape.input_shape, order)[single:], grad.dtype, (grad,))
    grad = arg.contiguous(grad)
    _core.resample2d_backward(
        shape, grad[None] if single else grad, grad_input[None] if single else grad_input, layout=order
    )
    return grad_input


def upsample(
    input: Array,
    size: IntOrPair | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Resize images.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C), which is faster. Three dimensions are one image. N may be 0.
    size : int or (OH, OW), optional
    scale_factor : float or (float, float), optional
        Instead of `size`: OH = floor(H * scale). Also below 1; nothing is averaged then (see `adaptive_avg_pool2d`).
    mode : "nearest" or "bilinear", default "nearest"
    align_corners : bool, default False
        Of "bilinear": the centres of the corner pixels, not the corners of the image, stay where they are.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.upsample(input, size, scale_factor, mode, align_corners, layout=layout, out=out)
    op = "upsample"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    resize = Resize(op, size, scale_factor, mode, align_corners)
    return resample(op, resize.geometry(arg.logical_shape(images.shape, order)), images, single, order, out)


def upsample_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    size: IntOrPair | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `upsample`: each pixel's share of every output that read it, by the same weights.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    size, scale_factor, mode, align_corners, layout, out
        As for `upsample`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `upsample`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        options = size, scale_factor, mode, align_corners
        return gpu.upsample_backward(grad_output, input_shape, *options, layout=layout, out=out)
    op = "upsample_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    resize = Resize(op, size, scale_factor, mode, align_corners)
    return resample_backward(op, resize.geometry(arg.logical_shape(full_shape, order)), grad, single, order, out)
