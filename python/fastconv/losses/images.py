"""Losses of images and feature maps: style by Gram matrices, and total variation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.losses.base import Loss, Shape, Spec, check_target


def _need_images(op: str, shape: Shape) -> None:
    if len(shape) != 4:
        raise ValueError(f"{op}: output must be (N, C, H, W), got shape {shape}")


def gram_matrix(features: Array) -> Array:
    """Products of feature maps with each other, averaged over the pixels: what a style is (Gatys et al. 2015).

    Parameters
    ----------
    features : numpy.ndarray
        (N, C, H, W), float32 or float64.

    Returns
    -------
    numpy.ndarray
        (N, C, C): sum over pixels of features[n, i] * features[n, j], divided by H * W, so that images of different
        sizes compare.
    """
    arguments.check_array("gram_matrix", "features", features, 4)
    rows = np.ascontiguousarray(np.moveaxis(features, 1, -1)).reshape(len(features), -1, features.shape[1])
    out = np.empty((len(features), features.shape[1], features.shape[1]), features.dtype)
    for sample, gram in zip(rows, out, strict=True):
        _core.linear_backward_weight(sample, sample, gram)
        gram /= len(sample)
    return out


class GramLoss(Loss):
    """Squared distance of Gram matrices: sum((G - A)**2) / (4 C**2), averaged over the samples.

    The target is A itself, (N, C, C) as `gram_matrix` returns it, or features of the output's shape to take it from.

    Notes
    -----
    G = F F^T / (H W), F the maps (C, H * W), which for images of one size is the loss of one layer in Gatys, Ecker and
    Bethge, arXiv 1508.06576 (equation 4). The gradient is (G - A) F / (C**2 H W N).
    """

    name: ClassVar[str] = "gram"
    runs_on_gpu: ClassVar[bool] = True

    def gpu_buffers(self, output_shape: Shape) -> dict[str, Spec]:
        matrices = self.target_buffer(output_shape, np.dtype(np.float32))
        return {"gram": matrices, "slope": matrices}

    def kernel_bytes_on(self, device: Any, output_shape: Shape) -> int:
        if not device.on_gpu:
            return self.kernel_bytes(output_shape)
        n, channels, height, width = output_shape
        gram: int = device.bind.gram_scratch(height * width, channels)
        return max(gram, int(device.bind.pair_loss_scratch(n * channels * channels)))

    def bind_on(
        self, device: Any, output: Any, target: Any, buffers: dict[str, Any], grad: Any, weight: float
    ) -> Callable[[], Any]:
        n, height, width, channels = output.shape
        pixels, bind = height * width, device.bind
        rows = output.reshape(n, pixels, channels)
        gram, slope = buffers["gram"], buffers["slope"]
        value = device.zeros((1,), np.dtype(np.float32))
        calls = [bind.linear_backward_weight(rows[index], rows[index], gram[index]) for index in range(n)]
        calls.append(bind.scale(gram, 1 / max(pixels, 1)))
        shares = {
            "grad_scale": weight / (2 * channels**2 * max(pixels * n, 1)),  # the kernel's gradient has a 2
            "loss_scale": 1 / (4 * channels**2 * max(n, 1)),
        }
        calls.append(
            bind.pair_loss("squared", gram, target, None if grad is None else slope, value, delta=0.0, **shares)
        )
        if grad is not None:
            grads = grad.reshape(n, pixels, channels)
            calls += [bind.linear_backward_input(slope[index], rows[index], grads[index]) for index in range(n)]

        def loss() -> Any:
            for call in calls:
                call()
            return value

        return loss

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        _need_images(self.name, output_shape)
        return (output_shape[0], output_shape[1], output_shape[1]), dtype

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        channels = output_shape[1]
        return {"gram": ((channels, channels), dtype), "squares": ((channels, channels), dtype)}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        check_target(self.name, target)
        features = output_shape if layout == "NCHW" else (output_shape[0], *output_shape[2:], output_shape[1])
        if target.shape == into.shape:
            np.copyto(into, target, casting="unsafe")
        elif target.shape == features:
            maps = target if layout == "NCHW" else np.moveaxis(target, -1, 1)
            np.copyto(into, gram_matrix(maps.astype(into.dtype)))
        else:
            raise ValueError(
                f"{self.name}: target must have shape {into.shape} (Gram matrices) or {features} (features), got "
                f"{target.shape}"
            )

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        n, height, width, channels = output.shape
        rows = output.reshape(n, height * width, channels)
        grads = None if grad is None else grad.reshape(rows.shape)
        gram, squares = buffers["gram"], buffers["squares"]
        pixels = height * width

        def loss() -> float:
            total = 0.0
            for index in range(n):
                _core.linear_backward_weight(rows[index], rows[index], gram)
                np.divide(gram, pixels, out=gram)
                np.subtract(gram, target[index], out=gram)
                np.multiply(gram, gram, out=squares)
                total += float(np.add.reduce(squares, axis=None, dtype=np.float64))
                if grads is not None:
                    np.divide(gram, channels * channels * pixels * n, out=gram)
                    _core.linear_backward_input(gram, rows[index], grads[index])
            return total / float(4 * channels * channels * max(n, 1))

        return loss


class TotalVariation(Loss):
    """|x[i + 1, j] - x[i, j]| + |x[i, j + 1] - x[i, j]|, over every pixel, divided by the number of elements.

    It makes images smooth and has no target: what is given as one, an array of N anythings, is not looked at.

    Notes
    -----
    The anisotropic form of Rudin, Osher and Fatemi (1992). The gradient is the signs of the differences, taken apart.
    """

    name: ClassVar[str] = "total_variation"
    runs_on_gpu: ClassVar[bool] = True

    def kernel_bytes_on(self, device: Any, output_shape: Shape) -> int:
        if not device.on_gpu:
            return self.kernel_bytes(output_shape)
        return int(device.bind.pair_loss_scratch(math.prod(output_shape)))

    def target_on_gpu(self, target: Any, output_shape: Shape, layout: str = "NCHW") -> Any:
        return target._replace(shape=(output_shape[0], 0), strides=(0, 0))  # nobody looks at it

    def bind_on(
        self, device: Any, output: Any, target: Any, buffers: dict[str, Any], grad: Any, weight: float
    ) -> Callable[[], Any]:
        value = device.zeros((1,), np.dtype(np.float32))
        share = 1 / max(output.size, 1)
        run = device.bind.total_variation(output, grad, value, grad_scale=weight * share, loss_scale=share)

        def loss() -> Any:
            run()
            return value

        return loss

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        _need_images(self.name, output_shape)
        return (output_shape[0], 0), dtype

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        n, channels, height, width = output_shape
        sizes = ((n, height - 1, width, channels), (n, height, width - 1, channels))
        return {name: (size, dtype) for name, size in zip(("down", "right"), sizes, strict=True)}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        check_target(self.name, target)

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        count = max(output.size, 1)
        pairs = [
            (output[:, 1:], output[:, :-1], buffers["down"], None if grad is None else (grad[:, 1:], grad[:, :-1])),
            (
                output[:, :, 1:],
                output[:, :, :-1],
                buffers["right"],
                None if grad is None else (grad[:, :, 1:], grad[:, :, :-1]),
            ),
        ]

        def loss() -> float:
            total = 0.0
            if grad is not None:
                grad.fill(0)
            for after, before, difference, into in pairs:
                if into is not None:
                    np.subtract(after, before, out=difference)
                    np.sign(difference, out=difference)
                    np.divide(difference, count, out=difference)
                    np.add(into[0], difference, out=into[0])
                    np.subtract(into[1], difference, out=into[1])
                np.subtract(after, before, out=difference)
                np.abs(difference, out=difference)
                total += float(np.add.reduce(difference, axis=None, dtype=np.float64))
            return total / count

        return loss
