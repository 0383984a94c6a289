"""ReLU with a bit mask, fill, copy and changes of layout on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._checks import arguments as arg
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.cuda.operation import Operation, Output, Plan


def mask_shape(shape: tuple[int, ...]) -> tuple[int]:
    """Shape of the uint32 array with one bit per element."""
    return ((arrays.count(shape) + 31) // 32,)


def same_order(op: str, first: View, name: str, value: Any, write: bool = False) -> View:
    """An array that lies in memory as the first one does: then element follows element, whatever the order is."""
    array = arrays.check(op, arrays.look(op, name, value), None, first.dtype, write)
    arrays.check_shape(op, name, array, first.shape)
    if arrays.memory_order(array) != arrays.memory_order(first):
        raise ValueError(
            f"{op}: {name} must lie in memory as {first.name} does, with strides {first.strides}, got {array.strides}"
        )
    return array


def dense(op: str, name: str, value: Any, dtypes: tuple[str, ...] = ("float32",)) -> View:
    array = arrays.look_floats(op, name, value, dtypes)
    if arrays.memory_order(array) is None:
        raise ValueError(f"{op}: {name} must fill its memory without gaps, got strides {array.strides}")
    return array


def output_like(op: str, out: Any, first: View) -> tuple[Any, View]:
    """`out`, or a new array that lies in memory as the input does."""
    if out is None:
        out = arrays.empty(op, first, first.shape, first.dtype, arrays.memory_order(first))
    return out, same_order(op, first, "out", out, write=True)


def result_like(op: str, x: View, out: View | None) -> tuple[Output]:
    """The result of an operation on each element."""
    if out is not None:
        same_order(op, x, "out", out, write=True)
    return (Output(x.shape, x.dtype, arrays.memory_order(x)),)


def judge_relu(op: str, input: View, mask: View | None, out: View | None) -> Plan:
    x = dense(op, "input", input, arrays.FLOATS)
    results = result_like(op, x, out)
    if mask is not None:
        bits = arrays.view(op, "mask", mask, 1, "uint32", write=True)
        arrays.check_shape(op, "mask", bits, mask_shape(x.shape))
    return Plan(native.module(op).plan_relu(arrays.count(x.shape), dtype=x.dtype), results)


def judge_add(op: str, input: View, other: View, out: View | None) -> Plan:
    x = dense(op, "input", input, arrays.FLOATS)
    same_order(op, x, "other", other)
    results = result_like(op, x, out)
    return Plan(native.module(op).plan_add(arrays.count(x.shape), dtype=x.dtype), results)


def judge_relu_backward_output(op: str, grad_output: View, output: View, out: View | None) -> Plan:
    gy = dense(op, "grad_output", grad_output, arrays.FLOATS)
    same_order(op, gy, "output", output)
    results = result_like(op, gy, out)
    return Plan(native.module(op).plan_relu_backward_output(arrays.count(gy.shape), dtype=gy.dtype), results)


_relu = Operation("relu", ("input", "mask"), judge_relu)
_add = Operation("add", ("input", "other"), judge_add)
_relu_backward_output = Operation("relu_backward", ("grad_output", "output"), judge_relu_backward_output)


def relu(input: Any, *, mask: Any = None, out: Any = None) -> Any:
    """Return max(input, 0); NaN stays NaN. `out` may be `input`.

    Parameters
    ----------
    input : array on a GPU, float32, float16 or bfloat16
    mask : array, shape (ceil(size / 32),), uint32, optional
        Bit i % 32 of word i / 32 is set where element i passes; `relu_backward` needs it.
    out : array of the shape of `input`, optional

    Returns
    -------
    array of the shape of `input`
    """
    return _relu((input, mask), out, ())


def relu_backward(grad_output: Any, mask: Any, *, out: Any = None) -> Any:
    """Return grad_output where the bit of `mask` is set, and 0 elsewhere. `out` may be `grad_output`."""
    op = "relu_backward"
    module = native.module(op)
    gy = arrays.view_floats(op, "grad_output", grad_output)
    bits = arrays.view(op, "mask", mask, 1, "uint32")
    arrays.check_shape(op, "mask", bits, mask_shape(gy.shape))
    result = arrays.output(op, out, grad_output, gy.shape, gy.dtype)
    gx = arrays.view(op, "out", result, None, gy.dtype, write=True)
    with Launch(op, gy, bits, gx) as stream:
        module.relu_backward(
            gy.address, bits.address, gx.address, arrays.count(gy.shape), dtype=gy.dtype, stream=stream
        )
    return result


def add(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return input + other, of one shape and one order in memory; `out` may be either.

    Parameters
    ----------
    input, other : array on a GPU, both float32, float16 or bfloat16
        Any order in memory without gaps, channels_last for instance.
    out : array, optional

    Returns
    -------
    array of the shape and memory order of `input`
    """
    return _add((input, other), out, ())


