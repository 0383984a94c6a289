"""Batch normalisation layers: statistics of the batch in training, running ones in inference."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.nn import own_activation
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.parameter import Parameter
from fastconv.ops.norm import check_count


class _BatchNorm(Layer):
    """What both have in common."""

    fuses_relu: ClassVar[bool] = True
    in_place: ClassVar[bool] = True
    sample_ndim: ClassVar[int]
    wanted: ClassVar[str]

    def __init__(
        self,
        num_features: int | None,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        freeze_statistics: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        op = self.label
        self.eps = number(op, "eps", eps, 0.0)
        self.momentum = number(op, "momentum", momentum, 0.0)
        self.affine = arguments.flag(op, "affine", affine)
        self.freeze_statistics = arguments.flag(op, "freeze_statistics", freeze_statistics)
        self._parameters: dict[str, Parameter] = {}
        if num_features is not None:
            features = arguments.integer(op, "num_features", num_features)
            if features < 1:
                raise ValueError(f"{op}: num_features must be positive, got {features}")
            self._create_for(features)

    def _create_for(self, features: int) -> None:
        zeros, ones = np.zeros(features, np.float32), np.ones(features, np.float32)
        if self.affine:
            self._parameters |= {"weight": Parameter(ones, "weight"), "bias": Parameter(zeros, "bias")}
        self._parameters["running_mean"] = Parameter(zeros, "running_mean", statistic=True)
        self._parameters["running_var"] = Parameter(ones, "running_var", statistic=True)

    def _parameter(self, name: str) -> Parameter:
        if not self._parameters:
            raise AttributeError(f"{self.label}: {name} exists once num_features is known (an input was seen)")
        return self._parameters[name]

    @property
    def weight(self) -> Parameter | None:
        return self._parameter("weight") if self.affine else None

    @property
    def bias(self) -> Parameter | None:
        return self._parameter("bias") if self.affine else None

    @property
    def running_mean(self) -> Parameter:
        return self._parameter("running_mean")

    @property
    def running_var(self) -> Parameter:
        return self._parameter("running_var")

    def parameters(self) -> dict[str, Parameter]:
        return dict(self._parameters)

    def create(self, *shapes: Shape) -> None:
        if not self._parameters:
            self._check(shapes[0])
            self._create_for(shapes[0][0])

    def _check(self, shape: Shape) -> None:
        if len(shape) != self.sample_ndim or (self._parameters and shape[0] != self.running_mean.size):
            features = f" of {self.running_mean.size} channels" if self._parameters else ""
            raise ValueError(f"{self.label}: input must be {self.wanted}{features}, got a sample of shape {shape}")

    def infer_shape(self, *shapes: Shape) -> Shape:
        self._check(shapes[0])
        return shapes[0]

    @property
    def variant(self) -> Hashable:
        return self.freeze_statistics

    def _uses_batch(self, frame: Frame) -> bool:
        return frame.training and not self.freeze_statistics

    def is_scale_and_shift(self, frame: Frame) -> bool:
        return not self._uses_batch(frame)

    def scale_and_shift(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return by what inference multiplies each channel, and what it adds."""
        mean, var = (p.data.astype(np.float64) for p in (self.running_mean, self.running_var))
        scale = 1 / np.sqrt(var + self.eps)
        if self.weight is None or self.bias is None:
            return scale, -mean * scale
        scale *= self.weight.data
        return scale, self.bias.data - mean * scale

    def needs(self, frame: Frame) -> Needs:
        if self._uses_batch(frame):
            check_count(self.label, math.prod(frame.output_shape) // frame.output_shape[1], frame.output_shape)
        stats = Buffer((frame.output_shape[1], 2), np.dtype(np.float64))
        return Needs(inputs=True, buffers={"stats": stats})

    def _affine(self) -> tuple[Array | None, Array | None]:
        return (None, None) if self.weight is None or self.bias is None else (self.weight.data, self.bias.data)

    def forward_calls(self, frame: Frame) -> list[Call]:
        calls: list[Call] = [
            frame.bind.norm_forward(
                frame.inputs[0],
                *self._affine(),
                frame.output,
                frame.buffers["stats"],
                running_mean=self.running_mean.data,
                running_var=self.running_var.data,
                training=self._uses_batch(frame),
                momentum=self.momentum,
                eps=self.eps,
                activation=own_activation.in_kernel(frame),
                layout=frame.layout,
            )
        ]
        if self._uses_batch(frame):
            calls += [self.running_mean.touch, self.running_var.touch]
        return calls

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
                *self._affine(),
                frame.grad_inputs[0],
                *(p.gradient() if p is not None and p in wanted else None for p in (self.weight, self.bias)),
                training=self._uses_batch(frame),
                activation="none" if frame.grad_is_masked else own_activation.in_kernel(frame),
                layout=frame.layout,
                accumulate=any(more),
            )
        ]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return norm_bytes(frame, frame.in_memory(frame.output_shape), 0, self._uses_batch(frame)), 0

    def flops(self, *shapes: Shape) -> int:
        return 2 * math.prod(shapes[0])


def norm_bytes(frame: Frame, shape: Shape, groups: int, training: bool = True) -> int:
    """Return the most scratch bytes of a norm's passes over an array of `shape`."""
    if frame.device.on_gpu:
        return int(frame.bind.norm_scratch(shape))
    name: Literal["float32", "float64"] = "float32" if frame.dtype == np.float32 else "float64"
    passes = (False, True) if frame.with_backward else (False,)
    return max(
        _core.norm_scratch_bytes(shape, groups, name, layout=frame.layout, training=training, backward=backward)
        for backward in passes
    )


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (Ioffe and Szegedy 2015): (x - mean) / sqrt(var + eps) * weight + bias by channel.

    In training mean and variance are the batch's, over N, H and W, and the running ones move:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance. In inference, and wherever a
    model is asked for gradients of inputs, they are the running ones; a model folds the layer into a convolution or
    dense layer before it then. A ReLU behind it is done in the same pass.

    Parameters
    ----------
    num_features : int or None
        Channels; None takes them from the first input.
    eps : float, default 1e-5
    momentum : float, default 0.1
        The share of the new statistics (Keras's momentum is 1 minus this).
    affine : bool, default True
        Whether there are a weight and a bias.
    freeze_statistics : bool, default False
        Use the running statistics in training, too, and leave them as they are: for fine-tuning with small batches.
        The attribute may be changed at any time. `trainable = False` freezes weight and bias only, as in PyTorch.
    name
        See `Layer`.

    Attributes
    ----------
    weight, bias : Parameter or None
        (num_features,)
    running_mean, running_var : Parameter
        Part of files and checkpoints, never trained.

    Raises
    ------
    ValueError
        In training with a single value per channel.

    Notes
    -----
    grad_input = rstd * weight * (g - mean(g) - xhat * mean(g * xhat)), grad_weight = sum(g * xhat), grad_bias = sum(g).
    """

    kind: ClassVar[str] = "batch_norm2d"
    runs_on_gpu: ClassVar[bool] = True
    sample_ndim: ClassVar[int] = 3
    wanted: ClassVar[str] = "(N, C, H, W)"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features, (N, F): as `BatchNorm2d`, with mean and variance over N.

    Parameters
    ----------
    num_features, eps, momentum, affine, freeze_statistics, name
        As for `BatchNorm2d`.
    """

    kind: ClassVar[str] = "batch_norm1d"
    runs_on_gpu: ClassVar[bool] = True
    sample_ndim: ClassVar[int] = 1
    wanted: ClassVar[str] = "(N, F)"
