"""ConvTranspose2d: a layer of transposed convolution, which makes images larger."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv._config import Algorithm
from fastconv.nn import init, own_activation
from fastconv.nn.conv2d import Conv2d, conv2d_bytes
from fastconv.nn.folding import FoldedWeight
from fastconv.nn.frame import Call, Frame, Shape
from fastconv.nn.packing import PackedWeight
from fastconv.nn.parameter import Parameter


class ConvTranspose2d(Conv2d):
    """2-D transposed convolution: every pixel adds a window of filters to the output.

    Parameters
    ----------
    in_channels : int or None
        Channels of the input; None takes them from the first input.
    out_channels : int
    kernel_size : int or (int, int)
    stride, dilation : int or (int, int), default 1
    padding : int, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower", default 0
        Rows and columns left out around the output. "same": out = in * stride.
    output_padding : int or (int, int), default 0
        Rows and columns kept at the end in addition, less than the stride.
    groups : int, default 1
    bias : bool, default True
    output_size : int or (int, int), optional
        Height and width of the output, instead of `output_padding`; an error lists the sizes that are possible.
    activation : str, optional
        As of `Conv2d`.
    algo, name, seed
        See `Conv2d`.

    Attributes
    ----------
    weight : Parameter
        (in_channels, out_channels / groups, kernel height, kernel width), as PyTorch has it.
    bias : Parameter or None
        (out_channels,)

    Notes
    -----
    out = (in - 1) * stride - padding + dilation * (kernel - 1) + 1 + output_padding along each axis. The formulas and
    gradients are those of `fastconv.ops.conv_transpose2d`. Start values: as `Conv2d` with the number of weights that an
    output meets, in_channels / groups * taps / stride.
    """

    kind: ClassVar[str] = "conv_transpose2d"
    folds_norm: ClassVar[bool] = False  # its output channels are the second axis of the weight, group by group

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: PaddingArgument = 0,
        output_padding: IntOrPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrPair = 1,
        *,
        output_size: IntOrPair | None = None,
        activation: str | None = None,
        algo: str = "auto",
        name: str | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            activation,
            algo=algo,
            name=name,
            seed=seed,
        )
        self.output_padding = arguments.pair(self.label, "output_padding", output_padding)
        self.output_size = None if output_size is None else arguments.pair(self.label, "output_size", output_size)

    def _weight_shape(self, channels: int) -> Shape:
        return channels, self.out_channels // self.groups, *self.kernel_size

    def _in_channels(self, weight: Parameter) -> int:
        return weight.shape[0]

    def draw(self, generator: np.random.Generator, relu_follows: bool) -> None:
        channels, filters, *window = self.weight.shape
        drawn = init.weight((filters * self.groups, channels // self.groups, *window), generator, relu_follows)
        skipped = math.prod(min(taps, step) for taps, step in zip(window, self.stride, strict=True))
        grouped = (drawn * math.sqrt(skipped)).reshape(self.groups, filters, -1, *window)
        self.weight.data = grouped.swapaxes(1, 2).reshape(self.weight.shape)

    def geometry(self, batch: int, shape: Shape) -> _core.Conv2dShape:
        """Return the convolution in the other direction, from this layer's output to its input."""
        weight = self._checked_weight_shape(shape)
        return _core.conv_transpose2d_shape(
            (batch, shape[0], shape[1], shape[2]),
            weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.output_padding,
            self.output_size,
            self.label,
        )

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).input_shape[1:]

    def fuses_max_pool(self, frame: Frame) -> bool:
        return False

    def packed(self, geometry: _core.Conv2dShape, algo: Algorithm, folded: FoldedWeight | None = None) -> PackedWeight:
        key = geometry.input_shape[1:], algo, folded
        if key not in self._packed:
            self._packed[key] = PackedWeight(
                [self.weight],
                lambda: _core.conv2d_pack_weight(geometry, self.weight.data, "backward_input", algo=algo),
            )
        return self._packed[key]

    def _forward(
        self, geometry: _core.Conv2dShape, frame: Frame, bias: Array | None, folded: FoldedWeight | None = None
    ) -> Callable[..., object]:
        run: Callable[..., object] = frame.bind.conv_transpose2d_forward(
            geometry,
            frame.inputs[0],
            self.weight.data,
            bias,
            own_activation.target(frame),
            layout=frame.layout,
            activation=own_activation.in_kernel(frame),
            algo=self.algorithm(frame),
        )
        return run

    def _weight_gradient(
        self, frame: Frame, geometry: _core.Conv2dShape, images: Array, grad: Array, into: Array, **options: Any
    ) -> Call:
        call: Call = frame.bind.conv2d_backward_weight(geometry, grad, images, into, **options)
        return call

    def _input_gradient(
        self, frame: Frame, geometry: _core.Conv2dShape, grad: Array, into: Array, **options: Any
    ) -> Call:
        call: Call = frame.bind.conv2d_forward(geometry, grad, self.weight.data, None, into, **options)
        return call

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        scratch, packed = conv2d_bytes(geometry, frame, self.algorithm(frame), transposed=True)
        return (scratch if own_activation.is_fused(frame) else max(scratch, own_activation.stage_bytes(frame))), packed
