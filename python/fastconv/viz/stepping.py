"""A convolution or a pooling step by step: the numbers, the window, the result, as frames and as an animated file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv import ops
from fastconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_steps", "step_convolution", "step_pooling"]

_LARGEST = 24  # rows or columns whose numbers can be read


def step_convolution(
    image: NDArray[Any],
    kernel: NDArray[Any],
    step: int | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: float = 0.0,
) -> Figure:
    """Draw one step of a convolution: the window on the image, the products, the sum, the results so far.

    Parameters
    ----------
    image
        (H, W), at most 24 x 24 with its padding.
    kernel
        (KH, KW).
    step
        Which output, in reading order. Default: the last, with every result.
    stride, padding, bias
        See `fastconv.ops.conv2d`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    image, kernel = _plane("step_convolution", "image", image), _plane("step_convolution", "kernel", kernel)
    result = ops.conv2d(image[None, None], kernel[None, None], np.array([bias]), stride=stride, padding=padding)[0, 0]
    padded = np.pad(image, padding)
    row, column, step = _place("step_convolution", step, result, padded)
    window = padded[row * stride : row * stride + len(kernel), column * stride : column * stride + kernel.shape[1]]
    terms = " ".join(f"{a * b:+.4g}" for a, b in zip(window.ravel(), kernel.ravel(), strict=True) if a * b)
    text = (
        f"sum of image times kernel: {terms or '0'}{f' {bias:+.4g} (bias)' if bias else ''} = {result[row, column]:.4g}"
    )
    return _draw(padded, kernel, result, (row, column), step, stride, kernel.shape, text, padding, "kernel")


def step_pooling(
    image: NDArray[Any], kernel_size: int = 2, step: int | None = None, *, stride: int | None = None, kind: str = "max"
) -> Figure:
    """Draw one step of a pooling; see `step_convolution`.

    Parameters
    ----------
    image
        (H, W), at most 24 x 24.
    kernel_size, stride
        See `fastconv.ops.max_pool2d`; the stride's default is the window's size.
    step
        Which output, in reading order. Default: the last, with every result.
    kind
        "max" or "average".
    """
    image = _plane("step_pooling", "image", image)
    if kind not in ("max", "average"):
        raise ValueError(f"step_pooling: kind must be 'max' or 'average', got {kind!r}")
    stride = kernel_size if stride is None else stride
    pool = ops.max_pool2d if kind == "max" else ops.avg_pool2d
    result = np.asarray(pool(image[None, None], kernel_size, stride))[0, 0]
    row, column, step = _place("step_pooling", step, result, image)
    window = image[row * stride : row * stride + kernel_size, column * stride : column * stride + kernel_size]
    numbers = ", ".join(f"{value:.4g}" for value in window.ravel())
    text = f"{'largest' if kind == 'max' else 'mean'} of {numbers} = {result[row, column]:.4g}"
    return _draw(image, None, result, (row, column), step, stride, (kernel_size, kernel_size), text, 0, kind)


