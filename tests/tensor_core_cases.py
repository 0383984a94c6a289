"""Operands of the kernels on tensor cores, in every element type, and what must come out."""

from __future__ import annotations

import numpy as np

import reference
from conv2d_cases import Geometry
from cuda_cases import as_numbers, stored, to_nchw, to_nhwc


def arrays(geometry: Geometry, dtype: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Images and weights as on the GPU, and a bias."""
    shapes = geometry.input_shape, geometry.weight_shape
    x, w = (stored(to_nhwc(rng.standard_normal(shape)), dtype) for shape in shapes)
    return [x, w, stored(rng.standard_normal(geometry.outputs), dtype)]


def expected(geometry: Geometry, dtype: str, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """From the definition, of the numbers as they are stored."""
    g = geometry
    bias = None if b is None else as_numbers(b, dtype)
    images, weights = to_nchw(as_numbers(x, dtype)), to_nchw(as_numbers(w, dtype))
    return to_nhwc(reference.conv2d(images, weights, bias, g.stride, g.padding, g.dilation, g.groups))


class Data:
    """Arrays as on the GPU, and gradients from the definition of the numbers as they are stored."""

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        self.options = geometry.options
        rng = np.random.default_rng(7)
        shapes = geometry.input_shape, geometry.weight_shape, geometry.output_shape
        self.x, self.w, self.gy = (stored(to_nhwc(rng.standard_normal(shape)), dtype) for shape in shapes)
        self.dtype = dtype

    def grad_weight(self) -> np.ndarray:
        x, gy = (to_nchw(as_numbers(a, self.dtype)) for a in (self.x, self.gy))
        o, kh, kw, c = self.w.shape
        return to_nhwc(reference.conv2d_backward_weight(x, (o, c, kh, kw), gy, **self.options))

    def grad_input(self) -> np.ndarray:
        w, gy = (to_nchw(as_numbers(a, self.dtype)) for a in (self.w, self.gy))
        n, h, wide, c = self.x.shape
        return to_nhwc(reference.conv2d_backward_input((n, c, h, wide), w, gy, **self.options))
