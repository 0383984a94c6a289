"""Local response normalisation, as AlexNet has it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.numbers import number
from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer


class LocalResponseNorm(Layer):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al. 2012, 3.3).

    Parameters
    ----------
    size : int
        Channels c - size // 2 to c + (size - 1) // 2; those outside are 0.
    alpha, beta, k : float, default 1e-4, 0.75, 1.0
        As PyTorch's: the paper's alpha is `alpha / size` (AlexNet: size 5, alpha 5e-4, k 2).
    name
        See `Layer`.
    """

    kind: ClassVar[str] = "local_response_norm"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, name: str | None = None
    ) -> None:
        super().__init__(name)
        op = self.label
        self.size = arguments.integer(op, "size", size)
        if self.size < 1:
            raise ValueError(f"{op}: size must be positive, got {self.size}")
        self.alpha, self.beta = number(op, "alpha", alpha, 0.0), number(op, "beta", beta, 0.0)
        self.k = number(op, "k", k, 0.0)

    def infer_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 3:
            raise ValueError(f"{self.label}: input must be (N, C, H, W), got a sample of shape {shapes[0]}")
        return shapes[0]

    def needs(self, frame: Frame) -> Needs:
        return Needs(inputs=True)

    def _bound(self, frame: Frame, *arrays: Any) -> Call:
        call: Call = frame.bind.local_response_norm(
            *arrays,
            size=self.size,
            alpha=self.alpha,
            beta=self.beta,
            k=self.k,
            layout=frame.layout,
        )
        return call

    def forward_calls(self, frame: Frame) -> list[Call]:
        return [self._bound(frame, frame.inputs[0], None, frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        if frame.grad_inputs[0] is None:
            return []
        return [self._bound(frame, frame.inputs[0], frame.grad_output, frame.grad_inputs[0])]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        if frame.device.on_gpu:
            return 0, 0
        values = 4 * _core.get_num_threads() * (frame.output_shape[1] + self.size)
        return -(-values * frame.dtype.itemsize // 64) * 64, 0

    def flops(self, *shapes: Shape) -> int:
        return (2 * self.size + 6) * math.prod(shapes[0])
