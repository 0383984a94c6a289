"""Upsample: larger (or smaller) images, nearest or bilinear."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastconv import _core
from fastconv._checks.arguments import IntOrPair
from fastconv.nn.frame import Call, Frame, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.ops.upsample import Resize, Scale


class Upsample(Layer):
    """Resize images.

    Parameters
    ----------
    size : int or (int, int), optional
        Height and width of the output.
    scale_factor : float or (float, float), optional
        Instead of `size`: out = floor(in * scale).
    mode : "nearest" or "bilinear", default "nearest"
    align_corners : bool, default False
        Of "bilinear": the centres of the corner pixels stay where they are.
    name
        See `Layer`.

    Notes
    -----
    Which pixels an output reads, and the gradient: `fastconv.ops.upsample`.
    """

    kind: ClassVar[str] = "upsample"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        size: IntOrPair | None = None,
        scale_factor: Scale | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self._resize = Resize(self.label, size, scale_factor, mode, align_corners)

    def geometry(self, batch: int, shape: Shape) -> _core.Resample2dShape:
        return self._resize.geometry((batch, *image_shape(self.label, shape)))

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).output_shape[1:]

    def _bound_geometry(self, frame: Frame) -> Any:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return self._resize.arguments(geometry) if frame.device.on_gpu else geometry

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self._bound_geometry(frame)
        return [frame.bind.resample2d_forward(geometry, frame.inputs[0], frame.output, layout=frame.layout)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        geometry = self._bound_geometry(frame)
        return [frame.bind.resample2d_backward(geometry, frame.grad_output, grad_input, layout=frame.layout)]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return stage_bytes(frame), 0

    def flops(self, *shapes: Shape) -> int:
        return 6 * math.prod(self.infer_shape(*shapes)) if self._resize.mode == "bilinear" else 0


def stage_bytes(frame: Frame) -> int:
    """Scratch of `resample2d`: a row of the image that is read, for each thread."""
    if frame.device.on_gpu:
        return 0
    pitches = []
    for shape in (frame.input_shapes[0], frame.output_shape) if frame.with_backward else (frame.input_shapes[0],):
        pixel = shape[1] if frame.layout == "NHWC" else 1
        pitches.append(-(-shape[3] * pixel * frame.dtype.itemsize // 64) * 64)
    return max(pitches) * _core.get_num_threads()
