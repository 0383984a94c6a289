"""Pooling layers: maximum and average over windows, and over the whole image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument, Pair
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer


def _sample(op: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"{op}: input must be (N, C, H, W), got a sample of shape {shape}")
    channels, height, width = shape
    return channels, height, width


class Pool2d(Layer):
    """What the windowed layers share: hyper-parameters and geometry."""

    dilation: Pair = (1, 1)

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None,
        padding: PaddingArgument,
        ceil_mode: bool,
        name: str | None,
    ) -> None:
        super().__init__(name)
        op = self.label
        self.kernel_size = arguments.pair(op, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else arguments.pair(op, "stride", stride)
        self.padding = arguments.explicit_padding(op, padding)
        if not isinstance(ceil_mode, bool | np.bool_):
            raise TypeError(f"{op}: ceil_mode must be True or False, got {arguments.describe(ceil_mode)}")
        self.ceil_mode = bool(ceil_mode)
        for what, sizes in (("kernel_size", self.kernel_size), ("stride", self.stride)):
            if min(sizes) < 1:
                raise ValueError(f"{op}: {what} must be positive, got {sizes}")

    def geometry(self, batch: int, shape: Shape) -> _core.Pool2dShape:
        return _core.Pool2dShape(
            (batch, *_sample(self.label, shape)),
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.label,
        )

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).output_shape[1:]

    def flops(self, *shapes: Shape) -> int:
        return math.prod(self.infer_shape(*shapes)) * math.prod(self.kernel_size)


class _GlobalPool2d(Layer):
    """What the global layers share: one window, as large as the image."""

    def __init__(self, keepdims: bool = False, *, name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(keepdims, bool | np.bool_):
            raise TypeError(f"{self.label}: keepdims must be True or False, got {arguments.describe(keepdims)}")
        self.keepdims = bool(keepdims)

    def geometry(self, batch: int, shape: Shape) -> _core.Pool2dShape:
        channels, height, width = _sample(self.label, shape)
        window = (height, width)
        return _core.Pool2dShape(
            (batch, channels, height, width), window, window, ((0, 0), (0, 0)), (1, 1), False, self.label
        )

    def infer_shape(self, *shapes: Shape) -> Shape:
        channels, _, _ = _sample(self.label, shapes[0])
        return (channels, 1, 1) if self.keepdims else (channels,)

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])

    def pooled(self, frame: Frame, array: Array) -> Array:
        """Return the output's array, or its gradient, as the 4-D array that the kernel writes or reads."""
        return array.reshape(frame.in_memory((frame.batch, frame.input_shapes[0][1], 1, 1)))


