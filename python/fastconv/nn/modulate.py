"""Multiply, AddChannels and ScaleShift: images changed channel by channel by values that the network computed.

Time steps of diffusion models, squeeze-and-excitation, FiLM. NumPy's products and sums, on one thread and
with its buffers of at most 8192 values; sums over pixels are sum pooling.
"""

from __future__ import annotations

import math
from typing import ClassVar

from fastconv import _core
from fastconv._checks.arguments import Array
from fastconv.nn.frame import Call, Frame, Needs, Shape, image_shape
from fastconv.nn.layer import Layer


def _spread(frame: Frame, values: Array) -> Array:
    """View (N, C) or (N, C, 1, 1) so that it broadcasts over the images of the frame."""
    return values.reshape(frame.in_memory((frame.batch, frame.input_shapes[0][1], 1, 1)))


def _sum_pixels(frame: Frame, images: Array, sums: Array) -> Call:
    """Write the sum over the pixels of each channel."""
    n, c, h, w = frame.input_shapes[0]
    window = _core.Pool2dShape((n, c, h, w), (h, w), (h, w), ((0, 0), (0, 0)), (1, 1), False)
    call: Call = frame.bind.avg_pool2d_forward(
        window, images, _spread(frame, sums), layout=frame.layout, divisor_override=1
    )
    return call


def _check_channels(label: str, image: Shape, values: Shape, which: str) -> None:
    channels = image_shape(label, image)[0]
    if values not in ((channels,), (channels, 1, 1)):
        raise ValueError(
            f"{label}: the {which} input must have a value for each channel of the first, ({channels},) or "
            f"({channels}, 1, 1), got {values} for {image}"
        )


class Multiply(Layer):
    """Product of two inputs of one shape, or of images (C, H, W) and a value for each channel, (C,) or (C, 1, 1).

    Notes
    -----
    grad_first = grad_output * second and the other way round, summed over the pixels where it was spread over them.
    """

    kind: ClassVar[str] = "multiply"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = 2

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        first, second = shapes
        if first != second:
            if len(first) != 3:
                raise ValueError(f"{self.label}: inputs must have one shape, got {first} and {second}")
            _check_channels(self.label, first, second, "second")
        return first

    def needs(self, frame: Frame) -> Needs:
        return Needs(inputs=True, writes_grad_output=True)

    def _second(self, frame: Frame) -> Array:
        same = frame.input_shapes[0] == frame.input_shapes[1]
        return frame.inputs[1] if same else _spread(frame, frame.inputs[1])

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.multiply(frame.inputs[0], self._second(frame), frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad, (grad_first, grad_second) = frame.grad_output, frame.grad_inputs
        calls: list[Call] = []
        if grad_first is not None:
            calls.append(frame.bind.multiply(grad, self._second(frame), grad_first))
        if grad_second is not None and frame.input_shapes[0] == frame.input_shapes[1]:
            calls.append(frame.bind.multiply(grad, frame.inputs[0], grad_second))
        elif grad_second is not None:
            calls.append(frame.bind.multiply(grad, frame.inputs[0], grad))
            calls.append(_sum_pixels(frame, grad, grad_second))
        return calls

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class AddChannels(Layer):
    """Images (C, H, W) plus a value for each channel, (C,) or (C, 1, 1), such as a time step in a diffusion model.

    Notes
    -----
    The gradient of the values is grad_output summed over the pixels.
    """

    kind: ClassVar[str] = "add_channels"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = 2

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        image, values = shapes
        _check_channels(self.label, image, values, "second")
        return image

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.add_spread(frame.inputs[0], _spread(frame, frame.inputs[1]), frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_images, grad_values = frame.grad_inputs
        calls: list[Call] = []
        if grad_images is not None:
            calls.append(frame.bind.copy(grad_images, frame.grad_output))
        if grad_values is not None:
            calls.append(_sum_pixels(frame, frame.grad_output, grad_values))
        return calls

    def flops(self, *shapes: Shape) -> int:
        return math.prod(shapes[0])


class ScaleShift(Layer):
    """x * (1 + scale) + shift, with scale and shift (C,) or (C, 1, 1) for images (C, H, W): FiLM (Perez et al. 2018).

    Called on three inputs: images, scale, shift.

    Notes
    -----
    grad_x = grad_output * (1 + scale); the gradients of scale and shift are grad_output * x and grad_output summed
    over the pixels.
    """

    kind: ClassVar[str] = "scale_shift"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = 3

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def infer_shape(self, *shapes: Shape) -> Shape:
        image, scale, shift = shapes
        _check_channels(self.label, image, scale, "second")
        _check_channels(self.label, image, shift, "third")
        return image

    def needs(self, frame: Frame) -> Needs:
        return Needs(inputs=True, writes_grad_output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        images, scale, shift = frame.inputs
        output = frame.output
        # (x * scale + x) + shift: no place for 1 + scale is needed.
        return [
            frame.bind.multiply(images, _spread(frame, scale), output),
            frame.bind.add_spread(output, images, output),
            frame.bind.add_spread(output, _spread(frame, shift), output),
        ]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad, (grad_images, grad_scale, grad_shift) = frame.grad_output, frame.grad_inputs
        images, scale, _ = frame.inputs
        calls: list[Call] = []
        if grad_shift is not None:
            calls.append(_sum_pixels(frame, grad, grad_shift))
        if grad_images is not None:
            calls.append(frame.bind.multiply(grad, _spread(frame, scale), grad_images))
            calls.append(frame.bind.add_spread(grad_images, grad, grad_images))
        if grad_scale is not None:
            calls.append(frame.bind.multiply(grad, images, grad))
            calls.append(_sum_pixels(frame, grad, grad_scale))
        return calls

    def flops(self, *shapes: Shape) -> int:
        return 3 * math.prod(shapes[0])
