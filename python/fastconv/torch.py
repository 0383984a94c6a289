"""Convolution and pooling for PyTorch tensors, with gradients: `torch.nn.functional`'s names, fastconv's kernels.

    import fastconv.torch as fct

    y = fct.conv2d(x, w, b, padding=1, activation="relu")  # tensors in, a tensor out, autograd behind it
    fct.replace(model)  # the Conv2d, MaxPool2d and AvgPool2d of a module compute here from now on

Tensors of the CPU are read and written where they lie: contiguous ones as NCHW, `torch.channels_last` as NHWC. Tensors
of a GPU go to the CUDA kernels, on PyTorch's current stream. Gradients can be taken once, not twice. PyTorch is no
dependency of fastconv: this module alone imports it.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from fastconv import ops
from fastconv._checks.arguments import IntOrPair, PaddingArgument

__all__ = ["AvgPool2d", "Conv2d", "MaxPool2d", "avg_pool2d", "conv2d", "max_pool2d", "replace"]

Tensor = Any  # torch.Tensor; types of PyTorch are not looked at, since it may be missing


def _layout(x: Tensor) -> str:
    """How a tensor lies in memory, for operations on the CPU; those on a GPU look at strides themselves."""
    last = x.dim() == 4 and not x.is_cuda and not x.is_contiguous()
    return "NHWC" if last and x.is_contiguous(memory_format=torch.channels_last) else "NCHW"


def _array(op: str, name: str, x: Any, layout: str = "NCHW") -> Any:
    """What an operation takes: a tensor of a GPU as it is, an array on the memory of one of the CPU."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(x).__name__}")
    x = x.detach()
    if x.is_cuda:
        strange = x.dim() == 4 and not x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous(memory_format=torch.channels_last) if strange else x  # an expanded gradient, say
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{op}: {name} must be float32 or float64 on the CPU, or lie on a GPU, got {x.dtype} on {x.device}"
        )
    return (x.permute(0, 2, 3, 1) if layout == "NHWC" else x).numpy()


def _tensor(result: Any, layout: str = "NCHW") -> Tensor:
    """What an operation gave, as (N, C, H, W)."""
    if not isinstance(result, np.ndarray):
        return result
    x = torch.from_numpy(result)
    return x.permute(0, 3, 1, 2) if layout == "NHWC" else x


def _shape(x: Tensor, layout: str) -> tuple[int, ...]:
    """The shape as an operation of this layout counts it."""
    n = tuple(x.shape)
    return (n[0], n[2], n[3], n[1]) if layout == "NHWC" else n


class _Conv2d(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, options: dict[str, Any], relu: bool
    ) -> Tensor:
        layout = _layout(x) if isinstance(x, torch.Tensor) else "NCHW"
        arrays = _array("conv2d", "input", x, layout), _array("conv2d", "weight", weight)
        vector = None if bias is None else _array("conv2d", "bias", bias)
        y = ops.conv2d(*arrays, vector, **options, layout=layout, activation="relu" if relu else None)
        result = _tensor(y, layout)
        ctx.options, ctx.layout = options, layout
        ctx.save_for_backward(x, weight, result if relu else None)
        return result

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, result = ctx.saved_tensors
        layout, options = ctx.layout, ctx.options
        name = "conv2d_backward"
        grad = _array(name, "grad_output", grad_output, layout)
        if result is not None:
            grad = ops.relu_backward(grad, _array(name, "output", result, layout))
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            weight_array = _array(name, "weight", weight)
            gx = _tensor(
                ops.conv2d_backward_input(_shape(x, layout), weight_array, grad, **options, layout=layout), layout
            )
        if ctx.needs_input_grad[1]:
            images = _array(name, "input", x, layout)
            gw = _tensor(ops.conv2d_backward_weight(images, tuple(weight.shape), grad, **options, layout=layout))
        if ctx.needs_input_grad[2]:
            gb = _tensor(ops.conv2d_backward_bias(grad, layout=layout))
        return gx, gw, gb, None, None


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    precision: str | None = None,
) -> Tensor:
    """Convolve images with filters, as `torch.nn.functional.conv2d`, with an activation in the same pass.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64; on a GPU float32, float16 or bfloat16
    weight : Tensor, shape (O, C/groups, KH, KW)
    bias : Tensor, shape (O,), optional
    stride, padding, dilation, groups, precision
        As for `fastconv.ops.conv2d`; padding may differ on all four sides.
    activation : None or "relu", optional

    Returns
    -------
    Tensor, shape (N, O, OH, OW), in the memory format of `input`; on a GPU always `torch.channels_last`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `fastconv.ops.conv2d`.
    """
    if activation not in (None, "relu"):
        raise ValueError(f"conv2d: activation must be None or 'relu', got {activation!r}")
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "precision": precision}
    return _Conv2d.apply(input, weight, bias, options, activation == "relu")


