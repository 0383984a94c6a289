"""fastconv's side: the three passes of a layer as calls, outputs allocated in advance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np

from arrays import Array, Arrays, aligned
from fastconv import _core, ops
from shapes import Layer

Calls: TypeAlias = dict[str, Callable[[], Array]]


def geometry(layer: Layer) -> _core.Conv2dShape:
    p, q = layer.padding
    return _core.Conv2dShape(
        layer.input_shape, layer.weight_shape, layer.stride, ((p, p), (q, q)), layer.dilation, layer.groups
    )


def calls(layer: Layer, arrays: Arrays, layout: str, packed: bool, algo: str = "auto") -> Calls:
    """Results lie in `layout`. `packed` prepares the weights once, as a model does.

    A call raises ValueError where `algo` cannot do this pass of the layer.
    """

    def lay_out(array: Array) -> Array:
        return aligned(array if layout == "NCHW" else np.moveaxis(array, 1, 3))

    x, w, gy = lay_out(arrays.input), arrays.weight, lay_out(arrays.grad_output)
    y, gx, gw = aligned(gy), aligned(x), np.empty_like(w)
    if not packed:
        options: dict[str, Any] = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
            "layout": layout,
            "algo": algo,
        }
        return {
            "forward": lambda: ops.conv2d(x, w, **options, out=y),
            "backward_input": lambda: ops.conv2d_backward_input(x.shape, w, gy, **options, out=gx),
            "backward_weight": lambda: ops.conv2d_backward_weight(x, w.shape, gy, **options, out=gw),
        }
    shape = geometry(layer)
    how: dict[str, Any] = {"layout": layout, "algo": algo}
    kind: Any = algo
    pack = {}
    for name in ("forward", "backward_input"):
        with contextlib.suppress(ValueError):  # the call itself will tell that the algorithm cannot do this pass
            pack[name] = _core.conv2d_pack_weight(shape, w, cast(Any, name), algo=kind)

    def forward() -> Array:
        _core.conv2d_forward(shape, x, w, None, y, packed_weight=pack.get("forward"), **how)
        return y

    def backward_input() -> Array:
        _core.conv2d_backward_input(shape, w, gy, gx, packed_weight=pack.get("backward_input"), **how)
        return gx

    def backward_weight() -> Array:
        _core.conv2d_backward_weight(shape, x, gy, gw, **how)
        return gw

    return {"forward": forward, "backward_input": backward_input, "backward_weight": backward_weight}


def algorithm(layer: Layer, pass_name: str, dtype: str, layout: str, algo: str) -> str:
    """The road that the library takes."""
    names: Any = (pass_name, dtype)
    options: dict[str, Any] = {"layout": layout, "algo": algo}
    return _core.conv2d_explain(geometry(layer), *names, **options)["algorithm"]


def as_oracle_layout(pass_name: str, result: Array, layout: str) -> Array:
    """NCHW, or OIHW as it is."""
    return result if layout == "NCHW" or pass_name == "backward_weight" else np.moveaxis(result, 3, 1)
