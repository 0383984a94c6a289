"""What a call on GPU arrays would do, for `fastconv.explain`."""

from __future__ import annotations

import math
from typing import Any

from fastconv._checks import arguments as arg
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.conv2d import geometry as conv2d_geometry
from fastconv.cuda.pool2d import geometry as pool2d_geometry
from fastconv.ops.gpu.layouts import ITEM_BYTES, conversion

_KERNELS = {
    "conv2d": "conv2d_forward_simt",
    "conv2d_backward_input": "conv2d_backward_input_simt",
    "conv2d_backward_weight": "conv2d_backward_weight_simt",
    "max_pool2d": "max_pool2d",
    "max_pool2d_backward": "max_pool2d",
    "avg_pool2d": "avg_pool2d",
    "avg_pool2d_backward": "avg_pool2d",
}
_READ = {"": ("input", "weight"), "backward_input": ("weight",), "backward_weight": ("input",), "backward": ()}

_WGMMA = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")  # what wgmma computes


def _logical(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """(N, H, W, C) of a shape in the order of `layout`."""
    n, a, b, c = shape
    return (n, a, b, c) if layout == "NHWC" else (n, b, c, a)


def _conversion(array: View, layout: str) -> str | None:
    """What it takes to make a batch or a weight channels-last."""
    return conversion(array, "NCHW" if array.name == "weight" else layout) if len(array.shape) == 4 else None


def plan(
    op: str,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    ceil_mode: Any,
    layout: str,
) -> dict[str, Any]:
    """Return the fields of an `Explanation`."""
    linear = op.startswith("linear")
    kernel = op.replace("linear", "conv2d")
    if kernel not in _KERNELS:
        raise ValueError(f"explain: op must be one of {', '.join(map(repr, _KERNELS))} for arrays on a GPU, got {op!r}")
    given: dict[str, View] = {"input": arrays.look(op, "input", input)}
    x_shape = given["input"].shape
    if len(x_shape) == (1 if linear else 3):
        x_shape = (1, *x_shape)
    pooling = "pool2d" in op
    if pooling:
        window = arg.pair(op, "kernel_size", weight)
        shape = pool2d_geometry(op, _logical(x_shape, layout), window, stride, padding, dilation, ceil_mode)
        w_shape: tuple[int, ...] = window
        work = math.prod(window)
    else:
        given["weight"] = arrays.look(op, "weight", weight)
        w_shape = given["weight"].shape
        if linear:
            (n, inputs), (outputs, wi) = x_shape, w_shape
            shape = conv2d_geometry(op, (n, 1, 1, inputs), (outputs, 1, 1, wi), 1, 0, 1, 1)
        else:
            taps = _logical(w_shape, "NCHW")
            shape = conv2d_geometry(op, _logical(x_shape, layout), taps, stride or 1, padding, dilation, groups)
        work = 2 * math.prod(w_shape[1:])
    n, o, oh, ow = shape.output_shape
    y_shape = (n, o) if linear else (n, oh, ow, o) if layout == "NHWC" else (n, o, oh, ow)
    suffix = kernel.partition("2d")[2].lstrip("_")
    read = [given[name] for name in _READ[suffix] if name in given and not linear]
    conversions = {array.name: _conversion(array, layout) for array in read}
    converted = [text for text in conversions.values() if text]
    notes = ["results of layout NCHW are channels-last in memory"] if layout == "NCHW" and not linear else []
    rejected: list[str] = []
    module, name = native.module(op), _KERNELS[kernel]
    if pooling:
        notes.append(module.explain_pool2d(shape, op))
    elif not linear:
        kind = str(module.explain_conv2d_kind(shape))
        notes.append(kind)
        if kind.startswith("depthwise"):
            name = f"depthwise_{kernel}"
    dtype = given["input"].dtype
    size = ITEM_BYTES.get(dtype, 4)
    device = native.device_properties(given["input"].device)
    major, minor = device["compute_capability"]
    width = {"multiprocessors": device["multiprocessors"]}
    how = {
        "dtype": dtype,
        "precision": "",
        "aligned": all(array.address % 16 == 0 for array in given.values()),
        "compute_capability": 10 * major + minor,
    }
    if name == _KERNELS["conv2d"]:
        name = module.conv2d_forward_choice(shape, **how, **width)
    elif kernel.startswith("conv2d_backward"):
        name = getattr(module, f"{kernel}_choice")(shape, **how, **(width if suffix == "backward_input" else {}))
    if major == 9 and "_mma" in name and kernel in _WGMMA:
        rejected.append(f"wgmma: {module.conv2d_wgmma_refusal(shape, **how, of=kernel)}")
    if name in ("conv2d_forward_simt", "conv2d_backward_input_simt"):
        notes.append(module.explain_conv2d_simt(shape, backward_input="backward" in name, **width))
    moved = math.prod(x_shape) + math.prod(y_shape) + (0 if pooling else math.prod(w_shape))
    return {
        "op": op,
        "dtype": dtype,
        "layout": "rows" if linear else layout,
        "input_shape": x_shape,
        "weight_shape": w_shape,
        "output_shape": y_shape,
        "algorithm": "windows" if pooling or name.startswith(("depthwise", "stem")) else "implicit matrix product",
        "isa": "emulated" if native.emulated() else f"sm_{major}{minor}",
        "kernel": name,
        "rejected": rejected,
        "threads": 0,
        "flops": math.prod(y_shape) * work,
        "scratch_bytes": sum(
            ITEM_BYTES.get(dtype, 4) * arrays.count(array.shape) for array in read if conversions[array.name]
        ),
        "packed_weight_bytes": 0,
        "layout_conversions": converted,
        "copies": [],
        "slow_paths": list(converted),
        "notes": notes,
        "bytes_moved": size * moved,
    }
