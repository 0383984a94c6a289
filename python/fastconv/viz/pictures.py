"""Pictures side by side, and the sheet that many small ones are laid out on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["sheet", "show_images"]


def sheet(pictures: NDArray[Any], columns: int | None = None) -> NDArray[Any]:
    """Lay pictures (count, height, width, ...) out on one, somewhat wider than high, with a gap of one NaN pixel."""
    count, height, width = pictures.shape[:3]
    columns = math.ceil(math.sqrt(count * 1.6)) if columns is None else columns
    rows = math.ceil(count / columns)
    cells: NDArray[Any] = np.full((rows * columns, height + 1, width + 1, *pictures.shape[3:]), np.nan)
    cells[:count, :height, :width] = pictures
    laid_out = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    return laid_out.reshape(rows * (height + 1), columns * (width + 1), *pictures.shape[3:])[:-1, :-1]


def show_images(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    titles: Sequence[str] = (),
    columns: int | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> Figure:
    """Draw images side by side, each in a frame of its own.

    Parameters
    ----------
    images
        Each (C, H, W) with C = 1 or 3, or (H, W); sizes may differ. uint8, or floats in `value_range`.
    titles
        A text above each; fewer are allowed.
    columns
        Images in a row. Default: all, up to six.
    value_range
        The values drawn black and white (or as none and full colour). Default: 0..255 for uint8, 0..1 for colours, and
        the smallest and largest value of each grey image.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if len(images) == 0:
        raise ValueError("show_images: images must hold at least one, got none")
    columns = min(len(images), 6) if columns is None else columns
    rows = math.ceil(len(images) / columns)
    shapes = [np.shape(image)[-2:] for image in images]
    ratio = max((h / w for h, w in shapes if w), default=1.0)
    width = min(14.0, 2.6 * columns)
    figure = new_figure(width, rows * (width / columns * ratio + (0.3 if titles else 0.05)))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for index, (axes, image) in enumerate(zip(panels, images, strict=False)):
        picture = np.asarray(image)
        if picture.ndim == 3 and picture.shape[0] in (1, 3):
            picture = picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)
        if picture.ndim not in (2, 3) or not picture.size or (picture.ndim == 3 and picture.shape[2] != 3):
            raise ValueError(
                f"show_images: images[{index}] must be (H, W), (1, H, W) or (3, H, W), got {np.shape(image)}"
            )
        low, high = value_range or ((0, 255) if picture.dtype == np.uint8 else (0, 1))
        if picture.ndim == 3:
            axes.imshow(np.clip((picture.astype(np.float64) - low) / (high - low), 0, 1))
        elif value_range is None and picture.dtype != np.uint8:
            axes.imshow(picture, cmap="gray")
        else:
            axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
        if index < len(titles):
            axes.set_title(titles[index], fontsize=9)
    return figure
