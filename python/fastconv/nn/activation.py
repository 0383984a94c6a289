"""Activation layers."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

from fastconv import _core
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer


class ReLU(Layer):
    """max(x, 0). NaN stays NaN, the gradient at 0 is 0; fused into a convolution or dense layer before it."""

    kind: ClassVar[str] = "relu"
    in_place: ClassVar[bool] = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        return Needs(output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [partial(_core.relu_forward, frame.inputs[0], frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        return [partial(_core.relu_backward, frame.grad_output, frame.output, frame.grad_inputs[0])]

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class Softmax(Layer):
    """exp(x) / sum(exp(x)) over the features of a sample.

    With a cross-entropy loss, which takes the values before the softmax, a model that ends in this layer trains on its
    input and predicts its output.

    Notes
    -----
    grad_input = output * (grad_output - sum(grad_output * output)).
    """

    kind: ClassVar[str] = "softmax"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 1:
            raise ValueError(f"{self.label}: input must be (N, F), got a sample of shape {shapes[0]}")
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        return Needs(output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [partial(_core.softmax_forward, frame.inputs[0], frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        return [partial(_core.softmax_backward, frame.grad_output, frame.output, frame.grad_inputs[0])]

    def flops(self, *shapes: Shape) -> int:
        return 5 * math.prod(shapes[0])
