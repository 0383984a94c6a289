"""Whose weights are whose: layers of a model and modules of a PyTorch state dict, matched in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.nn import Layer, Model

__all__ = ["torch_names"]

Shapes = dict[str, tuple[int, ...]]


def torch_names(model: Model, state: Mapping[str, Any]) -> dict[str, str]:
    """Match the modules of a state dict with the layers of a model, first with first and so on.

    Layers without parameters do not count. The modules stand in the order of the mapping, which in PyTorch is the order
    in which they were made. A file knows no order but the alphabet's: where siblings stand in it they are taken by
    their numbers, 2 before 10. Look at the result where two layers of one shape could be meant.

    Parameters
    ----------
    model : fastconv.nn.Model
        Built: its input's shape is known.
    state : mapping of str to array
        What `module.state_dict()` returned, or `fastconv.io.load_file` read. ``num_batches_tracked`` is passed over.

    Returns
    -------
    dict
        Name of a module to name of a layer: ``{"features.0": "conv2d_1", ...}``, for `rename` of
        `Model.load_state_dict`, where ``rename="order"`` is short for it.

    Raises
    ------
    ValueError
        When the numbers of layers differ, or a layer's parameters have other names or shapes; lists them.
    """
    return match_layers(model.layers, state)


def match_layers(all_layers: Mapping[str, Layer], state: Mapping[str, Any]) -> dict[str, str]:
    """`torch_names` for layers by name."""
    from fastconv.nn.state import is_counter

    if not isinstance(state, Mapping):
        raise TypeError(f"torch_names: state must be a mapping of names to arrays, got {type(state).__name__}")
    layers = {
        name: {role: parameter.shape for role, parameter in layer.parameters().items()}
        for name, layer in all_layers.items()
        if layer.parameters()
    }
    modules: dict[str, Shapes] = {}
    for name in _in_order([name for name in state if not is_counter(name)]):
        module, _, role = name.rpartition(".")
        modules.setdefault(module, {})[role] = tuple(getattr(state[name], "shape", ()))
    if len(layers) != len(modules):
        raise ValueError(
            f"torch_names: the state must hold {len(layers)} modules with parameters, as the model holds layers "
            f"({', '.join(layers)}), got {len(modules)} ({', '.join(modules)})"
        )
    pairs = list(zip(modules, layers, strict=True))
    wrong = [
        f"{module} with {_describe(modules[module])} for {layer} with {_describe(layers[layer])}"
        for module, layer in pairs
        if modules[module] != layers[layer]
    ]
    if wrong:
        raise ValueError(f"torch_names: modules and layers do not match in order; got {'; '.join(wrong)}")
    return dict(pairs)


def _describe(shapes: Shapes) -> str:
    return ", ".join(f"{role} {shape}" for role, shape in shapes.items())


def _in_order(names: list[str]) -> list[str]:
    """Return the names grouped by module; where siblings stand in the alphabet's order, by their numbers."""
    tree: dict[str, Any] = {}
    for name in names:
        branch = tree
        for part in name.split("."):
            branch = branch.setdefault(part, {})
    return _walk(tree, "")


def _walk(tree: dict[str, Any], prefix: str) -> list[str]:
    parts = list(tree)
    if parts == sorted(parts):
        parts.sort(key=_by_number)
    found: list[str] = []
    for part in parts:
        found += _walk(tree[part], f"{prefix}{part}.") if tree[part] else [prefix + part]
    return found


def _by_number(part: str) -> list[tuple[bool, int, str]]:
    """Split "conv10" into text and number, so that it comes behind "conv2"."""
    pieces = [piece for piece in re.split(r"(\d+)", part) if piece]
    return [(not piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in pieces]