class _MaxPool2d(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
        layout = _layout(x) if isinstance(x, torch.Tensor) else "NCHW"
        images = _array("max_pool2d", "input", x, layout)
        if not ctx.needs_input_grad[0]:
            return _tensor(ops.max_pool2d(images, **options, layout=layout), layout)
        y, ctx.indices = ops.max_pool2d(images, **options, return_indices=True, layout=layout)
        ctx.options, ctx.layout, ctx.shape = options, layout, _shape(x, layout)
        return _tensor(y, layout)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad = _array("max_pool2d_backward", "grad_output", grad_output, ctx.layout)
        gx = ops.max_pool2d_backward(grad, ctx.indices, ctx.shape, **ctx.options, layout=ctx.layout)
        return _tensor(gx, ctx.layout), None


def max_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Maximum of each window, as `torch.nn.functional.max_pool2d`; of equal pixels the first gets the gradient.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, dilation, ceil_mode
        As for `fastconv.ops.max_pool2d`.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `fastconv.ops.max_pool2d`.
    """
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    return _MaxPool2d.apply(input, {**options, "dilation": dilation, "ceil_mode": ceil_mode})


class _AvgPool2d(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, options: dict[str, Any]) -> Tensor:
        layout = _layout(x) if isinstance(x, torch.Tensor) else "NCHW"
        y = ops.avg_pool2d(_array("avg_pool2d", "input", x, layout), **options, layout=layout)
        ctx.options, ctx.layout, ctx.shape = options, layout, _shape(x, layout)
        return _tensor(y, layout)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad = _array("avg_pool2d_backward", "grad_output", grad_output, ctx.layout)
        gx = ops.avg_pool2d_backward(grad, ctx.shape, **ctx.options, layout=ctx.layout)
        return _tensor(gx, ctx.layout), None


def avg_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window, as `torch.nn.functional.avg_pool2d`.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As for `fastconv.ops.avg_pool2d`.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `fastconv.ops.avg_pool2d`.
    """
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    options |= {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    return _AvgPool2d.apply(input, options)


class Conv2d(torch.nn.Conv2d):  # type: ignore[misc]
    """`torch.nn.Conv2d` with the same parameters, names and initial weights, computed by fastconv."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = torch.nn.functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class MaxPool2d(torch.nn.MaxPool2d):  # type: ignore[misc]
    """`torch.nn.MaxPool2d` computed by fastconv; with `return_indices`, by PyTorch."""

    def forward(self, input: Tensor) -> Tensor:
        if self.return_indices:
            return super().forward(input)
        return max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool2d(torch.nn.AvgPool2d):  # type: ignore[misc]
    """`torch.nn.AvgPool2d` computed by fastconv."""

    def forward(self, input: Tensor) -> Tensor:
        window = self.kernel_size, self.stride, self.padding
        return avg_pool2d(input, *window, self.ceil_mode, self.count_include_pad, self.divisor_override)


def replace(module: Any) -> Any:
    """Let the convolution and pooling layers inside a module compute here from now on, in place.

    Parameters, hooks, names and the state dict stay as they are. Classes derived from PyTorch's are left alone.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    torch.nn.Module
        The same one.

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"replace: module must be a torch.nn.Module, got {type(module).__name__}")
    classes = {torch.nn.Conv2d: Conv2d, torch.nn.MaxPool2d: MaxPool2d, torch.nn.AvgPool2d: AvgPool2d}
    for layer in cast(Any, module).modules():
        layer.__class__ = classes.get(type(layer), type(layer))
    return module
