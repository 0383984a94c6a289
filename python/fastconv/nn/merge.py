"""Layers that join branches: Add (residual connections) and Concat (skip connections, inception)."""

from __future__ import annotations

import math
from functools import partial
from itertools import accumulate
from typing import ClassVar

import numpy as np

from fastconv import _core
from fastconv.nn.frame import Call, Frame, Shape
from fastconv.nn.layer import Layer
from fastconv.ops.arguments import Array


class Add(Layer):
    """Sum of two or more inputs of one shape; the gradient goes to each of them."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[int | None] = None
    in_place: ClassVar[bool] = True
    passes_grad: ClassVar[bool] = True

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        for branch, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ValueError(
                    f"{self.label}: branches must have one shape, got {shapes[0]} from branch 0 and {shape} from "
                    f"branch {branch}; branch {branch} would have to be {shapes[0]}"
                )
        return shapes[0]

    def forward_calls(self, frame: Frame) -> list[Call]:
        first, second, *others = frame.inputs
        calls: list[Call] = [partial(_core.add, first, second, frame.output)]
        return calls + [partial(_core.add, frame.output, other, frame.output) for other in others]

    def backward_calls(self, frame: Frame) -> list[Call]:
        return [partial(np.copyto, grad, frame.grad_output) for grad in frame.grad_inputs if grad is not None]

    def flops(self, *shapes: Shape) -> int:
        return (len(shapes) - 1) * math.prod(shapes[0])


class Concat(Layer):
    """Join two or more inputs along the channels (or features); images must have one height and width."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        for branch, shape in enumerate(shapes):
            if len(shape) != len(shapes[0]) or shape[1:] != shapes[0][1:]:
                raise ValueError(
                    f"{self.label}: branches may differ in channels only, got {shapes[0]} from branch 0 and {shape} "
                    f"from branch {branch}; branch {branch} would have to be {(shape[0], *shapes[0][1:])}"
                )
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _slices(self, frame: Frame, joined: Array) -> list[Array]:
        """Return one view of `joined` for each input."""
        ends = list(accumulate(shape[1] for shape in frame.input_shapes))
        axis = 1 if frame.layout == "NCHW" else joined.ndim - 1
        return np.split(joined, ends[:-1], axis)

    def forward_calls(self, frame: Frame) -> list[Call]:
        parts = self._slices(frame, frame.output)
        return [partial(np.copyto, part, array) for part, array in zip(parts, frame.inputs, strict=True)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        parts = self._slices(frame, frame.grad_output)
        pairs = zip(frame.grad_inputs, parts, strict=True)
        return [partial(np.copyto, grad, part) for grad, part in pairs if grad is not None]
