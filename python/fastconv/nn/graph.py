"""The static graph: symbolic inputs, nodes (a layer used once), and the Graph between inputs and outputs.

A node is made after its inputs, so that a cycle can only come from changing one by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastconv._checks import arguments
from fastconv.nn.frame import Shape

if TYPE_CHECKING:
    from fastconv.nn.layer import Layer


class Node:
    """One use of a layer in a graph, and the value that comes out of it; `layer` is None for an input.

    Attributes
    ----------
    layer : Layer or None
    inputs : tuple of Node
    shape : tuple of int or None
        Without batch, (C, H, W) or (F,). None while it depends on the data.
    name : str or None
        Name of an input; other nodes are called as their layer.
    """

    __slots__ = ("inputs", "layer", "name", "shape")

    def __init__(
        self, layer: Layer | None, inputs: Sequence[Node], shape: Shape | None = None, name: str | None = None
    ):
        self.layer = layer
        self.inputs = tuple(inputs)
        self.name = name
        shapes = [node.shape for node in self.inputs if node.shape is not None]
        if layer is not None and len(shapes) == len(self.inputs):
            layer.build(*shapes)
            shape = _infer_shape(layer, shapes, self.inputs, lambda node: node.label)
        self.shape: Shape | None = shape

    @property
    def label(self) -> str:
        """How errors call it before it is part of a graph."""
        if self.layer is not None:
            return self.layer.label
        return "input" if self.name is None else f"input {self.name!r}"

    def __repr__(self) -> str:
        what = "input" if self.layer is None else self.layer.label
        return f"<Node {what} {'of unknown shape' if self.shape is None else self.shape}>"


def _infer_shape(layer: Layer, shapes: Sequence[Shape], inputs: Sequence[Node], label: Callable[[Node], str]) -> Shape:
    """`layer.infer_shape`; what is wrong with branches that meet is told with their names."""
    try:
        return layer.infer_shape(*shapes)
    except ValueError as error:
        if len(shapes) == 1:
            raise
        branches = (f"branch {k} is {label(node)}" for k, node in enumerate(inputs))
        raise ValueError(f"{error} ({', '.join(branches)})") from None


def Input(shape: Sequence[int] | None = None, name: str | None = None) -> Node:
    """Return a symbolic input.

    Parameters
    ----------
    shape : tuple of int, optional
        Shape of one sample: (C, H, W) or (F,). Without it the model is built when it sees its first batch.
    name : str, optional
        Name in tables and errors.

    Returns
    -------
    Node
        Call layers on it.
    """
    if shape is None:
        return Node(None, (), None, name)
    if not isinstance(shape, tuple | list) or len(shape) not in (1, 3):
        raise ValueError(f"Input: shape must be (C, H, W) or (F,), without the batch, got {shape!r}")
    sizes = tuple(arguments.integer("Input", f"shape[{axis}]", size) for axis, size in enumerate(shape))
    if min(sizes) < 1:
        raise ValueError(f"Input: sizes must be positive, got {sizes}")
    return Node(None, (), sizes, name)


class Graph:
    """The nodes between `inputs` and `outputs`, in an order in which they can run."""

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        for what, nodes in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not nodes:
                raise ValueError(f"Model: {what} must hold at least one node")
            for node in nodes:
                if not isinstance(node, Node):
                    raise TypeError(f"Model: {what} must be nodes, got {arguments.describe(node)}")
        if any(node.layer is not None for node in self.inputs) or len(set(self.inputs)) < len(self.inputs):
            raise ValueError("Model: inputs must be different nodes made by Input(...)")
        self.nodes = self._order()
        self.layers = list(dict.fromkeys(node.layer for node in self.nodes if node.layer is not None))
        self.names = self._name_layers()

    def _order(self) -> tuple[Node, ...]:
        """Depth first without recursion: a network may be thousands of layers deep."""
        done: dict[Node, None] = {}
        entered: set[Node] = set()
        stack = [(node, False) for node in reversed(self.outputs)]
        while stack:
            node, ready = stack.pop()
            if ready:
                done.setdefault(node)
            elif node in entered and node not in done:
                raise ValueError(f"Model: the graph must have no cycle, got a {node.label} that depends on itself")
            elif node not in done:
                entered.add(node)
                stack.append((node, True))
                stack.extend((before, False) for before in reversed(node.inputs))
        declared = set(self.inputs)
        for node in done:
            if node.layer is None and node not in declared:
                raise ValueError(f"Model: outputs depend on {self.input_name(node)}, which is not among the inputs")
        for node in self.inputs:
            if node not in done:
                raise ValueError(f"Model: no output depends on {self.input_name(node)}")
        return tuple(done)

    def input_name(self, node: Node) -> str:
        where = f" {self.inputs.index(node)}" if node in self.inputs else ""
        return f"input{where}" if node.name is None else f"input {node.name!r}"

    def label(self, node: Node) -> str:
        """How errors call a node of this graph."""
        if node.layer is None:
            return self.input_name(node)
        uses = [other for other in self.nodes if other.layer is node.layer]
        use = "" if len(uses) == 1 else f", use {uses.index(node) + 1} of {len(uses)}"
        return repr(self.names[node.layer]) + use

    def output_names(self) -> tuple[str | None, ...]:
        """Return the name of each output, that of its layer; None for an input, or one of several uses of a layer."""
        uses = Counter(node.layer for node in self.nodes)
        return tuple(
            self.names[node.layer] if node.layer is not None and uses[node.layer] == 1 else None
            for node in self.outputs
        )

    def _name_layers(self) -> dict[Layer, str]:
        """Own names first, then kind and number."""
        names: dict[Layer, str] = {}
        taken: set[str] = set()
        for layer in self.layers:
            if layer.name is not None:
                if layer.name in taken:
                    raise ValueError(f"Model: two layers are called {layer.name!r}; names must differ")
                taken.add(layer.name)
        counts: dict[str, int] = {}
        for layer in self.layers:
            name = layer.name
            while name is None:
                counts[layer.kind] = counts.get(layer.kind, 0) + 1
                candidate = f"{layer.kind}_{counts[layer.kind]}"
                name = None if candidate in taken else candidate
            names[layer] = name
        return names

    def consumers(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if node in other.inputs]

    def infer_shapes(self, input_shapes: Sequence[Shape]) -> dict[Node, Shape]:
        """Return every node's shape, without batch, for these inputs; creates parameters that are still missing."""
        shapes = dict(zip(self.inputs, input_shapes, strict=True))
        for node in self.nodes:
            if node.layer is not None:
                before = [shapes[source] for source in node.inputs]
                node.layer.build(*before)
                shapes[node] = _infer_shape(node.layer, before, node.inputs, self.label)
        return shapes
