"""Conv2d: a layer of convolution (cross-correlation) with bias and, if wanted, an activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument, Shape4
from fastconv._config import Algorithm
from fastconv.nn import init, own_activation
from fastconv.nn.folding import FoldedWeight, Foldings, folded_bytes
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.packing import PackedWeight
from fastconv.nn.parameter import Parameter


class Conv2d(Layer):
    """2-D convolution.

    Parameters
    ----------
    in_channels : int or None
        Channels of the input; None takes them from the first input.
    out_channels : int
        Number of filters.
    kernel_size : int or (int, int)
        Height and width of a filter.
    stride, dilation : int or (int, int), default 1
    padding : int, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower", default 0
        Zeros around the image. "same": out = ceil(in / stride), the odd one at the end.
    groups : int, default 1
        The input's channels are cut into `groups` blocks; `out_channels / groups` filters see one block each.
    bias : bool, default True
    activation : str, optional
        "relu" is applied in the convolution's last store; "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu",
        "gelu_tanh" and "softplus" in place behind it, with the defaults of `fastconv.ops`.
    algo : "auto", "direct" or "winograd", default "auto"
        "auto" is the model's `algo`, and where that is "auto" too, `fastconv.config.algo`.
    name, seed
        See `Layer`.

    Attributes
    ----------
    weight : Parameter
        (out_channels, in_channels / groups, kernel height, kernel width), whatever the layout of the data.
    bias : Parameter or None
        (out_channels,)

    Notes
    -----
    output[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * input[n, c, ih, iw] with
    ih = y*stride - pad + i*dilation, iw likewise.
    Its gradients are the two other convolutions of `fastconv.ops`: conv2d_backward_input and conv2d_backward_weight.
    """

    kind: ClassVar[str] = "conv2d"
    runs_on_gpu: ClassVar[bool] = True
    fuses_relu: ClassVar[bool] = True
    folds_norm: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: PaddingArgument = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str | None = None,
        *,
        algo: str = "auto",
        name: str | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(name, seed)
        op = self.label
        self.out_channels = arguments.integer(op, "out_channels", out_channels)
        self.kernel_size = arguments.pair(op, "kernel_size", kernel_size)
        self.stride = arguments.pair(op, "stride", stride)
        self.padding = arguments.padding(op, padding)
        self.dilation = arguments.pair(op, "dilation", dilation)
        self.groups = arguments.integer(op, "groups", groups)
        self.activation = own_activation.checked(op, activation)
        self.algo = arguments.own_algorithm(op, algo)
        if not isinstance(bias, bool | np.bool_):
            raise TypeError(f"{op}: bias must be True or False, got {arguments.describe(bias)}")
        if self.groups < 1 or self.out_channels < 1 or self.out_channels % self.groups:
            raise ValueError(
                f"{op}: out_channels must be a positive multiple of groups, got "
                f"out_channels={self.out_channels}, groups={self.groups}"
            )
        for what, sizes in (("kernel_size", self.kernel_size), ("stride", self.stride), ("dilation", self.dilation)):
            if min(sizes) < 1:
                raise ValueError(f"{op}: {what} must be positive, got {sizes}")
        self._with_bias = bool(bias)
        self._weight: Parameter | None = None
        self._bias: Parameter | None = None
        self._packed: dict[tuple[Shape, Algorithm, FoldedWeight | None], PackedWeight] = {}
        self._foldings = Foldings()
        if in_channels is not None:
            channels = arguments.integer(op, "in_channels", in_channels)
            if channels < 1 or channels % self.groups:
                raise ValueError(
                    f"{op}: in_channels must be a positive multiple of groups, got "
                    f"in_channels={channels}, groups={self.groups}"
                )
            self._create_for(channels)
            self._postpone_draw()

    @property
    def weight(self) -> Parameter:
        if self._weight is None:
            raise AttributeError(f"{self.label}: weight exists once in_channels is known (an input was seen)")
        return self._weight

    @property
    def bias(self) -> Parameter | None:
        return self._bias

    def parameters(self) -> dict[str, Parameter]:
        found = {"weight": self._weight, "bias": self._bias}
        return {name: parameter for name, parameter in found.items() if parameter is not None}

    def _create_for(self, channels: int) -> None:
        self._weight = Parameter(np.zeros(self._weight_shape(channels), np.float32), "weight")
        if self._with_bias:
            self._bias = Parameter(np.zeros(self.out_channels, np.float32), "bias")

    def _weight_shape(self, channels: int) -> Shape:
        return self.out_channels, channels // self.groups, *self.kernel_size

    def _in_channels(self, weight: Parameter) -> int:
        return weight.shape[1] * self.groups

    def create(self, *shapes: Shape) -> None:
        (shape,) = shapes
        if self._weight is None:
            if len(shape) != 3 or shape[0] % self.groups:
                self._refuse(shape)
            self._create_for(shape[0])

    def _refuse(self, shape: Shape) -> None:
        wanted = f"{self.groups} groups" if self._weight is None else f"C={self._in_channels(self._weight)}"
        raise ValueError(f"{self.label}: input must be (N, C, H, W) with {wanted}, got a sample of shape {shape}")

    def draw(self, generator: np.random.Generator, relu_follows: bool) -> None:
        self.weight.data = init.weight(self.weight.shape, generator, relu_follows)

    def _checked_weight_shape(self, shape: Shape) -> Shape4:
        """Return the weight's shape if samples of `shape` have its channels."""
        if len(shape) != 3 or shape[0] != self._in_channels(self.weight):
            self._refuse(shape)
        a, b, c, d = self.weight.shape
        return a, b, c, d

    def geometry(self, batch: int, shape: Shape) -> _core.Conv2dShape:
        """Return the judged convolution of `batch` samples of `shape` (C, H, W)."""
        weight = self._checked_weight_shape(shape)
        return _core.Conv2dShape(
            (batch, shape[0], shape[1], shape[2]),
            weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.label,
        )

    def infer_shape(self, *shapes: Shape) -> Shape:
        return self.geometry(1, shapes[0]).output_shape[1:]

    def fuses_max_pool(self, frame: Frame) -> bool:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        possible = not frame.max_pool and own_activation.is_fused(frame) and not frame.device.on_gpu
        return possible and _core.conv2d_fuses_max_pool(geometry, _dtype_name(frame), algo=self.algorithm(frame))

    def missing_on_gpu(self) -> str | None:
        if self.algo == "winograd":
            return "has algo='winograd', and a GPU only direct convolution"
        return super().missing_on_gpu()

    def needs(self, frame: Frame) -> Needs:
        return own_activation.needs(frame, inputs=frame.wants(self.weight))

    def algorithm(self, frame: Frame) -> Algorithm:
        """Return the layer's own algorithm, or the frame's."""
        return frame.algo if self.algo == "auto" else self.algo

    def packed(self, geometry: _core.Conv2dShape, algo: Algorithm, folded: FoldedWeight | None = None) -> PackedWeight:
        """Return the weight packed for this geometry (of any batch) and algorithm."""
        key = geometry.input_shape[1:], algo, folded
        if key not in self._packed:
            parameters = [self.weight] if folded is None else folded.parameters()

            def pack() -> Array:
                weight = self.weight.data if folded is None else folded.refresh()
                return _core.conv2d_pack_weight(geometry, weight, "forward", algo=algo)

            self._packed[key] = PackedWeight(parameters, pack)
        return self._packed[key]

    def _forward(
        self, geometry: _core.Conv2dShape, frame: Frame, bias: Array | None, folded: FoldedWeight | None = None
    ) -> Callable[..., object]:
        run: Callable[..., object] = frame.bind.conv2d_forward(
            geometry,
            frame.inputs[0],
            self.weight.data if folded is None else folded.weight,
            bias if folded is None else folded.bias,
            own_activation.target(frame),
            layout=frame.layout,
            activation=own_activation.in_kernel(frame),
            algo=self.algorithm(frame),
            max_pool=frame.max_pool,
        )
        return run

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        folded = None if frame.norm is None else self._foldings.get(self.weight, self._bias, frame.norm)
        run = self._forward(geometry, frame, None if self._bias is None else self._bias.data, folded)
        after = own_activation.forward_calls(frame)
        if frame.with_backward or frame.device.on_gpu:
            return [run, *after]
        packed = self.packed(geometry, self.algorithm(frame), folded)
        return [lambda: run(packed_weight=packed.array()), *after]

    def backward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        grad, layout, algo = frame.grad_output, frame.layout, self.algorithm(frame)
        calls = own_activation.backward_calls(frame)
        if self._bias is not None and frame.wants(self._bias):
            into, more = self._bias.gradient(), frame.accumulates(self._bias)
            calls.append(frame.bind.conv2d_backward_bias(grad, into, layout=layout, accumulate=more))
        if frame.wants(self.weight):
            into, more = self.weight.gradient(), frame.accumulates(self.weight)
            arrays = frame.inputs[0], grad, into
            calls.append(self._weight_gradient(frame, geometry, *arrays, layout=layout, algo=algo, accumulate=more))
        grad_input: Array | None = frame.grad_inputs[0]
        if grad_input is not None:
            calls.append(self._input_gradient(frame, geometry, grad, grad_input, layout=layout, algo=algo))
        return calls

    def _weight_gradient(
        self, frame: Frame, geometry: _core.Conv2dShape, images: Array, grad: Array, into: Array, **options: Any
    ) -> Call:
        call: Call = frame.bind.conv2d_backward_weight(geometry, images, grad, into, **options)
        return call

    def _input_gradient(
        self, frame: Frame, geometry: _core.Conv2dShape, grad: Array, into: Array, **options: Any
    ) -> Call:
        call: Call = frame.bind.conv2d_backward_input(geometry, self.weight.data, grad, into, **options)
        return call

    @property
    def packed_bytes(self) -> int:
        return self._foldings.nbytes + sum(packed.nbytes for packed in self._packed.values())

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        scratch, packed = conv2d_bytes(
            geometry, frame, self.algorithm(frame), folded=folded_bytes(self.weight, frame.norm)
        )
        return (scratch if own_activation.is_fused(frame) else max(scratch, own_activation.stage_bytes(frame))), packed

    def flops(self, *shapes: Shape) -> int:
        geometry = self.geometry(1, shapes[0])
        return geometry.flops + own_activation.flops(self.activation, math.prod(self.infer_shape(*shapes)))


def _dtype_name(frame: Frame) -> Literal["float32", "float64"]:
    return "float32" if frame.dtype == np.float32 else "float64"


def conv2d_bytes(
    geometry: _core.Conv2dShape, frame: Frame, algo: Algorithm = "auto", transposed: bool = False, folded: int = 0
) -> tuple[int, int]:
    """Return scratch and packed bytes of one convolution, as `explain` tells them.

    `transposed`: forward is the gradient of the input, and that is forward. `folded`: bytes of
    weights that a norm was folded into.
    """
    if frame.device.on_gpu:
        return frame.device.bind.conv2d_scratch(geometry, frame.with_backward, transposed), 0
    name = _dtype_name(frame)
    passes: list[Literal["forward", "backward_input", "backward_weight"]]
    passes = ["backward_input", "forward"] if transposed else ["forward", "backward_input"]
    passes = [*passes, "backward_weight"] if frame.with_backward else passes[:1]
    plans = [_core.conv2d_explain(geometry, which, name, layout=frame.layout, algo=algo) for which in passes]
    return max(plan["scratch_bytes"] for plan in plans) + folded, plans[0]["packed_weight_bytes"] + folded
