"""Borders, pixel shuffle, adaptive and Lp pooling, max unpooling and layer norm on a GPU, right above the kernels.

Images are (N, H, W, C), float32; rules and arguments are those of `fastconv.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import ExplicitPadding, IntOrPair, PaddingArgument, Pair
from fastconv._checks.numbers import number
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.cuda.pool2d import geometry, output_shape

MODES = ("constant", "reflect", "replicate")


def _new(op: str, out: Any, like: View, shape: Sequence[int]) -> tuple[Any, View]:
    """`out` or a new array, and where it lies."""
    result = arrays.output(op, out, like, shape)
    return result, arrays.view(op, "out", result, None, write=True)


def _apart(op: str, output: View, *inputs: View) -> None:
    """Refuse to write over what is read: for kernels that do not look themselves."""
    begin, end = output.address, output.address + 4 * arrays.count(output.shape)
    for array in inputs:
        if begin < array.address + 4 * arrays.count(array.shape) and array.address < end:
            raise ValueError(f"{op}: {output.name} must not overlap {array.name} in memory")


# Borders


def _amounts(op: str, padding: object, mode: object) -> ExplicitPadding:
    amounts = arg.explicit_padding(op, padding)
    if min(map(min, amounts)) < 0:
        raise ValueError(f"{op}: padding must not be negative, got {amounts}")
    if not isinstance(mode, str) or mode not in MODES:
        error = ValueError if isinstance(mode, str) else TypeError
        raise error(f"{op}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    return amounts


def _steps(shape: Sequence[int]) -> tuple[int, int, int]:
    _, h, w, c = shape
    return h * w * c, w * c, c


def _middle(padded: View, amounts: ExplicitPadding) -> int:
    """The address of the first pixel within the border."""
    (top, _), (left, _) = amounts
    _, row, pixel = _steps(padded.shape)
    return padded.address + 4 * (top * row + left * pixel)


def pad2d(input: Any, padding: PaddingArgument, mode: str = "constant", value: float = 0.0, *, out: Any = None) -> Any:
    """Put a border around images; arguments as for `fastconv.ops.pad2d`."""
    op = "pad2d"
    x, amounts = arrays.view(op, "input", input, 4), _amounts(op, padding, mode)
    n, h, w, c = x.shape
    (top, bottom), (left, right) = amounts
    result, y = _new(op, out, x, (n, h + top + bottom, w + left + right, c))
    module = native.module(op)
    _apart(op, y, x)
    with Launch(op, x, y) as stream:
        if mode != "constant":
            module.pad2d(x.address, y.address, x.shape, *amounts, mode=mode, backward=False, stream=stream)
        elif arrays.count(y.shape):
            module.fill(y.address, value, arrays.count(y.shape), stream=stream)
            module.strided_copy(
                x.address, _middle(y, amounts), x.shape, _steps(x.shape), _steps(y.shape), stream=stream
            )
    return result


def pad2d_backward(
    grad_output: Any, input_shape: Sequence[int], padding: PaddingArgument, mode: str = "constant", *, out: Any = None
) -> Any:
    """Gradient of `pad2d`: every pixel adds up the gradients of its copies, in one order; `input_shape` is NHWC."""
    op = "pad2d_backward"
    gy, amounts = arrays.view(op, "grad_output", grad_output, 4), _amounts(op, padding, mode)
    n, h, w, c = shape = arg.shape_tuple(op, "input_shape", input_shape, 4)
    (top, bottom), (left, right) = amounts
    arrays.check_shape(op, "grad_output", gy, (n, h + top + bottom, w + left + right, c))
    result, gx = _new(op, out, gy, shape)
    module = native.module(op)
    _apart(op, gx, gy)
    with Launch(op, gy, gx) as stream:
        if mode != "constant":
            module.pad2d(gy.address, gx.address, shape, *amounts, mode=mode, backward=True, stream=stream)
        elif arrays.count(shape):
            steps = _steps(gy.shape), _steps(shape)
            module.strided_copy(_middle(gy, amounts), gx.address, shape, *steps, stream=stream)
    return result


# Pixels of channels


def _shuffled(op: str, input: Any, factor: int, back: bool, out: Any) -> Any:
    r = arg.integer(op, "factor", factor)
    x = arrays.view(op, "input", input, 4)
    n, h, w, c = x.shape
    if r < 1 or (h % r or w % r if back else c % r**2):
        sides = f"height and width, {h} x {w}," if back else f"the {c} channels"
        raise ValueError(f"{op}: the factor must be positive and fit {sides}, got {r}")
    few = (n, h // r, w // r, c) if back else (n, h, w, c // r**2)  # of few pixels, with the channels of many
    shape = (n, h // r, w // r, c * r**2) if back else (n, h * r, w * r, c // r**2)
    result, y = _new(op, out, x, shape)
    ends = (y.address, x.address) if back else (x.address, y.address)
    with Launch(op, x, y) as stream:
        if arrays.count(shape):
            native.module(op).pixel_shuffle(*ends, few, r, back=back, stream=stream)
    return result


def pixel_shuffle(input: Any, upscale_factor: int, *, out: Any = None) -> Any:
    """(N, H, W, C*r*r) to (N, H*r, W*r, C), as `fastconv.ops.pixel_shuffle`; its gradient is `pixel_unshuffle`."""
    return _shuffled("pixel_shuffle", input, upscale_factor, False, out)


def pixel_unshuffle(input: Any, downscale_factor: int, *, out: Any = None) -> Any:
    """(N, H*r, W*r, C) to (N, H, W, C*r*r): the inverse."""
    return _shuffled("pixel_unshuffle", input, downscale_factor, True, out)


# Bins and places


def _places(op: str, value: Any, shape: Sequence[int]) -> View:
    places = arrays.view(op, "indices", value, 4, "int32")
    arrays.check_shape(op, "indices", places, shape)
    return places


def adaptive_max_pool2d(input: Any, output_size: Pair, *, out: Any = None) -> tuple[Any, Any]:
    """Maxima of bins (PyTorch's), and where they were: int32, row*W + column; of equal ones the first, NaN wins."""
    op = "adaptive_max_pool2d"
    x = arrays.view(op, "input", input, 4)
    n, _, _, c = x.shape
    size = arg.pair(op, "output_size", output_size)
    result, y = _new(op, out, x, (n, *size, c))
    indices = arrays.empty(op, x, y.shape, "int32")
    at = arrays.view(op, "indices", indices, 4, "int32", write=True)
    with Launch(op, x, y, at) as stream:
        native.module(op).adaptive_max_pool2d(
            x.address, y.address, at.address, x.shape, size, backward=False, stream=stream
        )
    return result, indices


def adaptive_max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Sequence[int], *, out: Any = None) -> Any:
    """Gradient of `adaptive_max_pool2d`: a pixel adds up the gradients of the bins that it won."""
    op = "adaptive_max_pool2d_backward"
    gy = arrays.view(op, "grad_output", grad_output, 4)
    at = _places(op, indices, gy.shape)
    n, h, w, c = shape = arg.shape_tuple(op, "input_shape", input_shape, 4)
    _, oh, ow, _ = gy.shape
    arrays.check_shape(op, "grad_output", gy, (n, oh, ow, c))
    result, gx = _new(op, out, gy, (n, h, w, c))
    with Launch(op, gy, at, gx) as stream:
        native.module(op).adaptive_max_pool2d(
            gy.address, gx.address, at.address, shape, (oh, ow), backward=True, stream=stream
        )
    return result


