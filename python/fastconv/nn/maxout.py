"""Maxout: the largest of neighbouring channels, learned piecewise linear functions (Goodfellow et al. 2013)."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from fastconv import _core
from fastconv._checks.arguments import Layout, Shape4
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.ops.maxout import maxout_geometry, maxout_pieces


class Maxout(Layer):
    """Maximum of each group of `pieces` neighbouring channels or features: max(w1 x + b1, w2 x + b2) behind a layer.

    Parameters
    ----------
    pieces : int
        1 to 254; the channels are a multiple of it.
    name
        See `Layer`.

    Notes
    -----
    The gradient goes to the first maximum of the group.
    """

    kind: ClassVar[str] = "maxout"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, pieces: int, *, name: str | None = None) -> None:
        super().__init__(name)
        self.pieces = maxout_pieces(self.label, pieces)

    def infer_shape(self, *shapes: Shape) -> Shape:
        channels, *rest = shapes[0]
        if channels % self.pieces:
            raise ValueError(
                f"{self.label}: input must have a multiple of pieces={self.pieces} channels, got a sample of shape "
                f"{shapes[0]}"
            )
        return channels // self.pieces, *rest

    def needs(self, frame: Frame) -> Needs:
        if not frame.with_backward:
            return Needs()
        return Needs(buffers={"winners": Buffer(frame.in_memory(frame.output_shape), np.dtype(np.uint8))})

    def forward_calls(self, frame: Frame) -> list[Call]:
        if frame.batch == 0:
            return []
        geometry, order, source, target = self._geometry(frame)
        winners = frame.buffers.get("winners")
        places = None if winners is None else winners.reshape(target)
        images, output = frame.inputs[0].reshape(source), frame.output.reshape(target)
        return [frame.bind.max_pool2d_forward(geometry, images, output, places, layout=order)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None or frame.batch == 0:
            return []
        geometry, order, source, target = self._geometry(frame)
        grad, winners = frame.grad_output.reshape(target), frame.buffers["winners"].reshape(target)
        grad_input = frame.grad_inputs[0].reshape(source)
        return [frame.bind.max_pool2d_backward(geometry, grad, winners, grad_input, layout=order)]

    def _geometry(self, frame: Frame) -> tuple[_core.Pool2dShape, Layout, Shape4, Shape4]:
        shape = frame.in_memory(frame.input_shapes[0])
        axis = 3 if len(shape) == 4 and frame.layout == "NHWC" else 1
        return maxout_geometry(self.label, shape, axis, self.pieces)

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])
