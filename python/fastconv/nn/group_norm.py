"""Group normalisation: each sample by itself, so that training and inference are one."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from fastconv._checks import arguments
from fastconv._checks.numbers import number
from fastconv.nn import own_activation
from fastconv.nn.batch_norm import norm_bytes
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.parameter import Parameter


class GroupNorm(Layer):
    """Group normalisation (Wu and He 2018): mean and variance over groups of channels of each sample.

    Parameters
    ----------
    num_groups : int
        Divides the channels; 1 normalises whole samples, one group a channel is instance norm.
    num_channels : int or None
        None takes them from the first input, (N, C, H, W) or (N, C).
    eps : float, default 1e-5
    affine : bool, default True
        Whether there are a weight and a bias for each channel.
    name
        See `Layer`.

    Attributes
    ----------
    weight, bias : Parameter or None
        (num_channels,)

    Notes
    -----
    grad_input = rstd * (w g - mean(w g) - xhat * mean(w g xhat)), the means over the group.
    """

    kind: ClassVar[str] = "group_norm"
    runs_on_gpu: ClassVar[bool] = True
    fuses_relu: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def __init__(
        self,
        num_groups: int,
        num_channels: int | None,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        op = self.label
        self.num_groups = arguments.integer(op, "num_groups", num_groups)
        self.eps = number(op, "eps", eps, 0.0)
        self.affine = arguments.flag(op, "affine", affine)
        if self.num_groups < 1:
            raise ValueError(f"{op}: num_groups must be positive, got {self.num_groups}")
        self.num_channels = None if num_channels is None else arguments.integer(op, "num_channels", num_channels)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        if self.num_channels is not None:
            self._create_for(self.num_channels)

    def _create_for(self, channels: int) -> None:
        if channels < 1 or channels % self.num_groups:
            raise ValueError(
                f"{self.label}: num_channels must be a positive multiple of num_groups={self.num_groups}, "
                f"got {channels}"
            )
        self.num_channels = channels
        if self.affine:
            self.weight = Parameter(np.ones(channels, np.float32), "weight")
            self.bias = Parameter(np.zeros(channels, np.float32), "bias")

    def parameters(self) -> dict[str, Parameter]:
        return {} if self.weight is None or self.bias is None else {"weight": self.weight, "bias": self.bias}

    def create(self, *shapes: Shape) -> None:
        if self.num_channels is None:
            self._create_for(shapes[0][0])

    def infer_shape(self, *shapes: Shape) -> Shape:
        if shapes[0][0] != self.num_channels:
            raise ValueError(
                f"{self.label}: input must have {self.num_channels} channels, got a sample of shape {shapes[0]}"
            )
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        shape = (frame.batch * self.num_groups, 2)
        return Needs(inputs=True, buffers={"stats": Buffer(shape, np.dtype(np.float64))})

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [
            frame.bind.norm_forward(
                frame.inputs[0],
                None if self.weight is None else self.weight.data,
                None if self.bias is None else self.bias.data,
                frame.output,
                frame.buffers["stats"],
                eps=self.eps,
                groups=self.num_groups,
                activation=own_activation.in_kernel(frame),
                layout=frame.layout,
            )
        ]

    def backward_calls(self, frame: Frame) -> list[Call]:
        wanted = [p for p in (self.weight, self.bias) if p is not None and frame.wants(p)]
        if not wanted and frame.grad_inputs[0] is None:
            return []
        more = [frame.accumulates(parameter) for parameter in wanted]
        return [
            frame.bind.norm_backward(
                frame.grad_output,
                frame.inputs[0],
                frame.buffers["stats"],
                None if self.weight is None else self.weight.data,
                None if self.bias is None else self.bias.data,
                frame.grad_inputs[0],
                *(p.gradient() if p is not None and p in wanted else None for p in (self.weight, self.bias)),
                groups=self.num_groups,
                activation="none" if frame.grad_is_masked else own_activation.in_kernel(frame),
                layout=frame.layout,
                accumulate=any(more),
            )
        ]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return norm_bytes(frame, frame.in_memory(frame.output_shape), self.num_groups), 0

    def flops(self, *shapes: Shape) -> int:
        return 8 * math.prod(shapes[0])
