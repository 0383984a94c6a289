"""What the networks of this folder are put together from."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.nn import BatchNorm2d, Conv2d, Node, ReLU

__all__ = ["Shape", "conv_bn"]

Shape = tuple[int, int, int]


def conv_bn(
    x: Node,
    channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    groups: int = 1,
    names: tuple[str, str],
    relu: bool | Callable[[Node], Node] = True,
) -> Node:
    """Convolution without bias that keeps the size (at stride 1), batch norm, and ReLU or another activation."""
    x = Conv2d(None, channels, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False, name=names[0])(x)
    x = BatchNorm2d(None, name=names[1])(x)
    if callable(relu):
        return relu(x)
    return ReLU()(x) if relu else x
