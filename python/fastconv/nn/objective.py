"""What `Model.gradients` differentiates: a sum of terms, each a scalar function of one output or inner map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv import losses
from fastconv._checks import arguments
from fastconv._checks.arguments import Array, Layout
from fastconv.losses import Loss
from fastconv.nn.graph import Node
from fastconv.nn.network import Network
from fastconv.nn.program import loss_node

Point: TypeAlias = str | Node
ScalarFunction: TypeAlias = Callable[[Array], tuple[float, Array]]
Term: TypeAlias = (
    int | tuple[int, ...] | NDArray[Any] | tuple[str | Loss, NDArray[Any]] | tuple[str | Loss, NDArray[Any], float]
    | ScalarFunction | None
)  # fmt: skip
Objective: TypeAlias = Point | Mapping[Point, Term] | Sequence[tuple[Point, Term]]

_FORMS = (
    "None (the sum), an index (channel, or (c, y, x) of a unit), an array of gradients, (loss, target), "
    "(loss, target, weight), or a function of the map that returns (value, gradient)"
)


def terms(network: Network, of: Objective) -> list[tuple[Node, Any]]:
    """Return the nodes and what is wanted of each; indices and losses are checked, shapes when arrays are there."""
    if isinstance(of, str | Node):
        return [(network.point("gradients: of", of), None)]
    pairs = list(of.items()) if isinstance(of, Mapping) else of
    if not isinstance(pairs, list | tuple) or any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise TypeError(
            f"Model.gradients: of must be a name, a mapping of names to terms, or a list of (name, term), got {of!r}"
        )
    if not pairs:
        raise ValueError("Model.gradients: of must hold at least one term, got none")
    found: list[tuple[Node, Any]] = []
    for point, term in pairs:
        node = network.point("gradients: of", point)
        where = f"Model.gradients: the term at {network.graph.label(node)}"
        if isinstance(term, tuple) and not term:
            raise ValueError(f"{where} must be {_FORMS}; got ()")
        if isinstance(term, tuple) and isinstance(term[0], str | Loss):
            if len(term) not in (2, 3):
                raise ValueError(f"{where} must be (loss, target) or (loss, target, weight), got {len(term)} things")
            loss = losses.get(term[0])
            node = loss_node(node, loss) or node
            weight = 1.0 if len(term) == 2 else _finite(where, term[2])
            found.append((node, (loss, term[1], weight)))
        elif isinstance(term, tuple):
            found.append((node, tuple(arguments.integer(where, f"index[{k}]", index) for k, index in enumerate(term))))
        elif isinstance(term, np.ndarray) or term is None or (callable(term) and not isinstance(term, Loss)):
            found.append((node, term))
        elif isinstance(term, int | np.integer) and not isinstance(term, bool):
            found.append((node, (int(term),)))
        else:
            raise TypeError(f"{where} must be {_FORMS}; got {arguments.describe(term)}")
    return found


def _finite(where: str, weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float | np.integer | np.floating):
        raise TypeError(f"{where}: weight must be a number, got {arguments.describe(weight)}")
    if not np.isfinite(weight):
        raise ValueError(f"{where}: weight must be finite, got {weight}")
    return float(weight)


def add_term(name: str, term: Any, value: Array, grad: Array, layout: Layout) -> float:
    """Return a term's value and add its gradient to `grad`; `value` and `grad` are views, (N, C, H, W) or (N, F)."""
    where = f"Model.gradients: the term at {name}"
    if term is None:
        grad += 1
        return float(np.sum(value, dtype=np.float64))
    if isinstance(term, tuple) and not isinstance(term[0], Loss):
        return _add_unit(where, term, value, grad)
    outside = value if value.ndim < 4 or layout == "NCHW" else np.moveaxis(value, 1, -1)
    inside = grad if grad.ndim < 4 or layout == "NCHW" else np.moveaxis(grad, 1, -1)
    given: Any
    if isinstance(term, tuple):
        loss, target, weight = term
        if isinstance(target, np.ndarray) and target.ndim == 4 and layout == "NHWC":
            target = np.moveaxis(target, -1, 1)
        found, given = loss.with_grad(np.ascontiguousarray(value), target)
        grad += weight * given
        return float(weight * found)
    if isinstance(term, np.ndarray):
        found, given = None, term
    else:
        result = term(outside.copy(order="C"))
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{where}: the function must return (value, gradient), got {arguments.describe(result)}")
        found, given = result
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biuf":
        raise TypeError(f"{where}: the gradient must be an array of numbers, got {arguments.describe(given)}")
    if given.shape != inside.shape:
        raise ValueError(f"{where}: the gradient must have the map's shape {inside.shape}, got {given.shape}")
    np.add(inside, given, out=inside, casting="unsafe")
    return float(np.vdot(given, outside)) if found is None else float(found)


def _add_unit(where: str, index: tuple[int, ...], value: Array, grad: Array) -> float:
    """The sum over the batch (and, for a channel, over its pixels) of value[:, index]."""
    sample = value.shape[1:]
    if not index or len(index) > len(sample):
        raise ValueError(f"{where}: index must have 1 to {len(sample)} numbers, got {index}")
    for at, size in zip(index, sample, strict=False):
        if not -size <= at < size:
            raise ValueError(f"{where}: index must lie inside a map of shape {sample}, got {index}")
    place: tuple[Any, ...] = (slice(None), *index)
    grad[place] += 1
    return float(np.sum(value[place], dtype=np.float64))
