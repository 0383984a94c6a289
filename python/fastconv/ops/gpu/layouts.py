"""The rule of layouts, for kernels that know channels-last alone.

An array of layout "NCHW" whose strides are channels-last (PyTorch's `channels_last`, a transposed
NHWC array of CuPy) is taken as it is, and so is every array of one channel or one pixel. One that is C-contiguous in
NCHW is converted by a kernel into new memory; `fastconv.explain` tells so, and `fastconv.config.strict` refuses it.
All other strides are errors. Results of layout "NCHW" are channels-last in memory, so that the next operation converts
nothing. Weights (O, C, KH, KW) and their gradients obey the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastconv._config import config
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.cuda.operation import Output, Plan
from fastconv.ops.slow_path import refuse

ITEM_BYTES = {"float32": 4, "int32": 4, "uint32": 4, "float16": 2, "bfloat16": 2}


def channels_last(array: View) -> View | None:
    """An (N, C, H, W) array as the (N, H, W, C) memory that it is, or None."""
    turned = array.permuted(0, 2, 3, 1)
    return turned._replace(strides=arrays.c_strides(turned.shape)) if turned.contiguous else None


def conversion(array: View, layout: str) -> str | None:
    """What converting the array to channels-last moves, in words; None if it is so already."""
    if layout == "NHWC" or channels_last(array) is not None:
        return None
    moved = 2 * arrays.count(array.shape) * ITEM_BYTES.get(array.dtype, 4)
    return f"{array.name} is NCHW in memory: {moved} bytes are moved to make it channels-last"


def _transpose(op: str, source: View, to: View, rows: int, columns: int) -> None:
    with Launch(op, source, to) as stream:
        native.module(op).transpose(
            source.address, to.address, ITEM_BYTES[source.dtype], source.shape[0], rows, columns, stream=stream
        )


def _to_nhwc(op: str, array: View) -> View:
    """A channels-last copy of an array that is C-contiguous in NCHW."""
    n, c, h, w = array.shape
    if array.dtype not in ITEM_BYTES:
        raise TypeError(f"{op}: {array.name} must be float32, got {array.dtype}")
    _refuse_if_strict(op, array)
    copy = arrays.look(op, array.name, arrays.empty(op, array, (n, h, w, c), array.dtype))
    _transpose(op, array, copy, c, h * w)
    return copy


def _nhwc(op: str, array: View, layout: str) -> View:
    if layout == "NHWC":
        return array  # the kernels' own check follows
    turned = channels_last(array)
    if turned is not None:
        return turned
    if array.contiguous:
        return _to_nhwc(op, array)
    raise ValueError(
        f"{op}: {array.name} must be channels-last or C-contiguous in memory, got strides {array.strides} (elements) "
        f"for shape {array.shape}"
    )


def check_four(op: str, array: View) -> View:
    if len(array.shape) != 4:
        raise ValueError(f"{op}: {array.name} must have 4 dimensions, got shape {array.shape}")
    return array


def _batch(op: str, array: View) -> tuple[View, bool]:
    """Four dimensions, and whether it came as one image."""
    single = len(array.shape) == 3
    if single:
        step = max(size * stride for size, stride in zip(array.shape, array.strides, strict=True))
        array = array._replace(shape=(1, *array.shape), strides=(step, *array.strides))
    elif len(array.shape) != 4:
        raise ValueError(f"{op}: {array.name} must have 4 dimensions, or 3 for a batch of one, got shape {array.shape}")
    return array, single


def images(op: str, name: str, value: Any, layout: str) -> tuple[View, bool]:
    """(N, H, W, C) in memory, and whether it came as one image."""
    array, single = _batch(op, arrays.look(op, name, value))
    return _nhwc(op, array, layout), single


def as_nhwc_weight(op: str, value: Any) -> View:
    return _nhwc(op, check_four(op, arrays.look(op, "weight", value)), "NCHW")


def memory_shape(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """(N, H, W, C) of a shape that is written in the order of `layout`."""
    n, a, b, c = shape
    return (n, a, b, c) if layout == "NHWC" else (n, b, c, a)


class Result:
    """Where the kernel writes, in (N, H, W, C), and what the caller gets for it."""

    def __init__(self, op: str, out: Any, layout: str, single: bool = False) -> None:
        self.op, self.out, self.layout, self.single = op, out, layout, single
        self.direct: View | None = None  # `out`, if a kernel can write it
        self.planes: View | None = None  # `out`, if it is NCHW in memory
        if out is None:
            return
        array = arrays.look(op, "out", out)
        if single and len(array.shape) == 3:
            step = max(size * stride for size, stride in zip(array.shape, array.strides, strict=True))
            array = array._replace(shape=(1, *array.shape), strides=(step, *array.strides))
        if len(array.shape) != 4:
            raise ValueError(f"{op}: out must have {3 if single else 4} dimensions, got shape {array.shape}")
        self.direct = array if layout == "NHWC" else channels_last(array)
        if self.direct is None:
            if not array.contiguous:
                raise ValueError(f"{op}: out must be channels-last or C-contiguous, got strides {array.strides}")
            if config.strict:
                refuse(op, [conversion(array, layout) or ""])
            self.planes = array

    def finish(self, result: Any) -> Any:
        """The result of the kernel in the caller's layout; a View stands for `out`."""
        if self.direct is not None:
            return self.out
        if self.planes is not None:
            source = arrays.look(self.op, "result", result)
            n, h, w, c = source.shape
            arrays.check_shape(self.op, "out", self.planes, (n, c, h, w))
            arrays.check(self.op, self.planes, 4, source.dtype, write=True)
            _transpose(self.op, source, self.planes, h * w, c)
            return self.out
        if self.layout == "NCHW":
            result = arrays.permute(result, (0, 3, 1, 2))
        return result[0] if self.single else result


