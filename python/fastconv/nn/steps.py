"""From a graph to a list of steps for one shape, and the fusion of neighbours.

Inside, images lie channels-last; the model's edges are views that say NCHW again, so that copying a batch in or a
result out is the conversion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from fastconv._checks.arguments import memory_shape
from fastconv._config import Algorithm
from fastconv.nn.activation import ReLU
from fastconv.nn.arena import Slot
from fastconv.nn.device import CPU, Device
from fastconv.nn.folding import Foldable
from fastconv.nn.frame import Frame, Needs, Shape
from fastconv.nn.graph import Graph, Node
from fastconv.nn.layer import Layer


@dataclass(eq=False)
class Value:
    """What a node computes: one array, and perhaps its gradient.

    Attributes
    ----------
    kept : bool
        Read after the run: a model's output, a loss's input, a feature map someone asked for.
    keeps_grad : bool
        Its gradient is read after the run.
    requires_grad : bool
        A parameter to be trained, or a value whose gradient is kept, lies behind it.
    """

    shape: Shape  # logical, with the batch
    kept: bool = False
    keeps_grad: bool = False
    requires_grad: bool = False
    slot: Slot = field(init=False)
    grad: Slot | None = None

    @property
    def memory(self) -> Shape:
        return memory_shape(self.shape, "NHWC") if len(self.shape) == 4 else self.shape


@dataclass(eq=False)
class Step:
    """A layer used once: its frame, its values, and where the frame's arrays will lie."""

    layer: Layer
    frame: Frame
    inputs: list[Value]
    output: Value
    needs: Needs = field(default_factory=Needs)
    buffers: dict[str, Slot] = field(default_factory=dict)
    grad_output: Slot | None = None  # None: no backward
    grad_inputs: list[Slot | None] = field(default_factory=list)
    before_backward: list[Transfer] = field(default_factory=list)
    after_backward: list[Transfer] = field(default_factory=list)

    @property
    def shares_grad(self) -> bool:
        """Whether every grad_input is grad_output, byte for byte."""
        return self.layer.passes_grad or self.layer.is_view(self.frame)

    @property
    def kernel_bytes(self) -> tuple[int, int]:
        """Bytes that the kernels borrow while they run, packed weights among them, and those of the packed weights."""
        return self.layer.kernel_bytes(self.frame)


@dataclass(frozen=True)
class Transfer:
    """Copy a gradient to another place, or add it to what is there."""

    source: Slot
    target: Slot
    add: bool


@dataclass(frozen=True)
class Mode:
    """How a program runs: what it computes beside the outputs."""

    training: bool = False
    with_backward: bool = False
    with_parameters: bool = True  # backward computes the parameters' gradients
    algo: Algorithm = "auto"  # of convolutions that do not choose for themselves
    keep: tuple[Node, ...] = ()  # feature maps to be read after the run
    keep_grad: tuple[Node, ...] = ()  # nodes whose gradient is to be read
    seeds: tuple[Node, ...] = ()  # nodes at which a gradient is given from outside
    loss_weights: tuple[float, ...] = ()  # one for each loss; none at all: 1


def lower(
    graph: Graph,
    input_shapes: Sequence[Shape],
    dtype: np.dtype[Any],
    mode: Mode,
    kept: Collection[Node],
    generator: np.random.Generator,
    device: Device = CPU,
) -> tuple[list[Step], dict[Node, Value]]:
    """Return the steps of the graph for these input shapes (with batch), and the value of every node."""
    batch = input_shapes[0][0]
    shapes = graph.infer_shapes([shape[1:] for shape in input_shapes])
    values: dict[Node, Value] = {}
    steps: list[Step] = []
    for node in graph.nodes:
        value = Value((batch, *shapes[node]), kept=node in kept, keeps_grad=node in mode.keep_grad)
        value.requires_grad = value.keeps_grad
        values[node] = value
        if node.layer is None:
            continue
        inputs = [values[source] for source in node.inputs]
        value.requires_grad |= (mode.with_parameters and node.layer.trainable) or any(
            source.requires_grad for source in inputs
        )
        frame = Frame(
            input_shapes=tuple(source.shape for source in inputs),
            output_shape=value.shape,
            dtype=dtype,
            training=mode.training,
            with_backward=mode.with_backward,
            with_parameters=mode.with_parameters,
            activation=node.layer.activation,
            algo=mode.algo,
            generator=generator,
            device=device,
            index=len(steps),
        )
        steps.append(Step(node.layer, frame, inputs, value))
    return steps, values


def fuse(steps: Sequence[Step]) -> list[Step]:
    """Fuse a ReLU into the layer before it, a max pool into a convolution, and a ReLU's backward mask into a max pool.

    In a run without backward a batch norm that uses its running statistics is folded into the weights before it.

    A gradient that a max pool sends back comes from maxima; where such a maximum is not positive the ReLU before the
    pool was closed. So the mask is applied to the pooled gradient, and the convolution's output isn't read again.
    """
    readers = Counter(source for step in steps for source in step.inputs)
    producers: dict[Value, Step] = {}
    fused: list[Step] = []
    for step in steps:
        source = step.inputs[0]
        before = producers.get(source)
        alone = before is not None and readers[source] == 1 and not source.kept and not source.keeps_grad
        if before is not None and alone and _takes_norm(before.frame, before.layer, step):
            before.frame.norm = cast(Foldable, step.layer)
            before.frame.activation = step.frame.activation
            before.output = step.output
            producers[step.output] = before
            continue
        if before is not None and alone and before.layer.fuses_relu:
            if isinstance(step.layer, ReLU) and before.frame.activation == "none":
                before.frame.activation = "relu"
                before.output = step.output
                producers[step.output] = before
                continue
            if step.layer.halves_maps and not step.frame.with_backward and before.layer.fuses_max_pool(before.frame):
                before.frame.max_pool = True
                before.frame.output_shape = step.frame.output_shape
                before.output = step.output  # not a producer any more: nothing else can be fused into it
                continue
            if step.layer.can_mask_grad and before.frame.activation == "relu" and step.layer.masks_grad_of(step.frame):
                step.frame.masks_grad = before.frame.grad_is_masked = True
        fused.append(step)
        producers[step.output] = step
    return fused


def _takes_norm(before: Frame, layer: Layer, step: Step) -> bool:
    free = before.norm is None and before.activation == "none" and not step.frame.with_backward
    if before.device.on_gpu:
        return False
    return free and layer.folds_norm and step.layer.is_scale_and_shift(step.frame)


def foldings(graph: Graph, input_shapes: Sequence[Shape]) -> list[tuple[Layer, Layer]]:
    """Return which norms inference folds into which layers."""
    shapes = [(1, *shape) for shape in input_shapes]
    steps, _ = lower(graph, shapes, np.dtype(np.float32), Mode(), graph.outputs, np.random.default_rng(0))
    return [(cast(Layer, step.frame.norm), step.layer) for step in fuse(steps) if step.frame.norm is not None]
