"""Activation layers."""

from __future__ import annotations

import math
from typing import ClassVar

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.own_activation import stage_bytes
from fastconv.ops.activation import softmax_view
from fastconv.ops.pointwise import READ_INPUT, gelu_name


class ReLU(Layer):
    """max(x, 0). NaN stays NaN, the gradient at 0 is 0; fused into a convolution or dense layer before it."""

    kind: ClassVar[str] = "relu"
    runs_on_gpu: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        return Needs(output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.relu_forward(frame.inputs[0], frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        return [frame.bind.relu_backward(frame.grad_output, frame.output, frame.grad_inputs[0])]

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class _Pointwise(Layer):
    """What the activations share: one native function with up to two parameters, run in place where memory allows."""

    in_place: ClassVar[bool] = True
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, function: str, name: str | None, a: float = 0.0, b: float = 0.0) -> None:
        super().__init__(name)
        self._function = function
        self._parameters = {"a": a, "b": b}

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        from_input = self._function in READ_INPUT
        return Needs(inputs=from_input, output=not from_input)

    def forward_calls(self, frame: Frame) -> list[Call]:
        arrays = frame.inputs[0], frame.output
        return [frame.bind.activation_forward(self._function, *arrays, **self._parameters)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        saved = frame.inputs[0] if self._function in READ_INPUT else frame.output
        arrays = frame.grad_output, saved, grad_input
        return [frame.bind.activation_backward(self._function, *arrays, **self._parameters)]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return stage_bytes(frame), 0

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class LeakyReLU(_Pointwise):
    """x where it is positive, else negative_slope * x (Maas et al. 2013).

    Parameters
    ----------
    negative_slope : float, default 0.01
        At least 0.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, *, name: str | None = None) -> None:
        super().__init__("leaky_relu", name, number(self.kind, "negative_slope", negative_slope, 0))
        self.negative_slope = float(negative_slope)


class ELU(_Pointwise):
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert et al. 2016).

    Parameters
    ----------
    alpha : float, default 1
        At least 0.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "elu"

    def __init__(self, alpha: float = 1.0, *, name: str | None = None) -> None:
        super().__init__("elu", name, number(self.kind, "alpha", alpha, 0))
        self.alpha = float(alpha)


class Sigmoid(_Pointwise):
    """1 / (1 + exp(-x)).

    With a binary cross-entropy loss, which takes the values before the sigmoid, a model that ends in this layer trains
    on its input and predicts its output.
    """

    kind: ClassVar[str] = "sigmoid"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__("sigmoid", name)


class Tanh(_Pointwise):
    """Hyperbolic tangent."""

    kind: ClassVar[str] = "tanh"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__("tanh", name)


class SiLU(_Pointwise):
    """x * sigmoid(x) (Elfwing et al. 2018). Its gradient reads the input: in training the two are kept apart."""

    kind: ClassVar[str] = "silu"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__("silu", name)


class GELU(_Pointwise):
    """x times the normal distribution below it (Hendrycks and Gimpel 2016). Its gradient reads the input.

    Parameters
    ----------
    approximate : "none" or "tanh", default "none"
        See `fastconv.ops.gelu`.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "gelu"

    def __init__(self, approximate: str = "none", *, name: str | None = None) -> None:
        super().__init__(gelu_name(self.kind, approximate), name)
        self.approximate = approximate


class Softplus(_Pointwise):
    """log(1 + exp(beta * x)) / beta, and x where beta * x exceeds `threshold`. Its gradient reads the input.

    Parameters
    ----------
    beta : float, default 1
        Above 0.
    threshold : float, default 20
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0, *, name: str | None = None) -> None:
        scale = number(self.kind, "beta", beta, 0, inclusive=False)
        super().__init__("softplus", name, scale, number(self.kind, "threshold", threshold, -math.inf))
        self.beta, self.threshold = float(beta), float(threshold)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) over an axis.

    With a cross-entropy loss, which takes the values before the softmax, a model that ends in this layer (over the
    channels) trains on its input and predicts its output.

    Parameters
    ----------
    axis : int, default 1
        1 are the features of (N, F) and the channels of (N, C, H, W), in either layout; never 0, the batch.
    name
        See `Layer`.

    Notes
    -----
    grad_input = output * (grad_output - sum(grad_output * output)).
    """

    kind: ClassVar[str] = "softmax"
    runs_on_gpu: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def __init__(self, axis: int = 1, *, name: str | None = None) -> None:
        super().__init__(name)
        self.axis = arguments.integer(self.label, "axis", axis)

    def _place(self, rank: int) -> int:
        """The axis counted from 0, the batch being 0."""
        place = self.axis + rank if self.axis < 0 else self.axis
        if not 1 <= place < rank:
            raise ValueError(f"{self.label}: axis must lie in 1..{rank - 1} or -{rank - 1}..-1, got {self.axis}")
        return place

    def over_classes(self, sample: Shape) -> bool:
        """Whether it runs over what a cross entropy takes for classes."""
        return self._place(len(sample) + 1) == 1

    def _view(self, frame: Frame, array: Array) -> Array:
        place = self._place(array.ndim)
        if array.ndim == 4 and frame.layout == "NHWC":
            place = (0, 3, 1, 2)[place]
        return softmax_view(array, place)

    def infer_shape(self, *shapes: Shape) -> Shape:
        self._place(len(shapes[0]) + 1)
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        return Needs(output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.softmax_forward(self._view(frame, frame.inputs[0]), self._view(frame, frame.output))]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        arrays = (frame.grad_output, frame.output, frame.grad_inputs[0])
        return [frame.bind.softmax_backward(*(self._view(frame, array) for array in arrays))]

    def flops(self, *shapes: Shape) -> int:
        return 5 * math.prod(shapes[0])
