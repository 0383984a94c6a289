"""SinusoidalEmbedding: a number, such as the time step of a diffusion model, as sines and cosines."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from fastconv.nn.frame import Call, Frame, Needs, Shape
from fastconv.nn.layer import Layer
from fastconv.ops.sinusoidal_embedding import check_embedding, embed, embed_backward, frequencies


class SinusoidalEmbedding(Layer):
    """(1,) becomes (dim,): sines, then cosines of falling frequencies (Vaswani et al. 2017; Ho et al. 2020).

    Parameters
    ----------
    dim : int
        Features, an even number.
    max_period : float, default 10000
    name
        See `Layer`.

    Notes
    -----
    Formula and gradient: `fastconv.ops.sinusoidal_embedding`.
    """

    kind: ClassVar[str] = "sinusoidal_embedding"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(self, dim: int, max_period: float = 10000.0, *, name: str | None = None) -> None:
        super().__init__(name)
        self.dim, self.max_period = check_embedding(self.label, dim, max_period)

    def infer_shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != (1,):
            raise ValueError(f"{self.label}: input must be (N, 1), got a sample of shape {shapes[0]}")
        return (self.dim,)

    def needs(self, frame: Frame) -> Needs:
        return Needs(output=True, writes_grad_output=True)

    def forward_calls(self, frame: Frame) -> list[Call]:
        if frame.device.on_gpu:
            frequency = frequencies(self.dim, self.max_period, frame.dtype)
            return [frame.bind.sinusoidal_embedding(frame.inputs[0], frequency, frame.output)]
        return [partial(embed, frame.inputs[0], frequencies(self.dim, self.max_period, frame.dtype), frame.output)]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        frequency = frequencies(self.dim, self.max_period, frame.dtype)
        if frame.device.on_gpu:
            arrays = frame.grad_output, frame.output, frequency, grad_input
            return [frame.bind.sinusoidal_embedding_backward(*arrays)]
        return [partial(embed_backward, frame.grad_output, frame.output, frequency, grad_input)]
