"""Padding and cropping of images: NumPy copies of slices, on one thread, and their gradients.

Padding is a set of pairs (part of the output, part of the input): the middle, and for "reflect" and "replicate" the
borders and corners. Forward copies each pair; backward adds each pair up, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TypeAlias

import numpy as np

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, ExplicitPadding, IntOrPair, PaddingArgument, Pair
from fastconv.ops.device import gpu_ops

PAD_MODES = ("constant", "reflect", "replicate")
Pieces: TypeAlias = list[tuple[tuple[slice, ...], tuple[slice, ...]]]


def part(layout: arg.Layout, rows: slice, columns: slice) -> tuple[slice, ...]:
    """Index of rows and columns in a 4-D array."""
    every = slice(None)
    return (every, every, rows, columns) if layout == "NCHW" else (every, rows, columns, every)


def check_amounts(op: str, name: str, padding: ExplicitPadding) -> ExplicitPadding:
    if min(map(min, padding)) < 0:
        other = "crop2d" if name == "padding" else "pad2d"
        raise ValueError(f"{op}: {name} must not be negative (use {other}), got {padding}")
    return padding


def check_pad_options(op: str, mode: object, value: object) -> tuple[str, float]:
    if not isinstance(mode, str) or mode not in PAD_MODES:
        error = ValueError if isinstance(mode, str) else TypeError
        raise error(f"{op}: mode must be one of {', '.join(map(repr, PAD_MODES))}, got {mode!r}")
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: value must be a number, got {arg.describe(value)}")
    if mode != "constant" and value != 0:
        raise ValueError(f"{op}: value must be 0 for mode {mode!r}, got {value}")
    return mode, float(value)


def padded_size(op: str, size: Pair, padding: ExplicitPadding, mode: str) -> Pair:
    """(H, W) after padding."""
    for name, pixels, amounts in zip(("height", "width"), size, padding, strict=True):
        if mode == "reflect" and max(amounts) >= pixels:
            raise ValueError(
                f"{op}: padding must be less than the input's {name} for mode 'reflect', got {amounts} for {pixels}"
            )
    height, width = (pixels + sum(amounts) for pixels, amounts in zip(size, padding, strict=True))
    if height * width >= 2**60:
        raise ValueError(f"{op}: padding must leave a size that can be addressed, got {height} x {width}")
    return height, width


def _axis_pieces(size: int, before: int, after: int, mode: str) -> list[tuple[slice, slice]]:
    end = before + size
    pieces = [(slice(before, end), slice(0, size))]
    if mode == "reflect":
        last = size - 2 - after
        pieces += [(slice(0, before), slice(before, 0, -1))] if before else []
        pieces += [(slice(end, end + after), slice(size - 2, None if last < 0 else last, -1))] if after else []
    if mode == "replicate":
        pieces += [(slice(at, at + 1), slice(0, 1)) for at in range(before)]
        pieces += [(slice(at, at + 1), slice(size - 1, size)) for at in range(end, end + after)]
    return pieces


def pad_pieces(size: Pair, padding: ExplicitPadding, mode: str, layout: arg.Layout) -> Pieces:
    """Parts of the output, each with the part of the input that it repeats; the middle comes first."""
    rows, columns = (_axis_pieces(pixels, *amounts, mode) for pixels, amounts in zip(size, padding, strict=True))
    return [
        (part(layout, row[0], column[0]), part(layout, row[1], column[1])) for row, column in product(rows, columns)
    ]


def pad_into(
    output: Array, input: Array, pieces: Pieces, padding: ExplicitPadding, value: float | None, layout: arg.Layout
) -> None:
    """Write all of `output`; `value` fills the border, None where the pieces cover it."""
    if value is not None:
        (top, bottom), (left, right) = padding
        every = slice(None)
        for rows, columns in (
            (slice(0, top), every),
            (slice(-bottom, None) if bottom else slice(0, 0), every),
            (every, slice(0, left)),
            (every, slice(-right, None) if right else slice(0, 0)),
        ):
            output[part(layout, rows, columns)].fill(value) if output.size else None
    for to, source in pieces:
        np.copyto(output[to], input[source])


def collect_padded(grad_input: Array, grad_output: Array, pieces: Pieces) -> None:
    """Gradient of `pad_into`: every pixel collects from where it was repeated."""
    (middle, _), *borders = pieces
    np.copyto(grad_input, grad_output[middle])
    for at, source in borders:
        target = grad_input[source]
        np.add(target, grad_output[at], out=target)


def pad2d(
    input: Array,
    padding: PaddingArgument,
    mode: str = "constant",
    value: float = 0.0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Put a border around images.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image. N may be 0.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Not negative.
    mode : "constant", "reflect" or "replicate", default "constant"
        "reflect" mirrors at the outermost pixels, without repeating them, so it needs more pixels than padding.
    value : float, default 0
        Of "constant".
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, H + top + bottom, W + left + right), or channels last with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.pad2d(input, padding, mode, value, layout=layout, out=out)
    op = "pad2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    amounts = check_amounts(op, "padding", arg.explicit_padding(op, padding))
    mode, value = check_pad_options(op, mode, value)
    n, c, *size = arg.logical_shape(images.shape, order)
    shape = arg.memory_shape((n, c, *padded_size(op, (size[0], size[1]), amounts, mode)), order)
    output = arg.check_output(op, out, shape[single:], images.dtype, (images,))
    pieces = pad_pieces((size[0], size[1]), amounts, mode, order)
    pad_into(output.reshape(shape), images, pieces, amounts, value if mode == "constant" else None, order)
    return output


def pad2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    padding: PaddingArgument,
    mode: str = "constant",
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `pad2d`: every pixel collects the gradients of its copies.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    padding, mode, layout, out
        As for `pad2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `pad2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.pad2d_backward(grad_output, input_shape, padding, mode, layout=layout, out=out)
    op = "pad2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    amounts = check_amounts(op, "padding", arg.explicit_padding(op, padding))
    mode, _ = check_pad_options(op, mode, 0)
    n, c, *size = arg.logical_shape(full_shape, order)
    padded = arg.memory_shape((n, c, *padded_size(op, (size[0], size[1]), amounts, mode)), order)
    arg.check_shape(op, "grad_output", grad, padded[single:])
    grad_input = arg.check_output(op, out, full_shape[single:], grad.dtype, (grad,))
    pieces = pad_pieces((size[0], size[1]), amounts, mode, order)
    collect_padded(grad_input.reshape(full_shape), grad.reshape(padded), pieces)
    return grad_input


def cropped_size(op: str, size: Pair, cropping: ExplicitPadding) -> Pair:
    """(H, W) after cropping."""
    height, width = (pixels - sum(amounts) for pixels, amounts in zip(size, cropping, strict=True))
    if height < 1 or width < 1:
        raise ValueError(f"{op}: cropping must leave a pixel of {size[0]} x {size[1]}, got {cropping}")
    return height, width


def center_cropping(op: str, size: Pair, target: Pair) -> ExplicitPadding:
    """What to cut off for a middle of `target` pixels; an odd one is cut off at the end."""
    if target[0] > size[0] or target[1] > size[1] or min(target) < 1:
        raise ValueError(
            f"{op}: size must be positive and at most the input's {size[0]} x {size[1]}, got {target[0]} x {target[1]}"
        )
    (top, bottom), (left, right) = (
        (total // 2, total - total // 2) for total in (size[0] - target[0], size[1] - target[1])
    )
    return (top, bottom), (left, right)


def crop_part(size: Pair, cropping: ExplicitPadding, layout: arg.Layout) -> tuple[slice, ...]:
    """Index of what is left."""
    (top, bottom), (left, right) = cropping
    return part(layout, slice(top, size[0] - bottom), slice(left, size[1] - right))


def crop2d(input: Array, cropping: PaddingArgument, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Cut a border off images.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image. N may be 0.
    cropping : int, (h, w) or ((top, bottom), (left, right))
        Not negative; at least one pixel is left.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, H - top - bottom, W - left - right), or channels last with layout "NHWC"
        A copy.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.crop2d(input, cropping, layout=layout, out=out)
    op = "crop2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    amounts = check_amounts(op, "cropping", arg.explicit_padding(op, cropping))
    return _crop(op, images, single, amounts, order, out)


def _crop(op: str, images: Array, single: bool, amounts: ExplicitPadding, order: arg.Layout, out: object) -> Array:
    n, c, h, w = arg.logical_shape(images.shape, order)
    shape = arg.memory_shape((n, c, *cropped_size(op, (h, w), amounts)), order)
    output = arg.check_output(op, out, shape[single:], images.dtype, (images,))
    np.copyto(output.reshape(shape), images[crop_part((h, w), amounts, order)])
    return output


def center_crop2d(input: Array, size: IntOrPair, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Cut out the middle of images; of an odd rest the larger half is cut off at the end.

    Parameters
    ----------
    input, layout, out
        As for `crop2d`.
    size : int or (OH, OW)
        At most the input's.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `crop2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.center_crop2d(input, size, layout=layout, out=out)
    op = "center_crop2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    _, _, h, w = arg.logical_shape(images.shape, order)
    return _crop(op, images, single, center_cropping(op, (h, w), arg.pair(op, "size", size)), order, out)


def crop2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    cropping: PaddingArgument | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `crop2d` and `center_crop2d`: zero where something was cut off.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    cropping : optional
        As for `crop2d`; without it `grad_output` is the middle.
    layout, out
        As for `crop2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `crop2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.crop2d_backward(grad_output, input_shape, cropping, layout=layout, out=out)
    op = "crop2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    batch = grad[np.newaxis] if single else grad
    n, c, h, w = arg.logical_shape(full_shape, order)
    if cropping is None:
        _, _, *size = arg.logical_shape(batch.shape, order)
        amounts = center_cropping(op, (h, w), (size[0], size[1]))
    else:
        amounts = check_amounts(op, "cropping", arg.explicit_padding(op, cropping))
    shape = arg.memory_shape((n, c, *cropped_size(op, (h, w), amounts)), order)
    arg.check_shape(op, "grad_output", grad, shape[single:])
    grad_input = arg.check_output(op, out, full_shape[single:], grad.dtype, (grad,))
    grad_input.fill(0)
    grad_input.reshape(full_shape)[crop_part((h, w), amounts, order)] = batch
    return grad_input
