"""Frame: one use of a layer. First what it will compute on (shapes, options), then the arrays themselves.

The same layer code serves the eager call and the engine: both make a Frame, ask the layer what it needs, hand it
arrays (new ones, or views of the arena) and get back a list of calls that are ready to run, any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv._checks.arguments import Array, Layout, memory_shape
from fastconv._config import Algorithm
from fastconv.nn.device import CPU, Device
from fastconv.nn.parameter import Parameter

if TYPE_CHECKING:
    from fastconv.nn.folding import Foldable

Shape: TypeAlias = tuple[int, ...]
Call: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Buffer:
    """An array a layer wants beside input and output, e.g. max pool's indices; `saved` ones live until backward."""

    shape: Shape
    dtype: np.dtype[Any]
    saved: bool = True


@dataclass(frozen=True)
class Needs:
    """What backward reads (inputs, output), whether it writes on grad_output, and which buffers the layer wants."""

    inputs: bool = False
    output: bool = False
    writes_grad_output: bool = False
    buffers: Mapping[str, Buffer] = field(default_factory=dict)


@dataclass(eq=False)
class Frame:
    """One use of a layer.

    Shapes are logical and with the batch: (N, C, H, W) or (N, F). `layout` says how 4-D arrays lie in memory.

    Attributes
    ----------
    training : bool
        Dropout drops, batch norm uses the batch.
    with_backward : bool
        backward will follow: keep what it needs.
    with_parameters : bool
        backward computes the gradients of trainable parameters, not of inputs only.
    activation : str
        What the layer applies to its output: its own, or a ReLU layer that the engine fused into it.
    algo : "auto", "direct" or "winograd"
        For convolutions that do not choose for themselves.
    max_pool : bool
        A convolution's output is the largest of each 2 x 2 results: the max pool behind it was fused into it.
    norm : Foldable or None
        The batch norm behind it, that the engine folded into its weight and bias.
    grad_is_masked : bool
        The ReLU's share of backward was done already, by the max pool behind it.
    masks_grad : bool
        The layer (a max pool) does that share for the fused ReLU before it.
    device : Device
        Where the arrays lie, and what makes calls on them.
    index : int
        The number of the step in its program; with the seed it tells apart what dropout layers draw on a GPU.
    """

    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    dtype: np.dtype[Any]
    layout: Layout = "NHWC"
    training: bool = False
    with_backward: bool = False
    with_parameters: bool = True
    activation: str = "none"
    algo: Algorithm = "auto"
    max_pool: bool = False
    norm: Foldable | None = None
    grad_is_masked: bool = False
    masks_grad: bool = False
    generator: np.random.Generator | None = None
    device: Device = CPU
    index: int = 0

    inputs: list[Array] = field(default_factory=list)
    output: Array = field(init=False)
    buffers: dict[str, NDArray[Any]] = field(default_factory=dict)
    grad_output: Array = field(init=False)
    grad_inputs: list[Array | None] = field(default_factory=list)  # None: not asked for
    written: set[Parameter] | None = None  # gradients that this pass has written; None: they all add up

    @property
    def bind(self) -> Any:
        """The kernels of the device, each of which returns a call on the arrays that it gets."""
        return self.device.bind

    @property
    def batch(self) -> int:
        return self.output_shape[0]

    def in_memory(self, shape: Shape) -> Shape:
        """Return the NumPy shape of an array of the logical `shape`."""
        return memory_shape(shape, self.layout) if len(shape) == 4 else shape

    def wants(self, parameter: Parameter) -> bool:
        """Return whether backward computes the parameter's gradient."""
        return self.with_parameters and parameter.trainable

    def accumulates(self, parameter: Parameter) -> bool:
        """Return whether backward adds to the parameter's gradient; a step's first contribution overwrites."""
        if self.written is None:
            return True
        seen = parameter in self.written
        self.written.add(parameter)
        return seen


def image_shape(op: str, shape: Shape) -> tuple[int, int, int]:
    """Return a sample's (C, H, W), refuse any other rank."""
    if len(shape) != 3:
        raise ValueError(f"{op}: input must be (N, C, H, W), got a sample of shape {shape}")
    channels, height, width = shape
    return channels, height, width
