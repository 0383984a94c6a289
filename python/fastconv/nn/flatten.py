"""Flatten: images to vectors."""

from __future__ import annotations

import math
from typing import ClassVar

from fastconv.nn.frame import Call, Frame, Shape
from fastconv.nn.layer import Layer


class Flatten(Layer):
    """(C, H, W) becomes (C*H*W,) in this order, whatever the memory layout: as PyTorch, to exchange weights."""

    kind: ClassVar[str] = "flatten"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]),)

    def is_view(self, frame: Frame) -> bool:
        shape = frame.input_shapes[0]  # one channel or one pixel: both layouts are the same bytes
        return len(shape) == 2 or frame.layout == "NCHW" or shape[1] == 1 or shape[2] * shape[3] == 1

    def forward_calls(self, frame: Frame) -> list[Call]:
        if self.is_view(frame):
            return [frame.bind.copy(frame.output, frame.inputs[0].reshape(frame.output_shape))]
        return [frame.bind.nhwc_to_nchw(frame.inputs[0], frame.output.reshape(frame.input_shapes[0]))]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        if self.is_view(frame):
            return [frame.bind.copy(grad_input, frame.grad_output.reshape(grad_input.shape))]
        return [frame.bind.nchw_to_nhwc(frame.grad_output.reshape(frame.input_shapes[0]), grad_input)]
