"""Weights from a mapping of names to arrays: other names put right, everything judged before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from fastconv._checks.arguments import Array, describe
from fastconv.nn.parameter import Parameter

Rename: TypeAlias = Mapping[str, str | None] | Callable[[str], str | None]

_COUNTER = "num_batches_tracked"  # what PyTorch's batch norm counts, and nothing reads


def is_counter(name: str) -> bool:
    """Return whether a state holds it beside the weights, and nobody needs it."""
    return name.rpartition(".")[2] == _COUNTER


def new_name(name: str, rename: Rename | None) -> str | None:
    """Return the model's name for a state's; None: to be left out.

    A mapping holds whole names or layers: "features.0" stands for "features.0.weight" and all else under it.
    """
    if rename is None:
        return name
    if not isinstance(rename, Mapping):
        return rename(name)
    head, tail = name, ""
    while head:
        if head in rename:
            found = rename[head]
            return None if found is None else found + tail
        head, dot, last = head.rpartition(".")
        tail = dot + last + tail
    return name


def matching(
    op: str, parameters: Mapping[str, Parameter], state: Mapping[str, Any], strict: bool, rename: Rename | None
) -> dict[str, Array]:
    """Return the arrays of `state` by the model's names, or raise one ValueError that lists all that is wrong."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{op}: state must be a mapping of names to arrays, got {describe(state)}")
    if rename is not None and not isinstance(rename, Mapping) and not callable(rename):
        raise TypeError(f"{op}: rename must be a mapping, a function of a name, or 'order', got {describe(rename)}")
    origin: dict[str, str] = {}
    problems: list[str] = []
    for name in state:
        target = None if is_counter(name) else new_name(name, rename)
        if target is not None and target in origin:
            problems.append(f"{origin[target]} and {name} are both renamed to {target}")
        elif target is not None:
            origin[target] = name
    if strict:
        missing = sorted(parameters.keys() - origin.keys())
        unexpected = [origin[name] for name in sorted(origin.keys() - parameters.keys())]
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    found: dict[str, Array] = {}
    for name, parameter in parameters.items():
        if name not in origin:
            continue
        called = name if origin[name] == name else f"{name} (from {origin[name]})"
        try:
            value = np.asarray(state[origin[name]])
        except (TypeError, RuntimeError, ValueError) as error:  # torch: bfloat16, a device, a gradient
            problems.append(f"{called} must be an array, got {type(state[origin[name]]).__name__}: {error}")
            continue
        if value.shape != parameter.shape:
            problems.append(f"{called} must have shape {parameter.shape}, got {value.shape}")
        if value.dtype.kind != "f":
            problems.append(f"{called} must be floating point, got {value.dtype}")
        found[name] = value
    if problems:
        raise ValueError(f"{op}: the state does not fit; {'; '.join(problems)}")
    return found
