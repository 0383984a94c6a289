"""WeightedPool2d: means of windows with fixed weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv.nn.conv2d import conv2d_bytes
from fastconv.nn.frame import Call, Frame, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.nn.packing import PackedWeight
from fastconv.nn.parameter import Parameter
from fastconv.ops.weighted_pool2d import depthwise_weight, gaussian_window, normalised_window, weighted_geometry


class WeightedPool2d(Layer):
    """Mean over windows with fixed weights: pixels count by their distance from the centre, or as the user says.

    Parameters
    ----------
    window : int, (int, int), or weights of shape (KH, KW)
        A size takes `gaussian_window(size, sigma)`; weights are divided by their sum.
    stride : int or (int, int), optional
        Default: the window.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower", default 0
        Zeros, which count with their weights.
    sigma : float, optional
        Of the Gaussian, in pixels. Default: a quarter of the window's larger side.
    name
        See `Layer`.

    Notes
    -----
    A depthwise convolution with one filter for all channels, which is no parameter and is not trained.
    """

    kind: ClassVar[str] = "weighted_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        window: IntOrPair | Array | Sequence[Sequence[float]],
        stride: IntOrPair | None = None,
        padding: PaddingArgument = 0,
        *,
        sigma: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        op = self.label
        if np.ndim(window) == 2:
            if sigma is not None:
                raise ValueError(f"{op}: sigma must be None where the weights are given, got {sigma}")
            self.window = normalised_window(op, window)
        else:
            size = arguments.pair(op, "window", window)
            self.window = gaussian_window(size, sigma)
        self.stride = None if stride is None else arguments.pair(op, "stride", stride)
        self.padding = arguments.padding(op, padding)
        self._held: tuple[Any, Any] | None = None  # the filters on the device that used them last
        self._filters: dict[tuple[int, np.dtype[Any]], Parameter] = {}
        self._packed: dict[tuple[Shape, np.dtype[Any]], PackedWeight] = {}

    def geometry(self, batch: int, shape: Shape) -> _core.Conv2dShape:
        sizes = (batch, *image_shape(self.label, shape))
        return weighted_geometry(self.label, sizes, self.window, self.stride, self.padding)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).output_shape[1:]

    def filters(self, channels: int, dtype: np.dtype[Any]) -> Parameter:
        """Return the window once for each channel; kept, but not a parameter of the model."""
        key = channels, dtype
        if key not in self._filters:
            weight = depthwise_weight(self.window, channels, dtype)
            self._filters[key] = Parameter(weight, "weight")
        return self._filters[key]

    def _on_device(self, frame: Frame) -> Any:
        """The filters on a GPU: with a channel each they lie there as here."""
        key = frame.device, frame.input_shapes[0][1]
        if self._held is None or self._held[0] != key:
            filters = self.filters(frame.input_shapes[0][1], frame.dtype).numpy()
            device: Any = frame.device
            self._held = key, device.constant(filters)
        return self._held[1]

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        filters = self.filters(geometry.input_shape[1], frame.dtype)
        if frame.device.on_gpu:
            arrays = frame.inputs[0], self._on_device(frame), None, frame.output
            return [frame.bind.conv2d_forward(geometry, *arrays)]
        run = partial(
            _core.conv2d_forward,
            geometry,
            frame.inputs[0],
            filters.data,
            None,
            frame.output,
            layout=frame.layout,
        )
        if frame.with_backward:
            return [run]
        key = geometry.input_shape[1:], frame.dtype
        if key not in self._packed:
            self._packed[key] = PackedWeight(
                [filters], lambda: _core.conv2d_pack_weight(geometry, filters.data, "forward")
            )
        packed = self._packed[key]
        return [lambda: run(packed_weight=packed.array())]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        if frame.device.on_gpu:
            arrays = self._on_device(frame), frame.grad_output, grad_input
            return [frame.bind.conv2d_backward_input(geometry, *arrays)]
        weight = self.filters(geometry.input_shape[1], frame.dtype).data
        return [
            partial(_core.conv2d_backward_input, geometry, weight, frame.grad_output, grad_input, layout=frame.layout)
        ]

    @property
    def packed_bytes(self) -> int:
        return sum(packed.nbytes for packed in self._packed.values())

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        if frame.device.on_gpu:
            return 0, 0
        return conv2d_bytes(self.geometry(frame.batch, frame.input_shapes[0][1:]), frame)

    def flops(self, *shapes: Shape) -> int:
        return 2 * math.prod(self.infer_shape(*shapes)) * self.window.size
