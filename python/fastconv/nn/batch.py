"""The checks of what a caller hands to a model: one batch of inputs, and of targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv.losses import Loss
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Graph, Node
from fastconv.ops import arguments
from fastconv.ops.arguments import Layout

Arrays: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]]


def _wanted(node: Node, layout: Layout) -> str:
    """How the array for an input has to look."""
    if node.shape is None:
        return "(N, C, H, W) or (N, F)" if layout == "NCHW" else "(N, H, W, C) or (N, F)"
    shape = node.shape if layout == "NCHW" or len(node.shape) == 1 else (*node.shape[1:], node.shape[0])
    return f"(N, {', '.join(map(str, shape))})"


def check_inputs(what: str, x: Arrays, graph: Graph, layout: Layout) -> tuple[list[NDArray[Any]], list[Shape]]:
    """Return one array for each input of the graph, and their logical shapes."""
    arrays = [x] if isinstance(x, np.ndarray) else x
    if not isinstance(arrays, list | tuple) or any(type(array) not in (np.ndarray, np.memmap) for array in arrays):
        got = arguments.describe(x)
        raise TypeError(f"Model.{what}: x must be a numpy.ndarray, or a list of one for each input, got {got}")
    if len(arrays) != len(graph.inputs):
        raise ValueError(f"Model.{what}: x must hold {len(graph.inputs)} arrays, got {len(arrays)}")
    shapes: list[Shape] = []
    for node, array in zip(graph.inputs, arrays, strict=True):
        name = graph.input_name(node)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"Model.{what}: {name} must hold numbers, got {array.dtype}")
        shape = arguments.logical_shape(array.shape, layout) if array.ndim == 4 else array.shape
        if len(shape) not in (2, 4) or (node.shape is not None and shape[1:] != node.shape):
            raise ValueError(f"Model.{what}: {name} must have shape {_wanted(node, layout)}, got {array.shape}")
        if shapes and shape[0] != shapes[0][0]:
            raise ValueError(f"Model.{what}: inputs must have one N, got {shapes[0][0]} and {shape[0]}")
        shapes.append(shape)
    return list(arrays), shapes


def check_targets(what: str, y: Arrays, losses: Sequence[Loss | None], batch: int) -> list[NDArray[Any]]:
    """Return one target for each output that has a loss; the losses check what is in them."""
    count = sum(loss is not None for loss in losses)
    targets: list[Any] = [y] if isinstance(y, np.ndarray) or count == 1 else list(y)
    if len(targets) != count:
        raise ValueError(f"Model.{what}: y must hold {count} arrays, one for each loss, got {len(targets)}")
    for target in targets:
        if isinstance(target, np.ndarray) and (target.ndim == 0 or len(target) != batch):
            raise ValueError(f"Model.{what}: x and y must have one N, got {batch} and {target.shape}")
    return targets
