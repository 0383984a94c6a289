"""Who runs a layer: fastconv, NumPy alone, and rivals that are installed. Each offers the three passes as calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from shapes import Layer

import fastconv
from fastconv import _core, ops

PASSES = ("forward", "backward_input", "backward_weight")
Array: TypeAlias = NDArray[np.floating[Any]]
Calls: TypeAlias = dict[str, Callable[[], Any]]


def geometry(layer: Layer) -> _core.Conv2dShape:
    p, q = layer.padding
    return _core.Conv2dShape(
        layer.input_shape, layer.weight_shape, layer.stride, ((p, p), (q, q)), layer.dilation, layer.groups
    )


class Arrays:
    """The same numbers for everybody, NCHW and OIHW."""

    def __init__(self, layer: Layer, dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.input: Array = rng.standard_normal(layer.input_shape).astype(dtype)
        self.weight: Array = (
            rng.standard_normal(layer.weight_shape) / np.sqrt(np.prod(layer.weight_shape[1:]))
        ).astype(dtype)
        self.grad_output: Array = rng.standard_normal(geometry(layer).output_shape).astype(dtype)


def ours(layer: Layer, arrays: Arrays, layout: str, packed: bool) -> Calls:
    """fastconv with outputs allocated in advance; `packed` prepares the weights once, as a model does."""

    def lay_out(array: Array) -> Array:
        return array if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(array, 1, 3))

    x, w, gy = lay_out(arrays.input), arrays.weight, lay_out(arrays.grad_output)
    y, gx, gw = np.empty_like(gy), np.empty_like(x), np.empty_like(w)
    options: dict[str, Any] = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "layout": layout,
    }
    if not packed:
        return {
            "forward": lambda: ops.conv2d(x, w, **options, out=y),
            "backward_input": lambda: ops.conv2d_backward_input(x.shape, w, gy, **options, out=gx),
            "backward_weight": lambda: ops.conv2d_backward_weight(x, w.shape, gy, **options, out=gw),
        }
    shape = geometry(layer)
    kernel_layout: Any = layout  # argparse has checked it
    pack = {name: _core.conv2d_pack_weight(shape, w, name) for name in ("forward", "backward_input")}

    def forward() -> Array:
        _core.conv2d_forward(shape, x, w, None, y, layout=kernel_layout, packed_weight=pack["forward"])
        return y

    def backward_input() -> Array:
        _core.conv2d_backward_input(shape, w, gy, gx, layout=kernel_layout, packed_weight=pack["backward_input"])
        return gx

    def backward_weight() -> Array:
        _core.conv2d_backward_weight(shape, x, gy, gw, layout=kernel_layout)
        return gw

    return {"forward": forward, "backward_input": backward_input, "backward_weight": backward_weight}


def numpy_forward(layer: Layer, arrays: Arrays) -> Array:
    """im2col and a matrix product: what people write who have only NumPy."""
    (p, q), (sh, sw), (dh, dw), (kh, kw) = layer.padding, layer.stride, layer.dilation, layer.kernel
    padded = np.pad(arrays.input, ((0, 0), (0, 0), (p, p), (q, q)))
    windows = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    windows = windows[:, :, ::sh, ::sw, ::dh, ::dw]
    n, c, oh, ow = windows.shape[:4]
    g = layer.groups
    columns = windows.reshape(n, g, c // g, oh, ow, kh, kw).transpose(1, 0, 3, 4, 2, 5, 6).reshape(g, n * oh * ow, -1)
    weights = arrays.weight.reshape(g, layer.outputs // g, -1).transpose(0, 2, 1)
    result: Array = columns @ weights
    return result.reshape(g, n, oh, ow, -1).transpose(1, 0, 4, 2, 3).reshape(n, layer.outputs, oh, ow)


def torch_calls(layer: Layer, arrays: Arrays, channels_last: bool) -> Calls:
    """PyTorch's convolution in one of its layouts, without autograd around it."""
    import torch

    memory = torch.channels_last if channels_last else torch.contiguous_format
    x, w, gy = (
        torch.from_numpy(array).contiguous(memory_format=memory)
        for array in (arrays.input, arrays.weight, arrays.grad_output)
    )
    torch.set_num_threads(fastconv.get_num_threads())
    stride, padding, dilation = list(layer.stride), list(layer.padding), list(layer.dilation)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(x, w, None, stride, padding, dilation, layer.groups)

    def backward(index: int) -> torch.Tensor:
        mask = [index == 0, index == 1, False]
        with torch.inference_mode():
            return torch.ops.aten.convolution_backward(
                gy, x, w, None, stride, padding, dilation, False, [0, 0], layer.groups, mask
            )[index]

    return {"forward": forward, "backward_input": lambda: backward(0), "backward_weight": lambda: backward(1)}


RIVALS: dict[str, Callable[[Layer, Arrays], Calls]] = {
    "torch NCHW": lambda layer, arrays: torch_calls(layer, arrays, channels_last=False),
    "torch channels_last": lambda layer, arrays: torch_calls(layer, arrays, channels_last=True),
}


def check(layer: Layer, arrays: Arrays, calls: Calls, layout: str) -> None:
    """Refuse to time what is wrong: the forward result against NumPy, the gradients by <y, gy> = <x, gx> = <w, gw>."""

    def nchw(array: Array) -> Array:
        return array if layout == "NCHW" else np.moveaxis(array, 3, 1)

    y = nchw(calls["forward"]())
    expected = numpy_forward(layer, arrays)
    eps = float(np.finfo(y.dtype).eps)
    terms = int(np.prod(layer.weight_shape[1:]))
    worst = float(np.max(np.abs(y - expected)) / np.max(np.abs(expected)))
    if not worst <= eps * (2 + terms):
        raise AssertionError(f"{layer.label}: forward is wrong, relative error {worst:.2e}")
    product = float(np.vdot(y.astype(np.float64), arrays.grad_output.astype(np.float64)))
    size = float(np.linalg.norm(y.astype(np.float64)) * np.linalg.norm(arrays.grad_output.astype(np.float64)))
    gx = nchw(calls["backward_input"]()).astype(np.float64)
    gw = calls["backward_weight"]().astype(np.float64)
    for name, value in (("backward_input", np.vdot(arrays.input, gx)), ("backward_weight", np.vdot(arrays.weight, gw))):
        if not abs(value - product) <= 100 * eps * size:
            raise AssertionError(f"{layer.label}: {name} is not the adjoint: {value} against {product}")