def relu_backward_output(grad_output: Any, output: Any, *, out: Any = None) -> Any:
    """Return grad_output where `output`, what `relu` returned, is positive or NaN, and 0 elsewhere."""
    return _relu_backward_output((grad_output, output), out, ())


def dropout(input: Any, p: float = 0.5, *, seed: int, offset: int = 0, counter: Any = None, out: Any = None) -> Any:
    """Multiply each value by 0 with probability `p`, and by 1 / (1 - p) otherwise; its gradient is the same call.

    What falls is a function of `seed`, the number of the element in memory, and offset + counter: nothing is stored.

    Parameters
    ----------
    input : array on a GPU, float32, float16 or bfloat16
    p : float, default 0.5
        Probability, 0 <= p < 1.
    seed, offset : int
        Below 2**64. Two calls with both equal drop the same elements: give each layer and step an offset of its own.
    counter : array on a GPU, shape (1,), int64, optional
        Added to `offset`: a captured graph that counts it on drops other elements at every replay.
    out : array, optional
        It may be `input`.

    Returns
    -------
    array of the shape and memory order of `input`

    Notes
    -----
    Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    op = "dropout"
    module = native.module(op)
    if isinstance(p, bool) or not isinstance(p, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: p must be a number, got {arg.describe(p)}")
    if not 0 <= p < 1:
        raise ValueError(f"{op}: p must lie in [0, 1), got {p}")
    numbers = [_uint64(op, name, value) for name, value in (("seed", seed), ("offset", offset))]
    x = dense(op, "input", input, arrays.FLOATS)
    steps = None if counter is None else arrays.view(op, "counter", counter, 1, "int64")
    if steps is not None:
        arrays.check_shape(op, "counter", steps, (1,))
    result, y = output_like(op, out, x)
    with Launch(op, x, steps, y) as stream:
        module.dropout(
            x.address,
            y.address,
            arrays.count(x.shape),
            p=float(p),
            seed=numbers[0],
            offset=numbers[1],
            counter=steps.address if steps else 0,
            dtype=x.dtype,
            stream=stream,
        )
    return result


def _uint64(op: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{op}: {name} must be an integer, got {arg.describe(value)}")
    if not 0 <= value < 2**64:
        raise ValueError(f"{op}: {name} must lie in [0, 2**64), got {value}")
    return int(value)


def fill(out: Any, value: float) -> Any:
    """Set every element of an array of float32, float16 or bfloat16, rounded to its type."""
    op = "fill"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: value must be a number, got {arg.describe(value)}")
    if isinstance(value, int) and abs(value) >= 2**128:
        raise ValueError(f"{op}: value must fit float32, got {arg.describe(value)}")
    y = arrays.check(op, arrays.view_floats(op, "out", out), None, arrays.look(op, "out", out).dtype, write=True)
    with Launch(op, y) as stream:
        native.module(op).fill(y.address, float(value), arrays.count(y.shape), dtype=y.dtype, stream=stream)
    return out


def copy(input: Any, *, out: Any = None) -> Any:
    """Return a copy of an array of float32, float16 or bfloat16."""
    op = "copy"
    module = native.module(op)
    x = arrays.view_floats(op, "input", input)
    result = arrays.output(op, out, input, x.shape, x.dtype)
    y = arrays.view(op, "out", result, None, x.dtype, write=True)
    with Launch(op, x, y) as stream:
        module.copy(x.address, y.address, arrays.count(x.shape), dtype=x.dtype, stream=stream)
    return result


def _transpose(op: str, input: Any, out: Any, channels_first: bool) -> Any:
    module = native.module(op)
    x = arrays.view_floats(op, "input", input, 4)
    n = x.shape[0]
    if channels_first:
        _, c, h, w = x.shape
        rows, columns, shape = c, h * w, (n, h, w, c)
    else:
        _, h, w, c = x.shape
        rows, columns, shape = h * w, c, (n, c, h, w)
    result = arrays.output(op, out, input, shape, x.dtype)
    y = arrays.view(op, "out", result, None, x.dtype, write=True)
    with Launch(op, x, y) as stream:
        module.transpose(x.address, y.address, 4 if x.dtype == "float32" else 2, n, rows, columns, op=op, stream=stream)
    return result


def nchw_to_nhwc(input: Any, *, out: Any = None) -> Any:
    """Return a channels-last copy: (N, C, H, W) to (N, H, W, C), and weights (O, C, KH, KW) to (O, KH, KW, C)."""
    return _transpose("nchw_to_nhwc", input, out, channels_first=True)


def nhwc_to_nchw(input: Any, *, out: Any = None) -> Any:
    """Return a channels-first copy: (N, H, W, C) to (N, C, H, W)."""
    return _transpose("nhwc_to_nchw", input, out, channels_first=False)
