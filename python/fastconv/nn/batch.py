"""The checks of what a caller hands to a model: inputs and targets, in order or by name, and losses for them.

Arrays that lie on the model's GPU stay there: such a batch is a list of `fastconv.cuda.arrays.View`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv._checks import arguments
from fastconv._checks.arguments import Layout
from fastconv._checks.gpu import is_on_gpu
from fastconv.losses import Loss
from fastconv.nn.device import CPU, Device
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Graph, Node

Arrays: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]


def in_order(what: str, argument: str, given: Any, names: Sequence[str | None], kind: str) -> Any:
    """Return what a mapping holds for each of the named inputs or outputs, as a tuple; all but mappings pass.

    Names that are not in the mapping give None.
    """
    if not isinstance(given, Mapping):
        return given
    for place, name in enumerate(names):
        if name is None:
            why = "an input is named by Input(..., name=)" if kind == "input" else "its layer is used several times"
            raise ValueError(
                f"Model.{what}: {kind} {place} has no name ({why}), so {argument} must be a sequence, got a mapping"
            )
    unknown = [str(name) for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"Model.{what}: {argument} must name {kind}s among {', '.join(map(str, names))}, got {', '.join(unknown)}"
        )
    return tuple(given.get(name) for name in names)


def inputs_in_order(what: str, x: Any, graph: Graph) -> Any:
    """Return the arrays of a mapping by input name as a tuple; everything else passes."""
    ordered = in_order(what, "x", x, [node.name for node in graph.inputs], "input")
    if isinstance(x, Mapping) and any(array is None for array in ordered):
        missing = [str(node.name) for node, array in zip(graph.inputs, ordered, strict=True) if array is None]
        raise ValueError(f"Model.{what}: x must hold an array for each input, it lacks {', '.join(missing)}")
    return ordered


def targets_in_order(what: str, y: Any, graph: Graph, losses: Sequence[Loss | None]) -> Any:
    """Return the arrays of a mapping by output name, those with a loss, as a tuple; everything else passes."""
    if not isinstance(y, Mapping):
        return y
    names = graph.output_names()
    ordered = in_order(what, "y", y, names, "output")
    wanted = [loss is not None for loss in losses]
    wrong = [str(name) for name, array, want in zip(names, ordered, wanted, strict=True) if (array is not None) != want]
    if wrong:
        raise ValueError(
            f"Model.{what}: y must hold an array for each output with a loss and no other, see {', '.join(wrong)}"
        )
    return tuple(array for array in ordered if array is not None)


def _wanted(node: Node, layout: Layout) -> str:
    """How the array for an input has to look."""
    if node.shape is None:
        return "(N, C, H, W) or (N, F)" if layout == "NCHW" else "(N, H, W, C) or (N, F)"
    shape = node.shape if layout == "NCHW" or len(node.shape) == 1 else (*node.shape[1:], node.shape[0])
    return f"(N, {', '.join(map(str, shape))})"


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or is_on_gpu(value)


def _checked_places(what: str, name: str, arrays: Sequence[Any], device: Device) -> bool:
    """Return whether the arrays lie on the GPU, where all of them must then, and the model too."""
    places = [is_on_gpu(array) for array in arrays]
    if not any(places):
        return False
    got = arguments.describe(arrays[places.index(True)])
    if not device.on_gpu:
        raise TypeError(
            f"Model.{what}: {name} must be a numpy.ndarray while the model is on the CPU, got {got} on a GPU; call "
            f'model.to("cuda"), or copy the array to host memory'
        )
    if not all(places):
        raise TypeError(f"Model.{what}: {name} must lie all on the GPU or all in host memory, got {got} among others")
    return True


def check_inputs(
    what: str, x: Arrays, graph: Graph, layout: Layout, device: Device = CPU
) -> tuple[list[Any], list[Shape]]:
    """Return one array for each input of the graph, and their logical shapes."""
    x = inputs_in_order(what, x, graph)
    arrays: Any = [x] if _is_array(x) else x
    on_gpu = isinstance(arrays, list | tuple) and _checked_places(what, "x", arrays, device)
    if not on_gpu and (
        not isinstance(arrays, list | tuple) or any(type(array) not in (np.ndarray, np.memmap) for array in arrays)
    ):
        got = arguments.describe(x)
        raise TypeError(f"Model.{what}: x must be a numpy.ndarray, or a list of one for each input, got {got}")
    if len(arrays) != len(graph.inputs):
        raise ValueError(f"Model.{what}: x must hold {len(graph.inputs)} arrays, got {len(arrays)}")
    if on_gpu:
        names = [graph.input_name(node) for node in graph.inputs]
        arrays = [device.look(f"Model.{what}", name, array) for name, array in zip(names, arrays, strict=True)]
    shapes: list[Shape] = []
    for node, array in zip(graph.inputs, arrays, strict=True):
        name = graph.input_name(node)
        if on_gpu:
            if array.dtype != "float32":
                raise TypeError(f"Model.{what}: {name} must be float32 on a GPU, got {array.dtype}")
        elif array.dtype.kind not in "biuf":
            raise TypeError(f"Model.{what}: {name} must hold numbers, got {array.dtype}")
        shape = arguments.logical_shape(array.shape, layout) if len(array.shape) == 4 else array.shape
        if len(shape) not in (2, 4) or (node.shape is not None and shape[1:] != node.shape):
            raise ValueError(f"Model.{what}: {name} must have shape {_wanted(node, layout)}, got {array.shape}")
        if shapes and shape[0] != shapes[0][0]:
            raise ValueError(f"Model.{what}: inputs must have one N, got {shapes[0][0]} and {shape[0]}")
        shapes.append(shape)
    if on_gpu:
        arrays = [as_it_is_read(f"Model.{what}", array, layout) for array in arrays]
    return list(arrays), shapes


def as_it_is_read(op: str, array: Any, layout: Layout) -> Any:
    """An array on the GPU with images as (N, H, W, C): contiguous, or else a kernel turns it."""
    last = array.permuted(0, 2, 3, 1) if len(array.shape) == 4 and layout == "NCHW" else array
    if not (last.contiguous or array.contiguous):
        raise ValueError(
            f"{op}: {array.name} must be C-contiguous or channels-last on a GPU, got strides {array.strides} "
            f"(elements) for shape {array.shape}"
        )
    return last


def check_targets(
    what: str,
    y: Arrays,
    graph: Graph,
    losses: Sequence[Loss | None],
    batch: int,
    device: Device = CPU,
    on_gpu: bool = False,
) -> list[Any]:
    """Return one target for each output that has a loss; the losses check what is in them.

    `on_gpu`: the inputs lie on the GPU, and so must these.
    """
    y = targets_in_order(what, y, graph, losses)
    count = sum(loss is not None for loss in losses)
    several = isinstance(y, list | tuple) and all(_is_array(target) for target in y)
    one = _is_array(y) or (count == 1 and not several)
    if not one and not isinstance(y, list | tuple):
        raise TypeError(f"Model.{what}: y must be a tuple of arrays, one for each loss, got {arguments.describe(y)}")
    targets: list[Any] = [y] if one else list(y)
    if len(targets) != count:
        raise ValueError(f"Model.{what}: y must hold {count} arrays, one for each loss, got {len(targets)}")
    if _checked_places(what, "y", targets, device) != on_gpu:
        places = ("on the GPU", "in host memory") if on_gpu else ("in host memory", "on the GPU")
        raise TypeError(f"Model.{what}: x and y must lie in one place, got x {places[0]} and y {places[1]}")
    for target in targets:
        if _is_array(target) and (len(target.shape) == 0 or target.shape[0] != batch):
            raise ValueError(f"Model.{what}: x and y must have one N, got {batch} and {tuple(target.shape)}")
    return [device.look(f"Model.{what}", "y", target) for target in targets] if on_gpu else targets


def run_in_slices(step: Callable[[Any], Any], x: Any, batch_size: int, device: Device = CPU) -> Any:
    """Return what `step` gives for slices of `batch_size` samples, put together: one array, or a tuple of them.

    `device` puts parts together that lie on a GPU.
    """
    several = isinstance(x, list | tuple)
    arrays: Sequence[NDArray[Any]] = x if several else [x]
    count = int(arrays[0].shape[0])
    results: list[Any] = []
    parts: Any = ()
    for begin in range(0, max(count, 1), batch_size):
        rows = slice(begin, begin + batch_size)
        parts = step([array[rows] for array in arrays] if several else x[rows])
        found = parts if isinstance(parts, tuple) else (parts,)
        if count <= batch_size:
            return parts
        if not results:
            host = all(isinstance(part, np.ndarray) for part in found)
            results = [(CPU if host else device).whole(count, part) for part in found]
        for into, part in zip(results, found, strict=True):
            (CPU if host else device).write_rows(into, begin, part)
    return tuple(results) if isinstance(parts, tuple) else results[0]
