"""LpPool2d: the p-norm of windows; p = 2 is the root of the sum of squares."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from fastconv import _core
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.nn.frame import Buffer, Call, Frame, Needs
from fastconv.nn.pool2d import Pool2d, pool_bytes
from fastconv.ops.lp_pool2d import check_norm, finish_gradient, scale_gradient, take_roots, write_powers


class LpPool2d(Pool2d):
    """(sum of |x|^p)^(1/p) over windows.

    Parameters
    ----------
    norm_type : float
        p, at least 1. 2: L2 pooling, the root of the sum of squares.
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: the window.
    ceil_mode : bool, default False
        Round output sizes up instead of down.
    padding : int, (h, w) or ((top, bottom), (left, right)), default 0
        Zeros.
    name
        See `Layer`.

    Notes
    -----
    Gradient, and where PyTorch's formula differs: `fastconv.ops.lp_pool2d`. On the CPU powers are taken by NumPy on
    one thread: p other than 1 and 2 are slow.
    """

    kind: ClassVar[str] = "lp_pool2d"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        norm_type: float,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        ceil_mode: bool = False,
        padding: PaddingArgument = 0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        self.norm_type = check_norm(self.label, norm_type)

    def needs(self, frame: Frame) -> Needs:
        small = frame.in_memory(frame.output_shape)
        # In backward the powers' place is used again, but for p = 2, which needs none.
        saved = self.norm_type != 2 and not frame.device.on_gpu
        powers = Buffer(frame.in_memory(frame.input_shapes[0]), frame.dtype, saved=saved)
        buffers = {"powers": powers}
        if frame.device.on_gpu:
            return Needs(inputs=True, output=True, writes_grad_output=self.norm_type != 1, buffers=buffers)
        if frame.with_backward and self.norm_type != 1:
            buffers["zero"] = Buffer(small, np.dtype(np.bool_))
        if frame.with_backward and self.norm_type not in (1, 2):
            buffers["scale"] = Buffer(small, frame.dtype)
        return Needs(inputs=True, output=True, writes_grad_output=self.norm_type != 1, buffers=buffers)

    def forward_calls(self, frame: Frame) -> list[Call]:
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        powers, output = frame.buffers["powers"], frame.output
        if frame.device.on_gpu:
            return [
                frame.bind.norm_power("power", frame.inputs[0], None, powers, self.norm_type),
                frame.bind.avg_pool2d_forward(geometry, powers, output, divisor_override=1),
                frame.bind.norm_power("root", output, None, output, self.norm_type),
            ]
        return [
            partial(write_powers, frame.inputs[0], self.norm_type, powers),
            partial(_core.avg_pool2d_forward, geometry, powers, output, layout=frame.layout, divisor_override=1),
            partial(take_roots, output, self.norm_type),
        ]

    def backward_calls(self, frame: Frame) -> list[Call]:
        grad_input = frame.grad_inputs[0]
        if grad_input is None:
            return []
        geometry = self.geometry(frame.batch, frame.input_shapes[0][1:])
        p, grad, buffers = self.norm_type, frame.grad_output, frame.buffers
        calls: list[Call] = []
        if frame.device.on_gpu:
            if p != 1:
                calls.append(frame.bind.norm_power("root_back", grad, frame.output, grad, p))
            return [
                *calls,
                frame.bind.avg_pool2d_backward(geometry, grad, grad_input, divisor_override=1),
                frame.bind.norm_power("power_back", grad_input, frame.inputs[0], grad_input, p),
            ]
        if p != 1:
            calls.append(partial(scale_gradient, grad, frame.output, p, buffers["zero"], buffers.get("scale")))
        work = None if p == 2 else buffers["powers"]
        return [
            *calls,
            partial(_core.avg_pool2d_backward, geometry, grad, grad_input, layout=frame.layout, divisor_override=1),
            partial(finish_gradient, grad_input, frame.inputs[0], p, work),
        ]

    def kernel_bytes(self, frame: Frame) -> tuple[int, int]:
        return pool_bytes(frame, self.geometry(frame.batch, frame.input_shapes[0][1:]), "avg")
