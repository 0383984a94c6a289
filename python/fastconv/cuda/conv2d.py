"""Convolution on a GPU, right above the kernels: NHWC images, (O, KH, KW, C/groups) weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastconv.cuda import arrays, native
from fastconv.cuda.launch import Launch
from fastconv.ops import arguments as arg
from fastconv.ops.arguments import IntOrPair, PaddingArgument


@lru_cache(maxsize=1024)
def _shape(
    module: Any,
    op: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: arg.Pair,
    padding: arg.ExplicitPadding | str,
    dilation: arg.Pair,
    groups: int,
) -> Any:
    n, h, w, c = input_shape
    o, kh, kw, icg = weight_shape
    return module.Conv2dShape((n, c, h, w), (o, icg, kh, kw), stride, padding, dilation, groups, op)


def geometry(
    op: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
) -> Any:
    """Judge the sizes, given in the order in which the kernels have them in memory."""
    return _shape(
        native.module(op),
        op,
        input_shape,
        weight_shape,
        arg.pair(op, "stride", stride),
        arg.padding(op, padding),
        arg.pair(op, "dilation", dilation),
        arg.integer(op, "groups", groups),
    )


def output_shape(shape: Any) -> tuple[int, int, int, int]:
    """(N, OH, OW, O) of a geometry."""
    n, o, oh, ow = shape.output_shape
    return n, oh, ow, o


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """Convolve a batch of images; bias and ReLU are part of the same kernel.

    Parameters
    ----------
    input : array on a GPU, shape (N, H, W, C), float32
    weight : array, shape (O, KH, KW, C/groups)
    bias : array, shape (O,), optional
    stride, padding, dilation, groups
        As for `fastconv.ops.conv2d`.
    activation : None or "relu", optional
    out : array, shape (N, OH, OW, O), optional

    Returns
    -------
    array of the library of `input`, shape (N, OH, OW, O)

    Raises
    ------
    TypeError, ValueError
        For arrays and sizes that do not fit.
    CudaError
        If there are no kernels or the launch fails.
    """
    op = "conv2d"
    module = native.module(op)
    x, w = arrays.view(op, "input", input, 4), arrays.view(op, "weight", weight, 4)
    shape = geometry(op, x.shape, w.shape, stride, padding, dilation, groups)
    b = None if bias is None else arrays.view(op, "bias", bias, 1)
    if b is not None:
        arrays.check_shape(op, "bias", b, w.shape[:1])
    relu = arg.activation(op, activation) == "relu"
    result = arrays.output(op, out, input, output_shape(shape))
    y = arrays.view(op, "out", result, 4, write=True)
    with Launch(op, x, w, b, y) as stream:
        module.conv2d_forward(shape, x.address, w.address, b.address if b else 0, y.address, relu=relu, stream=stream)
    return result