def max_unpool2d(input: Any, indices: Any, output_size: Pair, *, out: Any = None) -> Any:
    """Values at the indices of a max pool, 0 elsewhere; of equal indices the last counts. A thread has a plane.

    An index outside of the result, which the CPU refuses, takes no part: to look would mean to wait.
    """
    op = "max_unpool2d"
    x = arrays.view(op, "input", input, 4)
    at = _places(op, indices, x.shape)
    n, h, w, c = x.shape
    height, width = arg.pair(op, "output_size", output_size)
    result, y = _new(op, out, x, (n, height, width, c))
    with Launch(op, x, at, y) as stream:
        native.module(op).scatter_planes(x.address, at.address, y.address, n, c, h * w, height * width, stream=stream)
    return result


def max_unpool2d_backward(grad_output: Any, indices: Any, *, out: Any = None) -> Any:
    """grad_output at the indices; 0 for one that lies outside."""
    op = "max_unpool2d_backward"
    gy = arrays.view(op, "grad_output", grad_output, 4)
    at = arrays.view(op, "indices", indices, 4, "int32")
    n, height, width, c = gy.shape
    _, h, w, _ = at.shape
    arrays.check_shape(op, "indices", at, (n, h, w, c))
    result, gx = _new(op, out, gy, at.shape)
    with Launch(op, gy, at, gx) as stream:
        native.module(op).gather_planes(gx.address, at.address, gy.address, n, c, h * w, height * width, stream=stream)
    return result


# Lp pooling


def _norm(op: str, norm_type: object) -> float:
    p = number(op, "norm_type", norm_type, 1.0)
    if not math.isfinite(p):
        raise ValueError(f"{op}: norm_type must be finite and at least 1, got {norm_type}")
    return p


def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    ceil_mode: bool = False,
    padding: PaddingArgument = 0,
    *,
    out: Any = None,
) -> Any:
    """p-norm of each window; arguments as for `fastconv.ops.lp_pool2d`. Powers other than 1 and 2 are of double."""
    op = "lp_pool2d"
    x, p = arrays.view(op, "input", input, 4), _norm(op, norm_type)
    shape = geometry(op, x.shape, kernel_size, stride, padding, 1, ceil_mode)
    result, y = _new(op, out, x, output_shape(shape))
    powers = arrays.view(op, "powers", arrays.empty(op, x, x.shape), write=True)
    module, small = native.module(op), arrays.count(y.shape)
    with Launch(op, x, powers, y) as stream:
        module.norm_power("power", x.address, 0, powers.address, arrays.count(x.shape), p=p, stream=stream)
        module.avg_pool2d_forward(
            shape, powers.address, y.address, count_include_pad=True, divisor_override=1, stream=stream
        )
        module.norm_power("root", y.address, 0, y.address, small, p=p, stream=stream)
    return result


