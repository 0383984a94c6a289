"""Reshape: the values of a sample in another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer


class Reshape(Layer):
    """A sample in another shape, its values read in the order (C, H, W) whatever the memory layout: as PyTorch.

    Parameters
    ----------
    shape : (C, H, W) or (F,)
        Without the batch; one size may be -1, which takes what is left.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "reshape"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, shape: Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name)
        op = self.label
        if not isinstance(shape, tuple | list) or len(shape) not in (1, 3):
            raise ValueError(f"{op}: shape must be (C, H, W) or (F,), without the batch, got {shape!r}")
        self.shape = tuple(arguments.integer(op, f"shape[{axis}]", size) for axis, size in enumerate(shape))
        if any(size < 1 and size != -1 for size in self.shape) or self.shape.count(-1) > 1:
            raise ValueError(f"{op}: shape must have positive sizes, one of them perhaps -1, got {self.shape}")

    def infer_shape(self, *shapes: Shape) -> Shape:
        total = math.prod(shapes[0])
        known = math.prod(size for size in self.shape if size != -1)
        found = tuple(total // known if size == -1 else size for size in self.shape)
        if math.prod(found) != total:
            raise ValueError(
                f"{self.label}: shape must have as many values as the input's {shapes[0]}, got {self.shape}"
            )
        return found

    def is_view(self, frame: Frame) -> bool:
        """Whether both layouts of the shapes are the same bytes."""
        return frame.layout == "NCHW" or all(
            len(shape) == 2 or shape[1] == 1 or shape[2] * shape[3] == 1
            for shape in (frame.input_shapes[0], frame.output_shape)
        )

    def needs(self, frame: Frame) -> Needs:
        if self.is_view(frame) or len(frame.input_shapes[0]) == 2 or len(frame.output_shape) == 2:
            return Needs()
        return Needs(buffers={"planes": Buffer((math.prod(frame.output_shape),), frame.dtype)})

    def _copy(self, frame: Frame, source: Array, from_shape: Shape, target: Array, to_shape: Shape) -> list[Call]:
        if self.is_view(frame):
            return [frame.bind.copy(target, source.reshape(target.shape))]
        if len(from_shape) == 2:
            return [frame.bind.nchw_to_nhwc(source.reshape(to_shape), target)]
        if len(to_shape) == 2:
            return [frame.bind.nhwc_to_nchw(source, target.reshape(from_shape))]
        planes = frame.buffers["planes"]
        return [
            frame.bind.nhwc_to_nchw(source, planes.reshape(from_shape)),
            frame.bind.nchw_to_nhwc(planes.reshape(to_shape), target),
        ]

    def forward_calls(self, frame: Frame) -> list[Call]:
        return self._copy(frame, frame.inputs[0], frame.input_shapes[0], frame.output, frame.output_shape)

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        return self._copy(frame, frame.grad_output, frame.output_shape, grad_input, frame.input_shapes[0])
