"""Linear: a dense layer, with bias and, if wanted, an activation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.nn import init, own_activation
from fastconv.nn.conv2d import conv2d_bytes
from fastconv.nn.folding import FoldedWeight, Foldings, folded_bytes
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.nn.packing import PackedWeight
from fastconv.nn.parameter import Parameter


class Linear(Layer):
    """output = input @ weight.T + bias.

    Parameters
    ----------
    in_features : int or None
        Length of an input vector; None takes it from the first input.
    out_features : int
    bias : bool, default True
    activation : str, optional
        "relu" is applied before the output is stored, the others behind it; see `Conv2d`.
    name, seed
        See `Layer`.

    Attributes
    ----------
    weight : Parameter
        (out_features, in_features)
    bias : Parameter or None
        (out_features,)

    Notes
    -----
    grad_input = grad_output @ weight, grad_weight = grad_output.T @ input, grad_bias = column sums of grad_output.
    """

    kind: ClassVar[str] = "linear"
    runs_on_gpu: ClassVar[bool] = True
    fuses_relu: ClassVar[bool] = True
    folds_norm: ClassVar[bool] = True

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: bool = True,
        activation: str | None = None,
        *,
        name: str | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__(name, seed)
        op = self.label
        self.out_features = arguments.integer(op, "out_features", out_features)
        self.activation = own_activation.checked(op, activation)
        if not isinstance(bias, bool | np.bool_):
            raise TypeError(f"{op}: bias must be True or False, got {arguments.describe(bias)}")
        if self.out_features < 1:
            raise ValueError(f"{op}: out_features must be positive, got {self.out_features}")
        self._with_bias = bool(bias)
        self._weight: Parameter | None = None
        self._bias: Parameter | None = None
        self._packed: dict[FoldedWeight | None, PackedWeight] = {}
        self._foldings = Foldings()
        if in_features is not None:
            features = arguments.integer(op, "in_features", in_features)
            if features < 1:
                raise ValueError(f"{op}: in_features must be positive, got {features}")
            self._create_for(features)
            self._postpone_draw()

    @property
    def weight(self) -> Parameter:
        if self._weight is None:
            raise AttributeError(f"{self.label}: weight exists once in_features is known (an input was seen)")
        return self._weight

    @property
    def bias(self) -> Parameter | None:
        return self._bias

    def parameters(self) -> dict[str, Parameter]:
        found = {"weight": self._weight, "bias": self._bias}
        return {name: parameter for name, parameter in found.items() if parameter is not None}

    def _create_for(self, features: int) -> None:
        self._weight = Parameter(np.zeros((self.out_features, features), np.float32), "weight")
        if self._with_bias:
            self._bias = Parameter(np.zeros(self.out_features, np.float32), "bias")

    def create(self, *shapes: Shape) -> None:
        (shape,) = shapes
        if self._weight is None:
            self._check(shape)
            self._create_for(shape[0])

    def _check(self, shape: Shape) -> None:
        if len(shape) != 1:
            raise ValueError(
                f"{self.label}: input must be (N, F), got a sample of shape {shape}; put Flatten() before it"
            )
        if self._weight is not None and shape[0] != self._weight.shape[1]:
            raise ValueError(f"{self.label}: input must have F={self._weight.shape[1]} features, got {shape[0]}")

    def draw(self, generator: np.random.Generator, relu_follows: bool) -> None:
        self.weight.data = init.weight(self.weight.shape, generator, relu_follows)

    def infer_shape(self, *shapes: Shape) -> Shape:
        self._check(shapes[0])
        return (self.out_features,)

    def needs(self, frame: Frame) -> Needs:
        return own_activation.needs(frame, inputs=frame.wants(self.weight))

    def packed(self, folded: FoldedWeight | None = None) -> PackedWeight:
        if folded not in self._packed:
            parameters = [self.weight] if folded is None else folded.parameters()

            def pack() -> Array:
                return _core.linear_pack_weight(self.weight.data if folded is None else folded.refresh(), "forward")

            self._packed[folded] = PackedWeight(parameters, pack)
        return self._packed[folded]

    def forward_calls(self, frame: Frame) -> list[Call]:
        folded = None if frame.norm is None else self._foldings.get(self.weight, self._bias, frame.norm)
        own_bias = None if self._bias is None else self._bias.data
        run = frame.bind.linear_forward(
            frame.inputs[0],
            self.weight.data if folded is None else folded.weight,
            own_bias if folded is None else folded.bias,
            own_activation.target(frame),
            activation=own_activation.in_kernel(frame),
        )
        after = own_activation.forward_calls(frame)
        if frame.with_backward or frame.device.on_gpu:
            return [run, *after]
        packed = self.packed(folded)
        return [lambda: run(packed_weight=packed.array()), *after]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad = frame.grad_output
        calls = own_activation.backward_calls(frame)
        if self._bias is not None and frame.wants(self._bias):
            into, more = self._bias.gradient(), frame.accumulates(self._bias)
            calls.append(frame.bind.linear_backward_bias(grad, into, accumulate=more))
        if frame.wants(self.weight):
            into, more = self.weight.gradient(), frame.accumulates(self.weight)
            calls.append(frame.bind.linear_backward_weight(frame.inputs[0], grad, into, accumulate=more))
        if frame.grad_inputs[0] is not None:
            calls.append(frame.bind.linear_backward_input(self.weight.data, grad, frame.grad_inputs[0]))
        return calls

    @property
    def packed_bytes(self) -> int:
        return self._foldings.nbytes + sum(packed.nbytes for packed in self._packed.values())

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        outputs, inputs = self.weight.shape  # the kernels see a 1x1 convolution of one pixel
        geometry = _core.Conv2dShape(
            (frame.batch, inputs, 1, 1), (outputs, inputs, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, self.label
        )
        scratch, packed = conv2d_bytes(geometry, frame, folded=folded_bytes(self.weight, frame.norm))
        return (scratch if own_activation.is_fused(frame) else max(scratch, own_activation.stage_bytes(frame))), packed

    def flops(self, *shapes: Shape) -> int:
        return 2 * self.out_features * shapes[0][0] + own_activation.flops(self.activation, self.out_features)