class MaxPool2d(Pool2d):
    """Maximum over windows; NaN propagates.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: the window.
    padding : int, (h, w) or ((top, bottom), (left, right)), default 0
        At most half the window; padded places never win.
    dilation : int or (int, int), default 1
    ceil_mode : bool, default False
        Round output sizes up instead of down.
    name
        See `Layer`.

    Notes
    -----
    The gradient of an output goes to the first maximum of its window.
    """

    kind: ClassVar[str] = "max_pool2d"
    runs_on_gpu: ClassVar[bool] = True
    can_mask_grad: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: PaddingArgument = 0,
        dilation: IntOrPair = 1,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        self.dilation = arguments.pair(self.label, "dilation", dilation)
        if min(self.dilation) < 1:
            raise ValueError(f"{self.label}: dilation must be positive, got {self.dilation}")
        windows = self.kernel_size == self.stride == (2, 2) and self.dilation == (1, 1)
        self.halves_maps = windows and self.padding == ((0, 0), (0, 0)) and not self.ceil_mode

    def masks_grad_of(self, frame: Frame) -> bool:
        return not frame.device.on_gpu or math.prod(self.kernel_size) <= _MOST_TAPS

    def needs(self, frame: Frame) -> Needs:
        return _max_needs(frame, frame.output_shape, self.geometry(frame.batch, frame.input_shapes[0][1:]))

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return _max_kernel_bytes(frame, self.geometry(frame.batch, frame.input_shapes[0][1:]))

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return [_max_forward(frame, geometry, frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return _max_backward(frame, geometry, frame.grad_output, frame.output)


class GlobalMaxPool2d(_GlobalPool2d):
    """Maximum over the whole image: (C, H, W) becomes (C,), or (C, 1, 1) with `keepdims=True`."""

    kind: ClassVar[str] = "global_max_pool2d"
    runs_on_gpu: ClassVar[bool] = True
    can_mask_grad: ClassVar[bool] = True

    def masks_grad_of(self, frame: Frame) -> bool:
        return not frame.device.on_gpu or math.prod(frame.input_shapes[0][2:]) <= _MOST_TAPS

    def needs(self, frame: Frame) -> Needs:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return _max_needs(frame, (frame.batch, frame.input_shapes[0][1], 1, 1), geometry)

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return _max_kernel_bytes(frame, self.geometry(frame.batch, frame.input_shapes[0][1:]))

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        return [_max_forward(frame, geometry, self.pooled(frame, frame.output))]

    def backward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        grad, output = self.pooled(frame, frame.grad_output), self.pooled(frame, frame.output)
        return _max_backward(frame, geometry, grad, output)


class AvgPool2d(Pool2d):
    """Average over windows.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: the window.
    padding : int, (h, w) or ((top, bottom), (left, right)), default 0
    ceil_mode : bool, default False
        Round output sizes up instead of down.
    count_include_pad : bool, default True
        Whether padded zeros count in the divisor.
    divisor_override : int, optional
        Divide by this instead of the number of places.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "avg_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: PaddingArgument = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        if not isinstance(count_include_pad, bool | np.bool_):
            raise TypeError(f"{self.label}: count_include_pad must be True or False, got {count_include_pad!r}")
        self.count_include_pad = bool(count_include_pad)
        self.divisor_override = 0
        if divisor_override is not None:
            self.divisor_override = arguments.integer(self.label, "divisor_override", divisor_override)
            if self.divisor_override < 1:
                raise ValueError(f"{self.label}: divisor_override must be positive, got {divisor_override}")

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [self._bound(frame, frame.bind.avg_pool2d_forward, frame.inputs[0], frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        return [self._bound(frame, frame.bind.avg_pool2d_backward, frame.grad_output, frame.grad_inputs[0])]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return pool_bytes(frame, self.geometry(frame.batch, frame.input_shapes[0][1:]), "avg")

    def _bound(self, frame: Frame, kernel: Callable[..., Call], source: Array, target: Array) -> Call:
        return kernel(
            self.geometry(frame.batch, frame.input_shapes[0][1:]),
            source,
            target,
            layout=frame.layout,
            count_include_pad=self.count_include_pad,
            divisor_override=self.divisor_override,
        )


class GlobalAvgPool2d(_GlobalPool2d):
    """Average over the whole image: (C, H, W) becomes (C,), or (C, 1, 1) with `keepdims=True`."""

    kind: ClassVar[str] = "global_avg_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return pool_bytes(frame, self.geometry(frame.batch, frame.input_shapes[0][1:]), "avg")

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        output = self.pooled(frame, frame.output)
        return [frame.bind.avg_pool2d_forward(geometry, frame.inputs[0], output, layout=frame.layout)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        grad = self.pooled(frame, frame.grad_output)
        return [frame.bind.avg_pool2d_backward(geometry, grad, frame.grad_inputs[0], layout=frame.layout)]


_MOST_TAPS = 254  # one byte, of which 255 says that nothing is passed on


def _max_needs(frame: Frame, output_shape: Shape, geometry: _core.Pool2dShape) -> Needs:
    """Backward reads where the maxima were: the numbers of taps, in which a mask is included; of large windows indices,
    and the output where it masks for a ReLU before the pool.
    """
    if not frame.with_backward:
        return Needs()
    taps = math.prod(geometry.kernel_size) <= _MOST_TAPS
    places = Buffer(frame.in_memory(output_shape), np.dtype(np.uint8 if taps else np.int32))
    return Needs(output=frame.masks_grad and not taps, buffers={"places": places})


def _is_taps(frame: Frame) -> bool:
    return frame.buffers["places"].dtype == np.uint8


def _max_forward(frame: Frame, geometry: _core.Pool2dShape, output: Array) -> Call:
    places = frame.buffers.get("places")
    call: Call = frame.bind.max_pool2d_forward(
        geometry,
        frame.inputs[0],
        output,
        places,
        layout=frame.layout,
        positive_only=frame.masks_grad and places is not None and _is_taps(frame),
    )
    return call


def _max_backward(frame: Frame, geometry: _core.Pool2dShape, grad: Array, output: Array) -> list[Call]:
    if frame.grad_inputs[0] is None:
        return []
    masked_by = output if frame.masks_grad and not _is_taps(frame) else None
    return [
        frame.bind.max_pool2d_backward(
            geometry,
            grad,
            frame.buffers["places"],
            frame.grad_inputs[0],
            layout=frame.layout,
            output=masked_by,
        )
    ]


def pool_bytes(
    frame: Frame, geometry: _core.Pool2dShape, kind: Literal["max", "avg"], index_bytes: int = 0
) -> tuple[int, int]:
    """Return scratch bytes, as `explain` tells them; nothing is packed."""
    if frame.device.on_gpu:
        return 0, 0
    name: Literal["float32", "float64"] = "float32" if frame.dtype == np.float32 else "float64"
    forward: Literal["max_forward", "avg_forward"] = "max_forward" if kind == "max" else "avg_forward"
    backward: Literal["max_backward", "avg_backward"] = "max_backward" if kind == "max" else "avg_backward"
    scratch = [
        _core.pool2d_explain(geometry, pass_name, name, layout=frame.layout, index_bytes=index_bytes)["scratch_bytes"]
        for pass_name in ((forward, backward) if frame.with_backward else (forward,))
    ]
    return max(scratch), 0


def _max_kernel_bytes(frame: Frame, geometry: _core.Pool2dShape) -> tuple[int, int]:
    index_bytes = 1 if math.prod(geometry.kernel_size) <= _MOST_TAPS else 4
    return pool_bytes(frame, geometry, "max", index_bytes if frame.with_backward else 0)
