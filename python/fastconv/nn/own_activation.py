"""The activation that a layer with weights applies to its own output.

ReLU is part of the kernel's last store. The others run in place on the output behind it, with their default parameters;
where backward reads what went into the function, the kernel stores to a buffer first.
"""

from __future__ import annotations

import math

from fastconv import _core
from fastconv._checks.arguments import Activation, Array
from fastconv.nn.frame import Buffer, Call, Frame, Needs
from fastconv.ops.pointwise import FUNCTIONS, READ_INPUT

NAMES = ("none", "relu", *FUNCTIONS, "gelu_tanh")
DEFAULTS = {"leaky_relu": (0.01, 0.0), "elu": (1.0, 0.0), "softplus": (1.0, 20.0)}
_BEFORE = "before_activation"
_STREAMED_BYTES, _STAGE_BYTES = 32 << 20, (16 << 10) + 128  # csrc/cpu/streaming.h and activation.cpp


def checked(op: str, value: object) -> str:
    """The name of an activation; None means "none"."""
    if value is None:
        return "none"
    if isinstance(value, str) and value in NAMES:
        return value
    text = f"{op}: activation must be None or one of {', '.join(map(repr, NAMES[1:]))}, got {value!r}"
    if value in ("softmax", "maxout"):
        raise ValueError(f"{text}; put nn.{str(value).capitalize()}() behind the layer")
    raise (ValueError if isinstance(value, str) else TypeError)(text)


def is_fused(frame: Frame) -> bool:
    """Whether the kernel does all of it."""
    return frame.activation in ("none", "relu")


def in_kernel(frame: Frame) -> Activation:
    """What the kernel applies before it stores."""
    return "relu" if frame.activation == "relu" else "none"


def needs(frame: Frame, inputs: bool) -> Needs:
    """What the layer needs, `inputs` being what its own gradients read."""
    active = frame.activation != "none" and not frame.grad_is_masked
    if frame.activation not in READ_INPUT:
        return Needs(inputs=inputs, output=active, writes_grad_output=active)
    before = {_BEFORE: Buffer(frame.in_memory(frame.output_shape), frame.dtype)} if frame.with_backward else {}
    return Needs(inputs=inputs, writes_grad_output=True, buffers=before)


def target(frame: Frame) -> Array:
    """Where the kernel stores."""
    before: Array = frame.buffers.get(_BEFORE, frame.output)
    return before


def forward_calls(frame: Frame) -> list[Call]:
    """What comes after the kernel."""
    if is_fused(frame):
        return []
    a, b = DEFAULTS.get(frame.activation, (0.0, 0.0))
    return [frame.bind.activation_forward(frame.activation, target(frame), frame.output, a=a, b=b)]


def backward_calls(frame: Frame) -> list[Call]:
    """What comes before the layer's own gradients: grad_output is changed in place."""
    grad = frame.grad_output
    if frame.activation == "none" or frame.grad_is_masked:
        return []
    if frame.activation == "relu":
        return [frame.bind.relu_backward(grad, frame.output, grad)]
    a, b = DEFAULTS.get(frame.activation, (0.0, 0.0))
    return [frame.bind.activation_backward(frame.activation, grad, target(frame), grad, a=a, b=b)]


def stage_bytes(frame: Frame) -> int:
    """The most that an activation borrows: large results go to memory through a stage for each thread."""
    if frame.device.on_gpu:
        return 0
    moved = 3 * math.prod(frame.output_shape) * frame.dtype.itemsize
    return _core.get_num_threads() * _STAGE_BYTES if moved > _STREAMED_BYTES else 0


def flops(activation: str, elements: int) -> int:
    """One for each element, whatever the function; ReLU is part of the store."""
    return 0 if activation in ("none", "relu") else elements
