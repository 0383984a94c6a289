"""PixelShuffle and PixelUnshuffle: channels to pixels, and back."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from fastconv._checks.arguments import Array
from fastconv.nn.frame import Call, Frame, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.ops.pixel_shuffle import copy_shuffled, factor, shuffled_size, unshuffled_size


def _shuffled(frame: Frame, few: Array, many: Array, factor: int, back: bool) -> Call:
    """Copy few pixels of many channels to many pixels, or back."""
    if frame.device.on_gpu:
        return frame.bind.pixel_shuffle(few, many, factor, back)  # type: ignore[no-any-return]
    return partial(copy_shuffled, few, many, factor, frame.layout, back)


class PixelShuffle(Layer):
    """Groups of r*r channels become squares of r x r pixels: (C*r*r, H, W) to (C, H*r, W*r) (Shi et al. 2016).

    Parameters
    ----------
    upscale_factor : int
        r.
    name
        See `Layer`.

    Notes
    -----
    On the CPU a strided copy on one thread: slower than `Upsample`, and far cheaper than a convolution.
    """

    kind: ClassVar[str] = "pixel_shuffle"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, upscale_factor: int, *, name: str | None = None) -> None:
        super().__init__(name)
        self.upscale_factor = factor(self.label, "upscale_factor", upscale_factor)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shuffled_size(self.label, *image_shape(self.label, shapes[0]), self.upscale_factor)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [_shuffled(frame, frame.inputs[0], frame.output, self.upscale_factor, False)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad = frame.grad_inputs[0]
        if grad is None:
            return []
        return [_shuffled(frame, grad, frame.grad_output, self.upscale_factor, True)]


class PixelUnshuffle(Layer):
    """Squares of r x r pixels become groups of r*r channels: the inverse of `PixelShuffle`.

    Parameters
    ----------
    downscale_factor : int
        r.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "pixel_unshuffle"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, downscale_factor: int, *, name: str | None = None) -> None:
        super().__init__(name)
        self.downscale_factor = factor(self.label, "downscale_factor", downscale_factor)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return unshuffled_size(self.label, *image_shape(self.label, shapes[0]), self.downscale_factor)

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [_shuffled(frame, frame.output, frame.inputs[0], self.downscale_factor, True)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad = frame.grad_inputs[0]
        if grad is None:
            return []
        return [_shuffled(frame, frame.grad_output, grad, self.downscale_factor, False)]