# Judging calls in the caller's layouts


def _refuse_if_strict(op: str, array: View) -> None:
    if config.strict:
        refuse(op, [conversion(array, "NCHW") or ""])


def _shown(result: Output, order: str, single: bool) -> Output:
    """An output (N, H, W, C) as the caller sees it."""
    n, h, w, c = result.shape
    shape: tuple[int, ...] = (n, c, h, w) if order == "NCHW" else result.shape
    axes: tuple[int, ...] = (0, 2, 3, 1) if order == "NCHW" else (0, 1, 2, 3)
    if single:
        shape, axes = shape[1:], tuple(axis - 1 for axis in axes[1:])
    return Output(shape, result.dtype, axes)


def _as_nhwc(op: str, array: View, order: str) -> View | None:
    """The array if it lies as kernels want it; None if it has to be converted."""
    turned = array if order == "NHWC" else channels_last(array)
    if turned is None and not array.contiguous:
        raise ValueError(
            f"{op}: {array.name} must be channels-last or C-contiguous in memory, got strides {array.strides} "
            f"(elements) for shape {array.shape}"
        )
    if turned is None and array.dtype not in ITEM_BYTES:
        raise TypeError(f"{op}: {array.name} must be float32, got {array.dtype}")
    if turned is None:
        _refuse_if_strict(op, array)
    return turned


def _turned(array: View) -> View:
    """As if its memory was (N, H, W, C)."""
    n, c, h, w = array.shape
    return array.reshaped(n, h, w, c)


def _transposing(op: str, array: View, back: bool = False) -> Any:
    """What converts an array that is C-contiguous in NCHW, or back to such a one: from an address to another."""
    n, c, h, w = array.shape
    rows, columns = (h * w, c) if back else (c, h * w)
    return native.module(op).plan_transpose(ITEM_BYTES[array.dtype], n, rows, columns, op=op)


def judged(
    op: str,
    judge: Callable[..., Plan],
    given: Sequence[tuple[View | None, str | None]],
    out: View | None,
    out_order: str | None,
    options: Sequence[Any],
    of_weight: bool = False,
) -> Plan:
    """The plan of the kernels' own judge, for arrays and a result in the layouts of the caller.

    `given`: each array with its layout, or with None if it is no image; `out_order` alike. What is not channels-last is
    converted in new memory, first of all; so is a result that is to be NCHW in memory, last of all.
    """
    views: list[View | None] = []
    converted: list[tuple[int, Any, Output]] = []  # which array, how, into what
    single = False
    for array, order in given:
        if array is not None and order is not None:
            array, one = _batch(op, array)
            single |= one
            turned = _as_nhwc(op, array, order)
            if turned is None:
                turned = _turned(array)
                converted.append((len(views), _transposing(op, array), Output(turned.shape, array.dtype)))
            array = turned
        views.append(array)
    batch = into = None  # `out` with four dimensions, and as kernels want it
    if out_order is None:
        plan = judge(op, *views, out, *options)
        results = plan.results
    else:
        if out is not None:
            batch = _batch(op, out)[0]
            into = _as_nhwc(op, batch, out_order)
        # A gradient of weights may be wider than its arrays, which the kernels' judge decides by `out`.
        plan = judge(op, *views, _turned(batch) if of_weight and batch else None, *options)
        results = tuple(_shown(result, out_order, single and not of_weight) for result in plan.results)
    if out is not None and batch is not None:
        arrays.check(op, out, None, results[0].dtype, write=True)
        arrays.check_shape(op, "out", out, results[0].shape)
        if into is not None and not into.contiguous:
            raise ValueError(
                f"{op}: out must be C-contiguous, got strides {out.strides} (elements) for shape {out.shape}"
            )
    back = batch is not None and into is None
    if not converted and not back:
        return plan._replace(results=results)
    # Addresses: of what is given, of results, of the kernel's scratch, of what is converted, of a result to convert.
    first_new = len(given) + len(results) + len(plan.scratch)
    place = list(range(first_new))  # where the kernel finds each of its arrays
    steps, scratch = [], list(plan.scratch)
    for source, how, made in converted:
        place[source] = len(given) + len(results) + len(scratch)
        steps.append((how, [source, place[source]]))
        scratch.append(made)
    steps.append((plan.native, place))
    if batch is not None and back:
        place[len(given)] = len(given) + len(results) + len(scratch)
        steps.append((_transposing(op, batch, back=True), [place[len(given)], len(given)]))
        scratch.append(plan.results[0])
    return Plan(native.module(op).plan_sequence(steps), results, tuple(scratch))
