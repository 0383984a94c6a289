"""MaxUnpool2d: values go back to where a max pool found its maxima."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv._checks import arguments
from fastconv.nn.frame import Buffer, Call, Frame, Needs, Shape, image_shape
from fastconv.nn.layer import Layer
from fastconv.nn.pool2d import MaxPool2d


class MaxUnpool2d(Layer):
    """Values at the places where a max pool found its maxima, zero elsewhere (Zeiler and Fergus 2014).

    Called on two inputs, the values and what the pool read; the output has the latter's size:

        pool = MaxPool2d(2)
        y = MaxUnpool2d(pool)(decoder(pool(x)), x)

    Parameters
    ----------
    pool : MaxPool2d
        Whose windows are used. It may be used anywhere else, any number of times.
    name
        See `Layer`.

    Notes
    -----
    The places are found once more from the pool's input, which costs as much as the pool: so no hidden array passes
    from layer to layer, and it is clear which use of a pool is meant. The gradient of the values is grad_output at
    their places, that of the pool's input is zero, since places do not move by small steps. Where
    windows overlap and share a maximum each gets the whole gradient, as in PyTorch.
    """

    kind: ClassVar[str] = "max_unpool2d"
    runs_on_gpu: ClassVar[bool] = True
    arity: ClassVar[int | None] = 2

    def __init__(self, pool: MaxPool2d, *, name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(pool, MaxPool2d):
            raise TypeError(f"{self.label}: pool must be a MaxPool2d, got {arguments.describe(pool)}")
        self.pool = pool

    def infer_shape(self, *shapes: Shape) -> Shape:
        values, source = (image_shape(self.label, shape) for shape in shapes)
        pooled = self.pool.geometry(1, source).output_shape[1:]
        if values != pooled:
            raise ValueError(
                f"{self.label}: the first input must have the shape that {self.pool.label} makes of the second, "
                f"{pooled} of {source}, got {values}"
            )
        return source

    def needs(self, frame: Frame) -> Needs:
        small = frame.in_memory(frame.input_shapes[0])
        return Needs(
            buffers={"places": Buffer(small, np.dtype(np.int32)), "pooled": Buffer(small, frame.dtype, saved=False)}
        )

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.pool.geometry(frame.batch, frame.input_shapes[1][1:])
        values, source = frame.inputs
        places, layout = frame.buffers["places"], frame.layout
        find = frame.bind.max_pool2d_forward(geometry, source, frame.buffers["pooled"], places, layout=layout)
        if frame.device.on_gpu and self._windows_lie_apart():  # then a pixel finds its value, as it does its gradient
            return [find, frame.bind.max_pool2d_backward(geometry, values, places, frame.output, layout=layout)]
        return [find, frame.bind.scatter_planes(values, places, frame.output, layout=layout)]

    def _windows_lie_apart(self) -> bool:
        pool = self.pool
        sides = zip(pool.kernel_size, pool.dilation, pool.stride, strict=True)
        return all((size - 1) * dilation < step for size, dilation, step in sides)

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_values, grad_source = frame.grad_inputs
        calls: list[Call] = []
        if grad_values is not None:
            places = frame.buffers["places"]
            calls.append(frame.bind.gather_planes(frame.grad_output, places, grad_values, layout=frame.layout))
        if grad_source is not None:
            calls.append(frame.bind.fill(grad_source, 0))
        return calls
