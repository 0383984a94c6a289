"""The three passes in float64, one tap of the window at a time, and how far a result may lie from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from arrays import Array, Arrays
from shapes import Layer

BUDGET_FLOPS = 10e9  # for one pass: above, some images stand for all


def _taps(layer: Layer, padded: Array) -> Iterator[tuple[int, int, Array]]:
    """For every tap the pixels it multiplies: views (groups, C/groups, OH, OW) of one padded image."""
    (sh, sw), (dh, dw), (kh, kw) = layer.stride, layer.dilation, layer.kernel
    _, _, oh, ow = layer.output_shape
    planes = padded.reshape(layer.groups, -1, *padded.shape[1:])
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
            yield i, j, planes[:, :, rows, slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)]


class Reference:
    """Results for as many images as the budget allows, the first and the last among them."""

    def __init__(self, layer: Layer, arrays: Arrays) -> None:
        self.layer, self.arrays = layer, arrays
        affordable = max(2, int(BUDGET_FLOPS / (layer.flops / layer.batch)))
        self.images = sorted({round(i) for i in np.linspace(0, layer.batch - 1, min(affordable, layer.batch))})
        weight = arrays.weight.astype(np.float64).reshape(layer.groups, -1, *layer.weight_shape[1:])
        # One matrix a tap, contiguous: NumPy multiplies no others at speed.
        self.weight = np.ascontiguousarray(weight.transpose(3, 4, 0, 1, 2))  # KH, KW, groups, O/groups, C/groups
        self.stored: dict[str, Array | None] = {}

    def result(self, pass_name: str) -> Array | None:
        """For the chosen images; the gradient of the weight sums over all images, so it is whole or None."""
        if pass_name not in self.stored:
            passes: dict[str, Callable[[], Array | None]] = {
                "forward": lambda: np.stack([self._forward(n) for n in self.images]),
                "backward_input": lambda: np.stack([self._backward_input(n) for n in self.images]),
                "backward_weight": self._backward_weight,
            }
            self.stored[pass_name] = passes[pass_name]()
        return self.stored[pass_name]

    def _padded(self, n: int) -> Array:
        (p, q) = self.layer.padding
        padded: Array = np.pad(self.arrays.input[n].astype(np.float64), ((0, 0), (p, p), (q, q)))
        return padded

    def _grad_output(self, n: int) -> Array:
        grad: Array = self.arrays.grad_output[n].astype(np.float64)
        return grad.reshape(self.layer.groups, self.weight.shape[3], -1)

    def _forward(self, n: int) -> Array:
        result = np.zeros((*self.weight.shape[2:4], math.prod(self.layer.output_shape[2:])))
        for i, j, pixels in _taps(self.layer, self._padded(n)):
            result += self.weight[i, j] @ pixels.reshape(*pixels.shape[:2], -1)
        return result.reshape(self.layer.output_shape[1:])

    def _backward_input(self, n: int) -> Array:
        (p, q), (height, width) = self.layer.padding, self.layer.size
        grad = np.zeros((self.layer.channels, height + 2 * p, width + 2 * q))
        upstream = self._grad_output(n)
        for i, j, pixels in _taps(self.layer, grad):
            pixels += (self.weight[i, j].transpose(0, 2, 1) @ upstream).reshape(pixels.shape)
        return grad[:, p : p + height, q : q + width]

    def _backward_weight(self) -> Array | None:
        if len(self.images) < self.layer.batch:
            return None
        grad = np.zeros_like(self.weight)
        for n in self.images:
            upstream = self._grad_output(n)
            for i, j, pixels in _taps(self.layer, self._padded(n)):
                grad[i, j] += upstream @ pixels.reshape(*pixels.shape[:2], -1).transpose(0, 2, 1)
        return grad.transpose(2, 3, 4, 0, 1).reshape(self.layer.weight_shape)


def terms(layer: Layer, pass_name: str) -> int:
    """How many products one value of the result sums."""
    return {
        "forward": math.prod(layer.weight_shape[1:]),
        "backward_input": layer.outputs // layer.groups * math.prod(layer.kernel),
        "backward_weight": layer.batch * math.prod(layer.output_shape[2:]),
    }[pass_name]


def bound(layer: Layer, pass_name: str, dtype: str) -> float:
    """The largest error allowed, as a part of the largest value.

    The roundings of a sum of K random terms grow as sqrt(K) eps; the constant leaves room for the transforms of
    Winograd's F(4x4, 3x3), whose error is some 5e-6 in float32 at any K.
    """
    return bound_of_terms(terms(layer, pass_name), dtype)


def bound_of_terms(count: int, dtype: str) -> float:
    return float(np.finfo(dtype).eps) * (96 + 4 * math.sqrt(count))


def relative_error(result: Array, expected: Array) -> float:
    """NaN where the result holds one, so that `error <= bound` is false."""
    if result.shape != expected.shape:
        return math.inf
    largest = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(result - expected))) / largest if largest > 0 else float(np.max(np.abs(result)))


def check(reference: Reference, results: dict[str, Array], dtype: str) -> None:
    """Refuse what is wrong: against float64, or by <y, gy> = <w, gw> where the weight gradient is too large for it."""
    layer, arrays = reference.layer, reference.arrays
    for pass_name, result in results.items():
        expected, limit = reference.result(pass_name), bound(layer, pass_name, dtype)
        if expected is not None:
            error = relative_error(result if pass_name == "backward_weight" else result[reference.images], expected)
        elif "forward" not in results:
            continue
        else:
            y = results["forward"]
            product = float(np.vdot(y.astype(np.float64), arrays.grad_output.astype(np.float64)))
            size = float(np.linalg.norm(y) * np.linalg.norm(arrays.grad_output))
            error = abs(float(np.vdot(arrays.weight.astype(np.float64), result.astype(np.float64))) - product) / size
            limit = min(limit, bound_of_terms(1, dtype))
        if not error <= limit:
            raise AssertionError(
                f"{layer.label}: {pass_name} is wrong, by {error:.1e} of the maximum (limit {limit:.1e})"
            )
