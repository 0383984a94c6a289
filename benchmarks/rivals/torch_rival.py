"""PyTorch's convolution on the CPU in its two layouts, without autograd around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from arrays import Array, Arrays
from rivals.rival import Rival
from shapes import Layer


class TorchNchw(Rival):
    name = "torch NCHW"
    package = "torch"
    uses_openmp = True
    uses_malloc = True
    channels_last = False

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        x, w, gy = (
            torch.from_numpy(np.array(array)).clone(memory_format=memory)  # in its own aligned memory
            for array in (arrays.input, arrays.weight, arrays.grad_output)
        )
        stride, padding, dilation = list(layer.stride), list(layer.padding), list(layer.dilation)

        def forward() -> Any:
            with torch.inference_mode():
                return torch.nn.functional.conv2d(x, w, None, stride, padding, dilation, layer.groups)

        def backward(index: int) -> Any:
            mask = [index == 0, index == 1, False]
            with torch.inference_mode():
                return torch.ops.aten.convolution_backward(
                    gy, x, w, None, stride, padding, dilation, False, [0, 0], layer.groups, mask
                )[index]

        self.forward = forward
        self.backward_input = lambda: backward(0)
        self.backward_weight = lambda: backward(1)

    def as_array(self, value: Any) -> Array:
        array: Array = value.contiguous().numpy()
        return array


class TorchChannelsLast(TorchNchw):
    name = "torch channels_last"
    channels_last = True