def lp_pool2d_backward(
    grad_output: Any,
    input: Any,
    output: Any,
    norm_type: float,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    ceil_mode: bool = False,
    padding: PaddingArgument = 0,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `lp_pool2d`; 0 where the norm is 0."""
    op = "lp_pool2d_backward"
    x, p = arrays.view(op, "input", input, 4), _norm(op, norm_type)
    shape = geometry(op, x.shape, kernel_size, stride, padding, 1, ceil_mode)
    gy, value = (arrays.view(op, name, a, 4) for name, a in (("grad_output", grad_output), ("output", output)))
    for array in (gy, value):
        arrays.check_shape(op, array.name, array, output_shape(shape))
    result, gx = _new(op, out, x, x.shape)
    scaled = arrays.view(op, "work", arrays.empty(op, x, gy.shape), write=True)
    module, small, large = native.module(op), arrays.count(gy.shape), arrays.count(x.shape)
    _apart(op, gx, x, gy, value)
    with Launch(op, gy, x, value, scaled, gx) as stream:
        module.norm_power("root_back", gy.address, value.address, scaled.address, small, p=p, stream=stream)
        module.avg_pool2d_backward(
            shape, scaled.address, gx.address, count_include_pad=True, divisor_override=1, stream=stream
        )
        module.norm_power("power_back", gx.address, x.address, gx.address, large, p=p, stream=stream)
    return result


# Layer norm


def _normalised(op: str, x: View, normalized_shape: object) -> tuple[tuple[int, ...], int, int]:
    """The shape, rows and elements of a row."""
    given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    shape = tuple(arg.integer(op, "normalized_shape", size) for size in given)
    if not shape or min(shape) < 1 or x.shape[-len(shape) :] != shape:
        raise ValueError(f"{op}: normalized_shape must be the last sizes of input, {x.shape}, got {shape}")
    elements = math.prod(shape)
    return shape, arrays.count(x.shape) // elements, elements


def _of_shape(op: str, name: str, value: Any, shape: Sequence[int]) -> View | None:
    if value is None:
        return None
    array = arrays.view(op, name, value)
    arrays.check_shape(op, name, array, shape)
    return array


def _address(array: View | None) -> int:
    return 0 if array is None else array.address


def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: Any = None,
) -> tuple[Any, Any]:
    """Layer normalisation over the last axes, and its statistics (rows, 2), float64, as `fastconv.ops.layer_norm`."""
    op = "layer_norm"
    x = arrays.view(op, "input", input)
    shape, rows, elements = _normalised(op, x, normalized_shape)
    scale, shift = _of_shape(op, "weight", weight, shape), _of_shape(op, "bias", bias, shape)
    small = number(op, "eps", eps, 0.0)
    result, y = _new(op, out, x, x.shape)
    stats = arrays.empty(op, x, (rows, 2), "float64")
    saved = arrays.view(op, "stats", stats, 2, "float64", write=True)
    addresses = [_address(array) for array in (x, scale, shift, y, saved)]
    with Launch(op, x, scale, shift, y, saved) as stream:
        native.module(op).group_norm_forward(*addresses, rows, 1, elements, 1, eps=small, relu=False, stream=stream)
    return result, stats


def layer_norm_backward(
    grad_output: Any,
    input: Any,
    normalized_shape: int | Sequence[int],
    stats: Any,
    weight: Any = None,
    *,
    out: Any = None,
) -> tuple[Any, Any, Any]:
    """Gradients of `layer_norm`: of the input, the weight and the bias."""
    op = "layer_norm_backward"
    x = arrays.view(op, "input", input)
    shape, rows, elements = _normalised(op, x, normalized_shape)
    gy = arrays.view(op, "grad_output", grad_output)
    arrays.check_shape(op, "grad_output", gy, x.shape)
    saved = arrays.view(op, "stats", stats, 2, "float64")
    arrays.check_shape(op, "stats", saved, (rows, 2))
    scale = _of_shape(op, "weight", weight, shape)
    result, gx = _new(op, out, x, x.shape)
    grads = [arrays.empty(op, x, shape) for _ in range(2)]
    gw, gb = (arrays.view(op, "grad", grad, write=True) for grad in grads)
    module = native.module(op)
    nbytes = int(module.batch_norm_workspace_bytes(rows, elements))
    work = arrays.view(op, "workspace", arrays.empty(op, x, (nbytes // 8,), "float64"), 1, "float64")
    addresses = [_address(array) for array in (gy, x, saved, scale, None, gx, gw, gb)]
    sizes = rows, 1, elements, 1, work.address, nbytes
    with Launch(op, gy, x, saved, scale, gx, gw, gb, work) as stream:
        module.group_norm_backward(*addresses, *sizes, relu=False, accumulate=False, stream=stream)
    return result, grads[0], grads[1]
