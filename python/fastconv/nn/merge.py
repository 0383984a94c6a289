"""Layers that join branches: Add (residual connections) and Concat (skip connections, inception)."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import ClassVar

from fastconv._checks.arguments import Array, Pair
from fastconv.nn.frame import Call, Frame, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.ops.pad2d import center_cropping, crop_part


class Add(Layer):
    """Sum of two or more inputs of one shape; the gradient goes to each of them."""

    kind: ClassVar[str] = "add"
    runs_on_gpu: ClassVar[bool] = True
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
        calls: list[Call] = [frame.bind.add(first, second, frame.output)]
        return calls + [frame.bind.add(frame.output, other, frame.output) for other in others]

    def backward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.copy(grad, frame.grad_output) for grad in frame.grad_inputs if grad is not None]

    def flops(self, *shapes: Shape) -> int:
        return (len(shapes) - 1) * math.prod(shapes[0])


class Concat(Layer):
    """Join two or more inputs along the channels (or features); images must have one height and width.

    Parameters
    ----------
    crop : None or "center", default None
        "center": of larger images the middle is taken, of the smallest height and width among the inputs. Of an odd
        rest the larger half is cut off at the end. For the skip connections of a U-Net without padding.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "concat"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = None

    def __init__(self, *, crop: str | None = None, name: str | None = None) -> None:
        super().__init__(name)
        if crop is not None and crop != "center":
            raise ValueError(f"{self.label}: crop must be None or 'center', got {crop!r}")
        self.crop = crop

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.crop is not None:
            smallest = self._smallest(*shapes)
            return (sum(shape[0] for shape in shapes), *smallest)
        for branch, shape in enumerate(shapes):
            if len(shape) != len(shapes[0]) or shape[1:] != shapes[0][1:]:
                raise ValueError(
                    f"{self.label}: branches may differ in channels only, got {shapes[0]} from branch 0 and {shape} "
                    f"from branch {branch}; branch {branch} would have to be {(shape[0], *shapes[0][1:])}"
                    f"{self._hint(shapes[0], shape)}"
                )
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _hint(self, first: Shape, other: Shape) -> str:
        """Tell how two images that nearly fit can be joined."""
        if len(first) != 3 or len(other) != 3:
            return ""
        return f"; crop='center' would take the middle {self._smallest(first, other)} of both"

    def _smallest(self, *shapes: Shape) -> Pair:
        images = [image_shape(self.label, shape) for shape in shapes]
        return min(height for _, height, _ in images), min(width for _, _, width in images)

    def _middle(self, frame: Frame, branch: int, array: Array) -> Array:
        """Return the part of an input, or of its gradient, that is joined."""
        if self.crop is None:
            return array
        _, _, height, width = frame.input_shapes[branch]
        target = self._smallest(*(shape[1:] for shape in frame.input_shapes))
        amounts = center_cropping(self.label, (height, width), target)
        return array[crop_part((height, width), amounts, frame.layout)]

    def _slices(self, frame: Frame, joined: Array) -> list[Array]:
        """Return one view of `joined` for each input."""
        ends = list(accumulate(shape[1] for shape in frame.input_shapes))
        before = (slice(None),) if frame.layout == "NCHW" else (...,)
        return [joined[(*before, slice(begin, end))] for begin, end in zip([0, *ends], ends, strict=False)]

    def forward_calls(self, frame: Frame) -> list[Call]:
        parts = self._slices(frame, frame.output)
        pairs = enumerate(zip(parts, frame.inputs, strict=True))
        return [frame.bind.copy(part, self._middle(frame, branch, array)) for branch, (part, array) in pairs]

    def backward_calls(self, frame: Frame) -> list[Call]:
        parts = self._slices(frame, frame.grad_output)
        calls: list[Call] = []
        for branch, (grad, part) in enumerate(zip(frame.grad_inputs, parts, strict=True)):
            if grad is not None:
                middle = self._middle(frame, branch, grad)
                calls += [frame.bind.fill(grad, 0)] if middle.shape != grad.shape else []
                calls.append(frame.bind.copy(middle, part))
        return calls