def save_steps(figures: Iterator[Figure] | list[Figure], path: str | os.PathLike[str], seconds: float = 0.6) -> None:
    """Write figures of one size as an animated picture.

    Parameters
    ----------
    figures
        Such as ``(step_convolution(image, kernel, step) for step in range(25))``; drawn one at a time.
    path
        A .gif, .webp or .png (animated PNG) file.
    seconds
        Time for each.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('animated pictures need the extra [viz]: pip install "fastconv[viz]"') from error
    frames = []
    for figure in figures:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    if not frames:
        raise ValueError("save_steps: figures must hold at least one, got none")
    if Path(path).suffix not in (".gif", ".webp", ".png"):
        raise ValueError(f"save_steps: path must end in .gif, .webp or .png, got {os.fspath(path)!r}")
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=int(1000 * seconds), loop=0)


def _plane(op: str, name: str, value: NDArray[Any]) -> NDArray[Any]:
    plane = np.asarray(value, np.float64)
    if plane.ndim != 2 or not plane.size or max(plane.shape) > _LARGEST:
        raise ValueError(f"{op}: {name} must be (rows, columns), 1 to {_LARGEST} of each, got shape {plane.shape}")
    return plane


def _place(op: str, step: int | None, result: NDArray[Any], padded: NDArray[Any]) -> tuple[int, int, int]:
    if max(padded.shape) > _LARGEST:
        raise ValueError(f"{op}: image must be at most {_LARGEST} x {_LARGEST} with its padding, got {padded.shape}")
    step = result.size - 1 if step is None else step
    if not 0 <= step < result.size:
        raise ValueError(f"{op}: step must lie in 0..{result.size - 1}, got {step}")
    return step // result.shape[1], step % result.shape[1], step


def _draw(
    padded: NDArray[Any],
    kernel: NDArray[Any] | None,
    result: NDArray[Any],
    place: tuple[int, int],
    step: int,
    stride: int,
    window: tuple[int, ...],
    text: str,
    padding: int,
    kind: str,
) -> Figure:
    from matplotlib.patches import Rectangle

    planes = [padded, result] if kernel is None else [padded, kernel, result]
    widths = [plane.shape[1] for plane in planes]
    figure = new_figure(0.42 * sum(widths) + 1.6, 0.42 * max(plane.shape[0] for plane in planes) + 1.2)
    panels = figure.subplots(1, len(planes), width_ratios=widths, squeeze=False)[0]
    reach = float(np.abs(padded).max()) or 1.0
    colours = ("RdBu_r", -2 * reach, 2 * reach) if padded.min() < 0 else ("Greys", -0.2 * reach, 2.5 * reach)
    _numbers(panels[0], padded, np.ones(padded.shape, bool), *colours)
    if padding:
        size = (padded.shape[1] - 2 * padding, padded.shape[0] - 2 * padding)
        panels[0].add_patch(
            Rectangle((padding - 0.5, padding - 0.5), *size, fill=False, color="0.3", linestyle="--", linewidth=1.2)
        )
    panels[0].add_patch(
        Rectangle(
            (place[1] * stride - 0.5, place[0] * stride - 0.5),
            window[1],
            window[0],
            fill=False,
            color="black",
            linewidth=2.5,
            zorder=4,
        )
    )
    panels[0].set_title("image" + (f" (padding {padding})" if padding else ""), fontsize=9)
    if kernel is not None:
        bound = float(np.abs(kernel).max()) or 1.0
        _numbers(panels[1], kernel, np.ones(kernel.shape, bool), "RdBu_r", -2 * bound, 2 * bound)
        panels[1].set_title("kernel", fontsize=9)
    done = np.arange(result.size).reshape(result.shape) <= step
    bound = float(np.abs(result).max()) or 1.0
    _numbers(panels[-1], result, done, "RdBu_r", -2 * bound, 2 * bound)
    panels[-1].add_patch(
        Rectangle((place[1] - 0.5, place[0] - 0.5), 1, 1, fill=False, color="black", linewidth=2.5, zorder=4)
    )
    panels[-1].set_title("result" if kind == "kernel" else f"{kind} of each window", fontsize=9)
    figure.suptitle(text if len(text) < 110 else f"{text[:60]} ... {text[text.rindex('=') :]}", fontsize=9)
    return figure


def _numbers(axes: Any, plane: NDArray[Any], shown: NDArray[np.bool_], colours: str, low: float, high: float) -> None:
    axes.imshow(np.where(shown, plane, np.nan), cmap=colours, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(plane):
        if shown[row, column]:
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7)
    axes.set_xticks(np.arange(-0.5, plane.shape[1]), [])
    axes.set_yticks(np.arange(-0.5, plane.shape[0]), [])
    axes.grid(color="0.85", linewidth=0.6)
    axes.tick_params(length=0)
