"""Dropout (Srivastava et al. 2014), inverted: what is kept is scaled in training, inference is the identity."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer


class Dropout(Layer):
    """Set each value to 0 with probability `p` in training, and multiply the others by 1 / (1 - p).

    Parameters
    ----------
    p : float, default 0.5
        Probability, 0 <= p < 1.
    name
        See `Layer`.
    seed : int or numpy.random.Generator, optional
        For masks of the layer used alone; in a model they come from the model's generator.
    """

    kind: ClassVar[str] = "dropout"
    in_place: ClassVar[bool] = True
    draws = True
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self, p: float = 0.5, *, name: str | None = None, seed: int | np.random.Generator | None = None
    ) -> None:
        super().__init__(name, seed)
        if isinstance(p, bool) or not isinstance(p, int | float | np.floating):
            raise TypeError(f"{self.label}: p must be a number, got {arguments.describe(p)}")
        if not 0 <= p < 1:
            raise ValueError(f"{self.label}: p must lie in [0, 1), got {p}")
        self.p = float(p)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def _drops(self, frame: Frame) -> bool:
        return frame.training and self.p > 0

    def is_view(self, frame: Frame) -> bool:
        return not self._drops(frame)

    def mask_shape(self, frame: Frame) -> Shape:
        """Return the shape of the mask, which is broadcast."""
        return frame.in_memory(frame.output_shape)

    def needs(self, frame: Frame) -> Needs:
        if not self._drops(frame) or frame.device.on_gpu:
            return Needs()
        return Needs(buffers={"mask": Buffer(self.mask_shape(frame), frame.dtype)})

    def forward_calls(self, frame: Frame) -> list[Call]:
        if not self._drops(frame):
            return [frame.bind.copy(frame.output, frame.inputs[0])]
        if frame.device.on_gpu:
            return [self._drop(frame, frame.inputs[0], frame.output)]
        assert frame.generator is not None
        generator, mask = frame.generator, frame.buffers["mask"]
        one, zero = frame.dtype.type(1), frame.dtype.type(0)
        keep = min(frame.dtype.type(1 - self.p), np.nextafter(one, zero))  # u + keep stays below 2
        scale = frame.dtype.type(1 / (1 - self.p))

        def draw() -> None:
            # floor(u + keep) is 1 with probability keep; all in place, no temporary array
            generator.random(dtype=frame.dtype, out=mask)
            np.add(mask, keep, out=mask)
            np.floor(mask, out=mask)
            np.multiply(mask, scale, out=mask)

        return [draw, partial(np.multiply, frame.inputs[0], mask, frame.output)]

    def _drop(self, frame: Frame, source: Array, target: Array) -> Call:
        """On a GPU: what falls is a function of step and place, computed once more in backward instead of stored."""
        call: Call = frame.bind.dropout(source, target, self.p, frame.index)
        return call

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input: Array | None = frame.grad_inputs[0]
        if grad_input is None:
            return []
        if not self._drops(frame):
            return [frame.bind.copy(grad_input, frame.grad_output)]
        if frame.device.on_gpu:
            return [self._drop(frame, frame.grad_output, grad_input)]
        return [partial(np.multiply, frame.grad_output, frame.buffers["mask"], grad_input)]


class Dropout2d(Dropout):
    """Set whole channels of an image to 0 with probability `p` in training, and multiply the others by 1 / (1 - p).

    Neighbouring pixels tell nearly the same, so dropping them one by one hides little (Tompson et al. 2015).

    Parameters
    ----------
    p, name, seed
        As for `Dropout`.
    """

    kind: ClassVar[str] = "dropout2d"
    runs_on_gpu: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 3:
            raise ValueError(f"{self.label}: input must be (N, C, H, W), got a sample of shape {shapes[0]}")
        return shapes[0]

    def _drop(self, frame: Frame, source: Array, target: Array) -> Call:
        call: Call = frame.bind.dropout2d(source, target, self.p, frame.index)
        return call

    def mask_shape(self, frame: Frame) -> Shape:
        n, c = frame.output_shape[:2]
        return frame.in_memory((n, c, 1, 1))
