"""The four passes of pooling once their geometry is judged; windowed and global pooling share them.

`single` tells that arrays are one image, without the axis of the batch. Errors speak in the name of `op`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._config import config
from fastconv.ops.slow_path import forced_copies, refuse

Indices: TypeAlias = NDArray[np.int32]


def flag(op: str, name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{op}: {name} must be True or False, got {arg.describe(value)}")
    return bool(value)


def _strict(op: str, **arrays: Array) -> None:
    if config.strict:
        refuse(op, forced_copies(arrays))


def max_forward(
    op: str, shape: _core.Pool2dShape, images: Array, single: bool, with_indices: bool, layout: arg.Layout, out: object
) -> tuple[Array, Indices | None]:
    _strict(op, input=images)
    result_shape = arg.memory_shape(shape.output_shape, layout)[single:]
    output = arg.check_output(op, out, result_shape, images.dtype, (images,))
    indices = arg.allocate(op, result_shape, np.dtype(np.int32)) if with_indices else None
    _core.max_pool2d_forward(
        shape,
        arg.contiguous(images),
        output[None] if single else output,
        indices[None] if single and indices is not None else indices,
        layout=layout,
    )
    return output, indices


def check_indices(op: str, indices: object, expected: Sequence[int]) -> Indices:
    if type(indices) is not np.ndarray and not isinstance(indices, np.memmap):
        raise TypeError(f"{op}: indices must be a numpy.ndarray of int32, got {arg.describe(indices)}")
    assert isinstance(indices, np.ndarray)
    if indices.dtype != np.int32 or not indices.dtype.isnative:
        raise TypeError(f"{op}: indices must be int32, got {indices.dtype}; write indices.astype(np.int32)")
    arg.check_shape(op, "indices", indices, expected)
    return indices if indices.flags.c_contiguous and indices.flags.aligned else indices.copy(order="C")


def refuse_outside(op: str, inside: bool, winners: Indices, pixels: int) -> None:
    """Raise ValueError for the first index that the kernel found outside its plane."""
    if not inside:
        at = tuple(int(i) for i in np.argwhere((winners < 0) | (winners >= pixels))[0])
        raise ValueError(f"{op}: indices must be in [0, {pixels}), got {winners[at]} at index {at}")


def max_backward(
    op: str,
    shape: _core.Pool2dShape,
    grad: Array,
    indices: object,
    input_shape: Sequence[int],
    single: bool,
    layout: arg.Layout,
    out: object,
) -> Array:
    expected = arg.memory_shape(shape.output_shape, layout)[single:]
    arg.check_shape(op, "grad_output", grad, expected)
    winners = check_indices(op, indices, expected)
    _strict(op, grad_output=grad)
    grad_input = arg.check_output(op, out, input_shape[single:], grad.dtype, (grad, winners))
    grad = arg.contiguous(grad)
    inside = _core.max_pool2d_backward(
        shape,
        grad[None] if single else grad,
        winners[None] if single else winners,
        grad_input[None] if single else grad_input,
        layout=layout,
    )
    refuse_outside(op, inside, winners, shape.input_shape[2] * shape.input_shape[3])
    return grad_input


def avg_forward(
    op: str,
    shape: _core.Pool2dShape,
    images: Array,
    single: bool,
    layout: arg.Layout,
    out: object,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    _strict(op, input=images)
    result_shape = arg.memory_shape(shape.output_shape, layout)[single:]
    output = arg.check_output(op, out, result_shape, images.dtype, (images,))
    _core.avg_pool2d_forward(
        shape,
        arg.contiguous(images),
        output[None] if single else output,
        layout=layout,
        count_include_pad=count_include_pad,
        divisor_override=divisor,
    )
    return output


def avg_backward(
    op: str,
    shape: _core.Pool2dShape,
    grad: Array,
    input_shape: Sequence[int],
    single: bool,
    layout: arg.Layout,
    out: object,
    count_include_pad: bool = True,
    divisor: int = 0,
) -> Array:
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.output_shape, layout)[single:])
    _strict(op, grad_output=grad)
    grad_input = arg.check_output(op, out, input_shape[single:], grad.dtype, (grad,))
    grad = arg.contiguous(grad)
    _core.avg_pool2d_backward(
        shape,
        grad[None] if single else grad,
        grad_input[None] if single else grad_input,
        layout=layout,
        count_include_pad=count_include_pad,
        divisor_override=divisor,
    )
    return grad_input
