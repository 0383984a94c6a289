"""Layer normalisation of whole samples, with a weight and a bias for each of their elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.nn.batch_norm import norm_bytes
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.parameter import Parameter


class LayerNorm(Layer):
    """Layer normalisation (Ba, Kiros and Hinton 2016): mean and variance of each sample.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The shape of a sample, (F,) or (C, H, W) in every layout. (`fastconv.ops.layer_norm` takes any trailing axes.)
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Whether there are a weight and a bias for each element.
    name
        See `Layer`.

    Attributes
    ----------
    weight, bias : Parameter or None
        Of shape `normalized_shape`.

    Notes
    -----
    grad_input = rstd * (w g - mean(w g) - xhat * mean(w g xhat)), the means over the sample.
    """

    kind: ClassVar[str] = "layer_norm"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        op = self.label
        given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        self.normalized_shape = tuple(arguments.integer(op, "normalized_shape", size) for size in given)
        if len(self.normalized_shape) not in (1, 3) or min(self.normalized_shape) < 1:
            raise ValueError(
                f"{op}: normalized_shape must be a sample's, (F,) or (C, H, W), of positive sizes, "
                f"got {normalized_shape}"
            )
        self.eps = number(op, "eps", eps, 0.0)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        if arguments.flag(op, "elementwise_affine", elementwise_affine):
            self.weight = Parameter(np.ones(self.normalized_shape, np.float32), "weight")
            self.bias = Parameter(np.zeros(self.normalized_shape, np.float32), "bias")

    def parameters(self) -> dict[str, Parameter]:
        return {} if self.weight is None or self.bias is None else {"weight": self.weight, "bias": self.bias}

    def infer_shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != self.normalized_shape:
            raise ValueError(f"{self.label}: samples must have shape {self.normalized_shape}, got {shapes[0]}")
        return shapes[0]

    def _turned(self, frame: Frame) -> bool:
        """Whether the elements lie in another order in memory than in the parameters."""
        return len(self.normalized_shape) == 3 and frame.layout == "NHWC" and self.weight is not None

    def needs(self, frame: Frame) -> Needs:
        buffers = {"stats": Buffer((frame.batch, 2), np.dtype(np.float64))}
        if self._turned(frame):  # the parameters, and later their gradients, as the elements lie
            size = (math.prod(self.normalized_shape),)
            buffers |= {name: Buffer(size, frame.dtype) for name in ("weight", "bias")}
            if frame.with_backward:
                buffers |= {name: Buffer(size, frame.dtype) for name in ("grad_weight", "grad_bias")}
        return Needs(inputs=True, buffers=buffers)

    def _in_order(self, frame: Frame, flat: Array) -> Array:
        """View a flat array in memory's order as the parameters are shaped."""
        c, h, w = self.normalized_shape
        return np.moveaxis(flat.reshape(h, w, c), -1, 0)

    def forward_calls(self, frame: Frame) -> list[Call]:
        rows = (frame.batch, math.prod(self.normalized_shape))
        calls: list[Call] = []
        affine: list[Array | None] = []
        for name, parameter in (("weight", self.weight), ("bias", self.bias)):
            if parameter is None or not self._turned(frame):
                affine.append(None if parameter is None else parameter.data.reshape(-1))
                continue
            affine.append(frame.buffers[name])
            if frame.device.on_gpu:
                calls.append(frame.bind.nchw_to_nhwc(parameter.data.reshape(1, *parameter.shape), affine[-1]))
            else:
                calls.append(partial(np.copyto, self._in_order(frame, frame.buffers[name]), parameter.data))
        weight, bias = affine
        run = frame.bind.norm_forward(
            frame.inputs[0].reshape(rows),
            weight,
            bias,
            frame.output.reshape(rows),
            frame.buffers["stats"],
            eps=self.eps,
            groups=-1,
            layout="NHWC",
        )
        return [*calls, run]

    def backward_calls(self, frame: Frame) -> list[Call]:
        wanted = [p for p in (self.weight, self.bias) if p is not None and frame.wants(p)]
        grad_input: Array | None = frame.grad_inputs[0]
        if not wanted and grad_input is None:
            return []
        rows = (frame.batch, math.prod(self.normalized_shape))
        turned = self._turned(frame)
        more = max((int(frame.accumulates(parameter)) for parameter in wanted), default=0) > 0
        after: list[Call] = []
        grads: list[Array | None] = []
        for name, parameter in (("grad_weight", self.weight), ("grad_bias", self.bias)):
            if parameter is None or parameter not in wanted:
                grads.append(None)
            elif not turned:
                grads.append(parameter.gradient().reshape(-1))
            else:
                grads.append(frame.buffers[name])
                if frame.device.on_gpu:
                    after += self._turned_back(frame, frame.buffers[name], parameter.gradient(), more)
                    continue
                source, target = self._in_order(frame, frame.buffers[name]), parameter.gradient()
                after.append(partial(np.add, target, source, target) if more else partial(np.copyto, target, source))
        weight = None if self.weight is None else self.weight.data.reshape(-1)
        run = frame.bind.norm_backward(
            frame.grad_output.reshape(rows),
            frame.inputs[0].reshape(rows),
            frame.buffers["stats"],
            frame.buffers["weight"] if turned else weight,
            None,
            None if grad_input is None else grad_input.reshape(rows),
            *grads,
            groups=-1,
            layout="NHWC",
            accumulate=more and not turned,
        )
        return [run, *after]

    def _turned_back(self, frame: Frame, source: Array, target: Array, add: bool) -> list[Call]:
        """On a GPU: write a gradient in the parameters' order, or add to it; nobody reads the bias in backward."""
        c, h, w = self.normalized_shape
        flat = target.reshape(-1)
        into = frame.buffers["bias"] if add else flat
        turn: Call = frame.bind.nhwc_to_nchw(source.reshape(1, h, w, c), into)
        return [turn, frame.bind.add(flat, into, flat)] if add else [turn]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return norm_bytes(frame, (frame.batch, math.prod(self.normalized_shape)), -1), 0

    def flops(self, *shapes: Shape) -> int:
        return 8 * math.prod(shapes[0])
