"""The filters of a convolution as small pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.viz.canvas import new_figure
from fastconv.viz.pictures import sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show_filters"]

_MOST = 256


def show_filters(weight: NDArray[Any], title: str = "") -> Figure:
    """Draw each filter: three input channels as colours, any other number as the mean over them in red and blue.

    Parameters
    ----------
    weight
        Shape (O, I, KH, KW); the first 256 filters are drawn.
    title
        Text above the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if weight.ndim != 4 or not weight.size:
        raise ValueError(f"show_filters: weight must have shape (O, I, KH, KW), all at least 1, got {weight.shape}")
    weight = weight[:_MOST]
    colour = weight.shape[1] == 3
    picture = sheet(_as_colours(weight) if colour else weight.mean(axis=1))
    height, width = picture.shape[:2]
    figure = new_figure(6.0 if colour else 7.0, max(1.2, 6.0 * height / width))
    axes = figure.subplots()
    axes.axis("off")
    if colour:
        axes.imshow(np.nan_to_num(picture, nan=1.0))
    else:
        reach = float(np.nanmax(np.abs(picture))) or 1.0
        image = axes.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
        figure.colorbar(image, ax=axes, shrink=0.9, label="weight")
    if title:
        axes.set_title(title)
    return figure


def _as_colours(weight: NDArray[Any]) -> NDArray[Any]:
    """Bring each filter to 0..1 and its channels to the end."""
    low = weight.min(axis=(1, 2, 3), keepdims=True)
    high = weight.max(axis=(1, 2, 3), keepdims=True)
    scaled: NDArray[Any] = (weight - low) / np.where(high > low, high - low, 1)
    return scaled.transpose(0, 2, 3, 1)
