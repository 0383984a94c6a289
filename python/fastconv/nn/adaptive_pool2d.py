"""AdaptiveAvgPool2d and AdaptiveMaxPool2d: an output of a given size from an image of any size."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastconv import _core
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.nn.pool2d import pool_bytes
from fastconv.nn.upsample import stage_bytes
from fastconv.ops.adaptive_pool2d import AdaptiveSize, adaptive_geometry, adaptive_size


class _AdaptivePool2d(Layer):
    """What both share: the bins."""

    def __init__(self, output_size: AdaptiveSize, *, name: str | None = None) -> None:
        super().__init__(name)
        self.output_size = adaptive_size(self.label, output_size)

    def geometry(self, batch: int, shape: Shape) -> _core.Pool2dShape | _core.Resample2dShape:
        return adaptive_geometry(self.label, (batch, *image_shape(self.label, shape)), self.output_size)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).output_shape[1:]

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """Mean over bins: output row o sees the rows from floor(o*H/OH) up to ceil((o + 1)*H/OH), as PyTorch.

    Parameters
    ----------
    output_size : int or (int, int)
        Height and width of the output; None in the place of one keeps the input's.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "adaptive_avg_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        arrays = frame.inputs[0], frame.output
        if isinstance(geometry, _core.Pool2dShape):
            return [frame.bind.avg_pool2d_forward(geometry, *arrays, layout=frame.layout)]
        return [frame.bind.resample2d_forward(_bins(frame, geometry), *arrays, layout=frame.layout)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        arrays = frame.grad_output, grad_input
        if isinstance(geometry, _core.Pool2dShape):
            return [frame.bind.avg_pool2d_backward(geometry, *arrays, layout=frame.layout)]
        return [frame.bind.resample2d_backward(_bins(frame, geometry), *arrays, layout=frame.layout)]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return (
            pool_bytes(frame, geometry, "avg") if isinstance(geometry, _core.Pool2dShape) else (stage_bytes(frame), 0)
        )


def _bins(frame: Frame, shape: _core.Resample2dShape) -> Any:
    """The map, on a GPU as `Resize.arguments` describes one."""
    if not frame.device.on_gpu:
        return shape
    return shape.input_shape, shape.output_shape[2:], "bins", False, (0.0, 0.0)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """Maximum over bins: output row o sees the rows from floor(o*H/OH) up to ceil((o + 1)*H/OH), as PyTorch.

    Parameters
    ----------
    output_size : int or (int, int)
        Height and width of the output; None in the place of one keeps the input's.
    name
        See `Layer`.

    Notes
    -----
    The gradient of an output goes to the first maximum of its bin.
    """

    kind: ClassVar[str] = "adaptive_max_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def needs(self, frame: Frame) -> Needs:
        if not frame.with_backward and isinstance(
            self.geometry(frame.batch, frame.input_shapes[0][1:]), _core.Pool2dShape
        ):
            return Needs()
        places = Buffer(frame.in_memory(frame.output_shape), np.dtype(np.int32), saved=frame.with_backward)
        return Needs(buffers={"places": places})

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        places, layout = frame.buffers.get("places"), frame.layout
        if isinstance(geometry, _core.Pool2dShape):
            return [frame.bind.max_pool2d_forward(geometry, frame.inputs[0], frame.output, places, layout=layout)]
        assert places is not None
        return [frame.bind.resample2d_max(geometry, frame.inputs[0], frame.output, places, layout=layout)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        grad, places, layout = frame.grad_output, frame.buffers["places"], frame.layout
        if isinstance(geometry, _core.Pool2dShape):
            return [frame.bind.max_pool2d_backward(geometry, grad, places, grad_input, layout=layout)]
        if frame.device.on_gpu:
            return [frame.bind.resample2d_max_backward(grad, places, grad_input)]
        return [partial(_core.scatter_planes, grad, places, grad_input, layout=layout, add=True)]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return pool_bytes(frame, geometry, "max", 4) if isinstance(geometry, _core.Pool2dShape) else (0, 0)
