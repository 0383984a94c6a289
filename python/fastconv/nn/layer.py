"""Layer: what a layer of a network declares, and how one runs by itself on arrays.

A layer declares its hyper-parameters (checked in __init__ and only there), its parameters, `infer_shape`, what it
`needs` for backward, and `forward_calls` and `backward_calls`: lists of calls on the arrays of a Frame. The engine runs
the calls of many layers as one program; the eager call below runs those of one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import DTypeLike

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv._config import config
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.graph import Node
from fastconv.nn.parameter import Parameter


class Layer:
    """Base of all layers.

    Called on arrays a layer runs at once, and `backward` follows; called on a symbolic `Input` (or what came out of
    another layer called so) it adds itself to the graph.

    Parameters
    ----------
    name : str, optional
        Its name in a model's tables and files. Default: kind and number, as "conv2d_1".
    seed : int or numpy.random.Generator, optional
        What its random numbers are drawn from. Default: the generator of its model; 0 when it is used alone.
    """

    kind: ClassVar[str] = "layer"
    arity: ClassVar[int | None] = 1  # how many inputs; None: two or more
    activation: str = "none"  # what it applies to its output, see own_activation
    fuses_relu: ClassVar[bool] = False  # can take over a ReLU that follows it
    halves_maps: bool = False  # it is a max pool of 2 x 2 windows side by side, whatever else it may do
    can_mask_grad: ClassVar[bool] = False  # can do, in backward, the mask of a ReLU before it
    in_place: ClassVar[bool] = False  # output may be written over the first input, grad_input over grad_output
    passes_grad: ClassVar[bool] = False  # every grad_input is grad_output itself
    folds_norm: ClassVar[bool] = False  # can take over, for inference, a batch norm that follows it
    draws: bool = False  # random numbers, in training
    runs_on_gpu: ClassVar[bool] = False  # there are CUDA kernels for all that it binds

    def __init__(self, name: str | None = None, seed: int | np.random.Generator | None = None) -> None:
        self.name = _checked_name(self.kind, name)
        self.seed = seed
        self._generator: np.random.Generator | None = None
        self._frame: Frame | None = None

    # What a layer declares

    def fuses_max_pool(self, frame: Frame) -> bool:
        """Return whether it can store the largest of each 2 x 2 results only, in a run without backward."""
        return False

    def masks_grad_of(self, frame: Frame) -> bool:
        """Return whether it does so on this frame's device."""
        return True

    def is_scale_and_shift(self, frame: Frame) -> bool:
        """Return whether it only multiplies each channel by a constant and adds another: a `Foldable`."""
        return False

    def missing_on_gpu(self) -> str | None:
        """Return what a GPU lacks for it, in words; None: nothing."""
        return None if self.runs_on_gpu else "has no CUDA kernels yet"

    @property
    def variant(self) -> Hashable:
        """What, beside shapes and parameters, decides which calls it makes; it may change between calls."""
        return None

    def infer_shape(self, *shapes: Shape) -> Shape:
        """Return the output's shape from the inputs', all without batch: (C, H, W) or (F,)."""
        raise NotImplementedError

    def create(self, *shapes: Shape) -> None:
        """Create the parameters that the inputs' shapes decide, if they don't exist yet."""

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters by name; empty until they are created."""
        return {}

    def draw(self, generator: np.random.Generator, relu_follows: bool) -> None:
        """Set the parameters' start values."""

    def needs(self, frame: Frame) -> Needs:
        """Return what must be kept for backward, and the buffers."""
        return Needs()

    def is_view(self, frame: Frame) -> bool:
        """Return whether the output is byte for byte the input, so that no call is needed at all."""
        return False

    def forward_calls(self, frame: Frame) -> list[Call]:
        """Return the calls that write `frame.output`, and the buffers."""
        raise NotImplementedError

    def backward_calls(self, frame: Frame) -> list[Call]:
        """Return the calls that write `frame.grad_inputs` and the parameters' gradients from `frame.grad_output`."""
        raise NotImplementedError

    def flops(self, *shapes: Shape) -> int:
        """Return the floating-point operations of forward for one sample (a multiply-add counts two)."""
        return 0

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        """Return the most bytes its kernels borrow while they run, and those of weights packed for inference."""
        return 0, 0

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed weights held now."""
        return 0

    # Parameters

    @property
    def label(self) -> str:
        """How errors call it."""
        return self.kind if self.name is None else f"{self.kind} {self.name!r}"

    @property
    def trainable(self) -> bool:
        """Whether any parameter is; assignment sets all but running statistics."""
        return any(parameter.trainable for parameter in self.parameters().values())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for parameter in self.parameters().values():
            parameter.trainable = value and not parameter.statistic

    @property
    def weight_decay(self) -> float | None:
        """L2 regularisation of this layer: of all its parameters but biases; None leaves it to the optimiser."""
        return next((one.weight_decay for name, one in self.parameters().items() if name != "bias"), None)

    @weight_decay.setter
    def weight_decay(self, value: float | None) -> None:
        decay = None if value is None else number(self.label, "weight_decay", value, 0)
        chosen = [parameter for name, parameter in self.parameters().items() if name != "bias"]
        if not chosen:
            raise AttributeError(f"{self.label}: weight_decay needs parameters, and there are none (yet)")
        for parameter in chosen:
            parameter.weight_decay = decay

    def astype(self, dtype: DTypeLike) -> None:
        """Cast the parameters."""
        for parameter in self.parameters().values():
            parameter.astype(dtype)

    def zero_grad(self) -> None:
        """Set the gradients to zero; `backward` adds to them."""
        for parameter in self.parameters().values():
            parameter.zero_grad()

    @property
    def generator(self) -> np.random.Generator:
        """The layer's own random numbers, for when it is used alone."""
        if self._generator is None:
            self._generator = np.random.default_rng(0 if self.seed is None else self.seed)
        return self._generator

    def build(self, *shapes: Shape) -> None:
        """Create the parameters, once; they are drawn when somebody looks at them, or by a model."""
        before = len(self.parameters())
        self.create(*shapes)
        if len(self.parameters()) > before:
            self._postpone_draw()

    def _postpone_draw(self) -> None:
        for parameter in self.parameters().values():
            parameter.postpone(lambda: self._draw_now(self.generator, self.activation == "relu"))

    def _draw_now(self, generator: np.random.Generator, relu_follows: bool) -> None:
        for parameter in self.parameters().values():
            parameter.postpone(None)
        self.draw(generator, relu_follows)

    def draw_from(self, generator: np.random.Generator, relu_follows: bool) -> None:
        """Draw from a model's generator, unless the layer has a seed or somebody has seen or set its values."""
        if self.seed is None and any(parameter.is_postponed for parameter in self.parameters().values()):
            self._draw_now(generator, relu_follows or self.activation == "relu")

    # Running alone

    @overload
    def __call__(self, *inputs: Node, training: bool = False, layout: str = "NCHW") -> Node: ...
    @overload
    def __call__(self, *inputs: Array, training: bool = False, layout: str = "NCHW") -> Array: ...
    def __call__(self, *inputs: Any, training: bool = False, layout: str = "NCHW") -> Any:
        """Run on arrays, or build the graph.

        Parameters
        ----------
        *inputs : numpy.ndarray or Node
            Arrays (N, C, H, W) or (N, F) of the parameters' dtype; or nodes.
        training : bool, default False
            Whether dropout drops, and batch norm takes the statistics of the batch.
        layout : "NCHW" or "NHWC"
            How 4-D arrays lie in memory, going in and coming out.

        Returns
        -------
        numpy.ndarray or Node
            A new array, or a new node.

        Notes
        -----
        Input and output are kept, not copied, for `backward`: don't write into them before it.
        """
        if self.arity is None and len(inputs) < 2:
            raise ValueError(f"{self.label}: takes two or more inputs, got {len(inputs)}")
        if self.arity is not None and len(inputs) != self.arity:
            raise ValueError(f"{self.label}: takes {self.arity} input(s), got {len(inputs)}")
        nodes = [isinstance(value, Node) for value in inputs]
        if all(nodes):
            return Node(self, inputs)
        if any(nodes):
            raise TypeError(f"{self.label}: inputs must be all arrays or all nodes, got both")
        where = arguments.layout(self.label, layout)
        arrays: list[Array] = []
        for value in inputs:
            arrays.append(arguments.as_array(self.label, "input", value, None, arrays[0].dtype if arrays else None))
        shapes = [arguments.logical_shape(a.shape, where) if a.ndim == 4 else a.shape for a in arrays]
        for shape in shapes:
            if len(shape) not in (2, 4) or shape[0] != shapes[0][0]:
                raise ValueError(f"{self.label}: inputs must be (N, C, H, W) or (N, F) of one N, got {shapes}")
        samples = [shape[1:] for shape in shapes]
        fresh = not self.parameters()
        self.build(*samples)
        if fresh:
            self.astype(arrays[0].dtype)
        for parameter in self.parameters().values():
            if parameter.device.on_gpu:
                raise RuntimeError(f"{self.label}: on {parameter.device.name} a layer runs in its model only")
            arguments.check_array(self.label, "input", arrays[0], None, parameter.dtype)
        frame = Frame(
            input_shapes=tuple(shapes),
            output_shape=(shapes[0][0], *self.infer_shape(*samples)),
            dtype=arrays[0].dtype,
            layout=where,
            training=training,
            with_backward=True,
            activation=self.activation,
            algo=config.algo,
            generator=self.generator,
        )
        frame.inputs = arrays
        frame.output = arguments.allocate(self.label, frame.in_memory(frame.output_shape), frame.dtype)
        for name, buffer in self.needs(frame).buffers.items():
            frame.buffers[name] = arguments.allocate(self.label, buffer.shape, buffer.dtype)
        for call in self.forward_calls(frame):
            call()
        self._frame = frame
        return frame.output

    def backward(self, grad_output: Array) -> Any:
        """Return the gradient of the last call's input; the parameters' gradients are added to their `grad`.

        Parameters
        ----------
        grad_output : numpy.ndarray
            Gradient of the loss with respect to the output, of its shape, dtype and layout.

        Returns
        -------
        numpy.ndarray or tuple of them
            One for each input.
        """
        frame = self._frame
        if frame is None:
            raise RuntimeError(f"{self.label}: backward needs a call on an array before it")
        grad = arguments.as_array(self.label, "grad_output", grad_output, None, frame.dtype)
        if grad.shape != frame.output.shape:
            raise ValueError(f"{self.label}: grad_output must have shape {frame.output.shape}, got {grad.shape}")
        frame.grad_output = grad.copy() if self.needs(frame).writes_grad_output else grad
        grads = [arguments.allocate(self.label, array.shape, array.dtype) for array in frame.inputs]
        frame.grad_inputs = list(grads)
        for call in self.backward_calls(frame):
            call()
        return grads[0] if len(grads) == 1 else tuple(grads)

    def __repr__(self) -> str:
        return f"<{self.label}>"


def _checked_name(op: str, name: object) -> str | None:
    if name is None or (isinstance(name, str) and name and name.isprintable()):
        return name
    raise ValueError(f"{op}: name must be a non-empty printable str, got {name!r}")
