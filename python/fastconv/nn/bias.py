"""Bias: adds a number of its own to every feature, such as one for each point of a board behind Flatten."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from fastconv.nn.frame import Call, Frame, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.parameter import Parameter


class Bias(Layer):
    """output[n, f] = input[n, f] + bias[f].

    A convolution has a bias for each channel; behind `Flatten` this one has a bias for each channel and place.

    Attributes
    ----------
    bias : Parameter
        (F,), zero at the start; its gradient is grad_output summed over the batch.
    """

    kind: ClassVar[str] = "bias"
    runs_on_gpu: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)
        self._bias: Parameter | None = None

    @property
    def bias(self) -> Parameter:
        if self._bias is None:
            raise AttributeError(f"{self.label}: bias exists once an input was seen")
        return self._bias

    def parameters(self) -> dict[str, Parameter]:
        return {} if self._bias is None else {"bias": self._bias}

    def create(self, *shapes: Shape) -> None:
        if self._bias is None:
            self.infer_shape(*shapes)
            self._bias = Parameter(np.zeros(shapes[0], np.float32), "bias")

    def infer_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 1:
            raise ValueError(
                f"{self.label}: input must be (N, F), got a sample of shape {shapes[0]}; put Flatten() before it"
            )
        if self._bias is not None and shapes[0] != self._bias.shape:
            raise ValueError(f"{self.label}: input must have F={self._bias.shape[0]} features, got {shapes[0][0]}")
        return shapes[0]

    def forward_calls(self, frame: Frame) -> list[Call]:
        if frame.device.on_gpu:
            return [frame.bind.add_bias(frame.inputs[0], self.bias.data, frame.output)]
        return [partial(np.add, frame.inputs[0], self.bias.data, out=frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad, grad_input = frame.grad_output, frame.grad_inputs[0]
        calls: list[Call] = []
        if frame.wants(self.bias):
            into, more = self.bias.gradient(), frame.accumulates(self.bias)
            calls.append(frame.bind.linear_backward_bias(grad, into, accumulate=more))
        if grad_input is not None:
            calls.append(frame.bind.copy(grad_input, grad))
        return calls

    def flops(self, *shapes: Shape) -> int:
        return shapes[0][0]
