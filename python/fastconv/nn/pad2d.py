"""Pad, Crop and CropLike: borders put around images, or cut off."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from fastconv._checks import arguments
from fastconv._checks.arguments import Array, ExplicitPadding, PaddingArgument
from fastconv.nn.frame import Call, Frame, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.ops.pad2d import (
    Pieces,
    center_cropping,
    check_amounts,
    check_pad_options,
    collect_padded,
    crop_part,
    cropped_size,
    pad_into,
    pad_pieces,
    padded_size,
)


class Pad(Layer):
    """A border around images.

    Parameters
    ----------
    padding : int, (h, w) or ((top, bottom), (left, right))
        Not negative: `Crop` cuts off.
    mode : "constant", "reflect" or "replicate", default "constant"
        "reflect" mirrors at the outermost pixels, without repeating them.
    value : float, default 0
        Of "constant".
    name
        See `Layer`.

    Notes
    -----
    On the CPU copies by NumPy, on one thread; zeros cost less as the `padding` of a convolution or pool. In backward
    a pixel collects the gradients of all its copies.
    """

    kind: ClassVar[str] = "pad"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self, padding: PaddingArgument, mode: str = "constant", value: float = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(name)
        op = self.label
        self.padding = check_amounts(op, "padding", arguments.explicit_padding(op, padding))
        self.mode, self.value = check_pad_options(op, mode, value)

    def infer_shape(self, *shapes: Shape) -> Shape:
        channels, height, width = image_shape(self.label, shapes[0])
        return channels, *padded_size(self.label, (height, width), self.padding, self.mode)

    def _pieces(self, frame: Frame) -> Pieces:
        _, _, height, width = frame.input_shapes[0]
        return pad_pieces((height, width), self.padding, self.mode, frame.layout)

    def _middle(self, frame: Frame, padded: Array) -> Array:
        """The image within its border."""
        _, _, height, width = frame.output_shape
        return padded[crop_part((height, width), self.padding, frame.layout)]

    def forward_calls(self, frame: Frame) -> list[Call]:
        if frame.device.on_gpu and self.mode != "constant":
            return [frame.bind.pad2d(frame.inputs[0], frame.output, self.padding, self.mode)]
        if frame.device.on_gpu:
            copy = frame.bind.copy(self._middle(frame, frame.output), frame.inputs[0])
            return [frame.bind.fill(frame.output, self.value), copy]
        value = self.value if self.mode == "constant" else None
        return [
            partial(pad_into, frame.output, frame.inputs[0], self._pieces(frame), self.padding, value, frame.layout)
        ]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        if frame.device.on_gpu and self.mode != "constant":
            return [frame.bind.pad2d_backward(frame.grad_output, grad_input, self.padding, self.mode)]
        if frame.device.on_gpu:
            return [frame.bind.copy(grad_input, self._middle(frame, frame.grad_output))]
        return [partial(collect_padded, grad_input, frame.grad_output, self._pieces(frame))]


class _Crop(Layer):
    """What both ways to crop share."""

    def cropping(self, *shapes: Shape) -> ExplicitPadding:
        """Return what is cut off the first of these samples."""
        raise NotImplementedError

    def infer_shape(self, *shapes: Shape) -> Shape:
        channels, height, width = image_shape(self.label, shapes[0])
        return channels, *cropped_size(self.label, (height, width), self.cropping(*shapes))

    def _part(self, frame: Frame, array: Array) -> Array:
        _, _, height, width = frame.input_shapes[0]
        amounts = self.cropping(*(shape[1:] for shape in frame.input_shapes))
        return array[crop_part((height, width), amounts, frame.layout)]

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [frame.bind.copy(frame.output, self._part(frame, frame.inputs[0]))]

    def backward_calls(self, frame: Frame) -> list[Call]:
        calls: list[Call] = [frame.bind.fill(grad, 0) for grad in frame.grad_inputs if grad is not None]
        if frame.grad_inputs[0] is not None:
            calls.append(frame.bind.copy(self._part(frame, frame.grad_inputs[0]), frame.grad_output))
        return calls


class Crop(_Crop):
    """Cut a border off images.

    Parameters
    ----------
    cropping : int, (h, w) or ((top, bottom), (left, right))
        Not negative: `Pad` adds.
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "crop"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, cropping: PaddingArgument, *, name: str | None = None) -> None:
        super().__init__(name)
        op = self.label
        self._amounts = check_amounts(op, "cropping", arguments.explicit_padding(op, cropping))

    def cropping(self, *shapes: Shape) -> ExplicitPadding:
        return self._amounts


class CropLike(_Crop):
    """The middle of the first input, of the second one's height and width; called as CropLike()(image, reference).

    For the skip connections of a U-Net (Ronneberger et al. 2015). Of an odd rest the larger half is cut off at the end.
    The reference gives its size only: its gradient is zero.
    """

    kind: ClassVar[str] = "crop_like"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = 2

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def cropping(self, *shapes: Shape) -> ExplicitPadding:
        (_, *size), (_, *target) = (image_shape(self.label, shape) for shape in shapes)
        return center_cropping(self.label, (size[0], size[1]), (target[0], target[1]))
