"""ReLU with a bit mask, fill, copy and changes of layout on a GPU."""

from __future__ import annotations

from typing import Any

from fastconv.cuda import arrays, native
from fastconv.cuda.launch import Launch


def mask_shape(shape: tuple[int, ...]) -> tuple[int]:
    """Shape of the uint32 array with one bit per element."""
    return ((arrays.count(shape) + 31) // 32,)


def relu(input: Any, *, mask: Any = None, out: Any = None) -> Any:
    """Return max(input, 0); NaN stays NaN. `out` may be `input`.

    Parameters
    ----------
    input : array on a GPU, float32
    mask : array, shape (ceil(size / 32),), uint32, optional
        Bit i % 32 of word i / 32 is set where element i passes; `relu_backward` needs it.
    out : array of the shape of `input`, optional

    Returns
    -------
    array of the shape of `input`
    """
    op = "relu"
    module = native.module(op)
    x = arrays.view(op, "input", input)
    result = arrays.output(op, out, input, x.shape)
    bits = None if mask is None else arrays.view(op, "mask", mask, 1, "uint32", write=True)
    if bits is not None:
        arrays.check_shape(op, "mask", bits, mask_shape(x.shape))
    y = arrays.view(op, "out", result, write=True)
    with Launch(op, x, bits, y) as stream:
        module.relu_forward(x.address, y.address, bits.address if bits else 0, arrays.count(x.shape), stream=stream)
    return result


def relu_backward(grad_output: Any, mask: Any, *, out: Any = None) -> Any:
    """Return grad_output where the bit of `mask` is set, and 0 elsewhere. `out` may be `grad_output`."""
    op = "relu_backward"
    module = native.module(op)
    gy, bits = arrays.view(op, "grad_output", grad_output), arrays.view(op, "mask", mask, 1, "uint32")
    arrays.check_shape(op, "mask", bits, mask_shape(gy.shape))
    result = arrays.output(op, out, grad_output, gy.shape)
    gx = arrays.view(op, "out", result, write=True)
    with Launch(op, gy, bits, gx) as stream:
        module.relu_backward(gy.address, bits.address, gx.address, arrays.count(gy.shape), stream=stream)
    return result


def fill(out: Any, value: float) -> Any:
    """Set every element of a float32 array."""
    op = "fill"
    y = arrays.view(op, "out", out, write=True)
    with Launch(op, y) as stream:
        native.module(op).fill(y.address, value, arrays.count(y.shape), stream=stream)
    return out


def copy(input: Any, *, out: Any = None) -> Any:
    """Return a copy of a float32 array."""
    op = "copy"
    module = native.module(op)
    x = arrays.view(op, "input", input)
    result = arrays.output(op, out, input, x.shape)
    y = arrays.view(op, "out", result, write=True)
    with Launch(op, x, y) as stream:
        module.copy(x.address, y.address, arrays.count(x.shape), stream=stream)
    return result


def _transpose(op: str, input: Any, out: Any, channels_first: bool) -> Any:
    module = native.module(op)
    x = arrays.view(op, "input", input, 4)
    n = x.shape[0]
    if channels_first:
        _, c, h, w = x.shape
        rows, columns, shape = c, h * w, (n, h, w, c)
    else:
        _, h, w, c = x.shape
        rows, columns, shape = h * w, c, (n, c, h, w)
    result = arrays.output(op, out, input, shape)
    y = arrays.view(op, "out", result, write=True)
    with Launch(op, x, y) as stream:
        module.transpose(x.address, y.address, 4, n, rows, columns, stream=stream)
    return result


def nchw_to_nhwc(input: Any, *, out: Any = None) -> Any:
    """Return a channels-last copy: (N, C, H, W) to (N, H, W, C), and weights (O, C, KH, KW) to (O, KH, KW, C)."""
    return _transpose("nchw_to_nhwc", input, out, channels_first=True)


def nhwc_to_nchw(input: Any, *, out: Any = None) -> Any:
    """Return a channels-first copy: (N, H, W, C) to (N, C, H, W)."""
    return _transpose("nhwc_to_nchw", input, out, channels_first=False)
