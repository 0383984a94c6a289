"""Receptive fields: which pixels of the input a unit of an inner map has seen.

Walks back from the unit: row y of a window layer reads the rows y*stride - pad + k*dilation, k = 0 to kernel - 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastconv.nn import Model
    from fastconv.nn.graph import Node

__all__ = ["receptive_field", "show_receptive_fields"]

Lines = NDArray[np.int64]  # which rows, or columns, in order
_MIXES_PIXELS = ("group_norm", "layer_norm")


def receptive_field(model: Model, layer: str, position: tuple[int, int] | None = None) -> tuple[int, int, int, int]:
    """Return the part of the input that a unit depends on.

    Parameters
    ----------
    model
        With one input (C, H, W) of known size.
    layer
        Name of the layer; one whose output has no rows and columns sees the whole image.
    position
        (row, column) of the unit. Default: the middle of the map.

    Returns
    -------
    tuple of int
        (top, left, height, width), inside the image.
    """
    (source,) = model.graph.inputs
    shape = source.shape
    if shape is None or len(shape) != 3:
        raise ValueError(f"receptive_field: the model's input must be (C, H, W) of known size, got {shape}")
    shapes = model.graph.infer_shapes([shape])
    target = model.node(layer)
    if len(shapes[target]) != 3:
        return 0, 0, shape[1], shape[2]
    size = shapes[target][1:]
    if position is None:
        position = (size[0] // 2, size[1] // 2)
    if not (0 <= position[0] < size[0] and 0 <= position[1] < size[1]):
        raise ValueError(f"receptive_field: position must lie in the {size[0]} x {size[1]} map, got {position}")
    seen: dict[Node, list[Lines]] = {target: [np.array([position[0]]), np.array([position[1]])]}
    for node in reversed(model.graph.nodes):
        if node not in seen or node.layer is None:
            continue
        for before in node.inputs:
            if len(shapes[before]) != 3:
                continue
            needed = [_read(node.layer, axis, seen[node][axis], shapes[before], shapes[node]) for axis in (0, 1)]
            known = seen.setdefault(before, needed)
            seen[before] = [np.union1d(a, b) for a, b in zip(known, needed, strict=True)]
    rows, columns = seen[source]
    if not (rows.size and columns.size):
        return 0, 0, 0, 0  # it sees padding only
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def _read(layer: Any, axis: int, wanted: Lines, before: tuple[int, ...], after: tuple[int, ...]) -> Lines:
    """Return the rows (columns) of a layer's input that those of its output depend on."""
    size = before[1 + axis]
    if len(after) != 3 or layer.kind in _MIXES_PIXELS:
        return np.arange(size)
    if hasattr(layer, "geometry"):
        geometry = layer.geometry(1, before)
        if getattr(geometry, "output_shape", (0, 0, 0, 0))[2:] == after[1:]:
            first = wanted * geometry.stride[axis] - geometry.padding[axis][0]
            taps = np.arange(layer.kernel_size[axis]) * geometry.dilation[axis]
            lines = np.unique(first[:, None] + taps)
            return lines[(lines >= 0) & (lines < size)]
    if before[1:] == after[1:]:
        return wanted
    if after[1 + axis] % size == 0:  # upsampling; one more on each side where it interpolates
        more = 0 if getattr(layer, "mode", "nearest") == "nearest" else 1
        lines = np.unique(wanted[:, None] // (after[1 + axis] // size) + np.arange(-more, more + 1))
        return lines[(lines >= 0) & (lines < size)]
    return np.arange(size)


def show_receptive_fields(model: Model, image: NDArray[Any] | None = None) -> Figure:
    """Draw the receptive field of the middle unit of each layer that has one, over an image.

    Parameters
    ----------
    model
        As for `receptive_field`.
    image
        (C, H, W), C = 1 or 3, of the input's size. Default: none, only frames.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.patches import Rectangle

    (source,) = model.graph.inputs
    names = [
        name for name in model.layers if len(model.graph.infer_shapes([source.shape or ()])[model.node(name)]) == 3
    ]
    fields = {name: receptive_field(model, name) for name in names}
    _, height, width = source.shape or (0, 1, 1)
    figure = new_figure(7.5, 5.5 * height / width + 0.5)
    axes = figure.subplots()
    if image is None:
        axes.imshow(np.ones((height, width)), cmap="gray", vmin=0, vmax=1)
    else:
        picture = image[0] if image.shape[0] == 1 else np.clip(image.transpose(1, 2, 0), 0, 1)
        axes.imshow(picture, cmap="gray")
    colours = [f"C{index % 10}" for index in range(len(fields))]
    for colour, (name, (top, left, rows, columns)) in zip(colours, fields.items(), strict=True):
        frame = Rectangle(
            (left - 0.5, top - 0.5),
            columns,
            rows,
            fill=False,
            color=colour,
            linewidth=2,
            label=f"{name}: {rows} x {columns}",
        )
        axes.add_patch(frame)
    axes.set_title("what the middle unit of each layer sees")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    return figure
