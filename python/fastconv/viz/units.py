"""What single units respond to: their maps, the images that excite them, and images made to excite them.

Reference: K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks" (2014), for gradients towards the
input and images that maximise a class; M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks"
(2014), for the images that excite a unit most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.viz.canvas import new_figure
from fastconv.viz.pictures import sheet, show_images
from fastconv.viz.receptive_field import receptive_field

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastconv.nn import Model

__all__ = [
    "maximal_input",
    "most_exciting",
    "saliency",
    "show_feature_maps",
    "show_maximal_inputs",
    "show_most_exciting",
    "show_saliency",
]

_MOST_MAPS = 256


def show_feature_maps(model: Model, image: NDArray[Any], layer: str) -> Figure:
    """Draw what each channel of a layer makes of an image.

    Parameters
    ----------
    model
        Built, of layout "NCHW".
    image
        (C, H, W), as the model takes it.
    layer
        Its name; its output must be (C, H, W). The first 256 channels are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    maps = model.features(image[None], layer)[0]
    if maps.ndim != 3:
        raise ValueError(f"show_feature_maps: layer {layer!r} must have maps (C, H, W), got shape {maps.shape}")
    picture = sheet(maps[:_MOST_MAPS])
    height, width = picture.shape
    figure = new_figure(8.0, max(1.5, 7.0 * height / width + 0.4))
    axes = figure.subplots()
    axes.axis("off")
    shown = axes.imshow(picture, cmap="viridis")
    figure.colorbar(shown, ax=axes, shrink=0.9)
    axes.set_title(f"{layer}: {len(maps)} maps of {maps.shape[1]} x {maps.shape[2]}")
    return figure


def most_exciting(
    model: Model, images: NDArray[Any], layer: str, unit: int, count: int = 9
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """Find the images that excite a channel (or feature) most, and the part of each that the unit saw.

    Parameters
    ----------
    model
        Built, of layout "NCHW".
    images
        (N, C, H, W), as the model takes them.
    layer, unit
        Name of the layer, and the channel of its output.
    count
        How many; at most N.

    Returns
    -------
    indices : ndarray of int64
        The images, the most exciting first.
    patches : list of ndarray
        (C, h, w) each: the receptive field of the strongest response in that image.
    """
    strongest: NDArray[Any] = np.empty(0)
    places: NDArray[Any] = np.empty(0, np.int64)
    for start in range(0, len(images), 256):  # a slice at a time: the maps of all images may not fit
        maps = model.features(images[start : start + 256], layer)
        if not 0 <= unit < maps.shape[1]:
            raise ValueError(f"most_exciting: unit must lie in 0..{maps.shape[1] - 1}, got {unit}")
        flat = maps[:, unit].reshape(len(maps), -1)
        strongest = np.concatenate([strongest, flat.max(axis=1)])
        places = np.concatenate([places, flat.argmax(axis=1)])
        size = maps.shape[2:]
    if not len(images):
        raise ValueError("most_exciting: images must hold at least one, got none")
    indices = np.argsort(-strongest, kind="stable")[:count]
    patches = []
    for index in indices:
        place = divmod(int(places[index]), size[1]) if size else None
        top, left, height, width = receptive_field(model, layer, place)
        patches.append(images[index][:, top : top + height, left : left + width])
    return indices, patches


def show_most_exciting(model: Model, images: NDArray[Any], layer: str, units: Sequence[int], count: int = 9) -> Figure:
    """Draw, a row for each unit, the parts of images that excite it most; see `most_exciting`."""
    rows: list[NDArray[Any]] = []
    titles: list[str] = []
    for unit in units:
        patches = most_exciting(model, images, layer, unit, count)[1]
        rows += patches
        titles += [f"{layer} {unit}"] + [""] * (len(patches) - 1)
    return show_images(rows, titles, columns=max(1, len(rows) // max(1, len(units))))


def saliency(
    model: Model,
    image: NDArray[Any],
    unit: int,
    layer: str | None = None,
    *,
    samples: int = 1,
    noise: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> NDArray[Any]:
    """Return how much each pixel matters to a unit: the largest gradient over the colours.

    Parameters
    ----------
    model
        Built, of layout "NCHW".
    image
        (C, H, W), as the model takes it.
    unit
        The class, or the channel of `layer`.
    layer
        Default: the output.
    samples
        Mean gradient of so many copies, which takes out most of what differs from pixel to pixel by chance; 1 is the
        gradient of the image itself.
    noise, seed
        What is added to each of several copies: normal, `noise` times the image's range.

    Returns
    -------
    ndarray, shape (H, W)
        max over c of |d unit / d image[c, y, x]|.

    References
    ----------
    D. Smilkov et al., "SmoothGrad: removing noise by adding noise" (2017).
    """
    if samples < 1:
        raise ValueError(f"saliency: samples must be at least 1, got {samples}")
    copies = image[None]
    if samples > 1:
        normal = np.random.default_rng(seed).standard_normal((samples, *image.shape))
        copies = (image + noise * float(np.ptp(image)) * normal).astype(model.dtype)
    _, grad = model.gradients(copies, of={_layer_or_output(model, layer): unit})
    return np.asarray(np.abs(grad.mean(axis=0)).max(axis=0))


def show_saliency(model: Model, images: NDArray[Any], units: Sequence[int], layer: str | None = None) -> Figure:
    """Draw images above the saliency of each, of 50 copies, towards one unit (class) for each; see `saliency`."""
    maps = [saliency(model, image, unit, layer, samples=50) for image, unit in zip(images, units, strict=True)]
    titles = [f"towards {unit}" for unit in units]
    return show_images([*images, *maps], titles, columns=len(images))


def maximal_input(
    model: Model,
    unit: int,
    layer: str | None = None,
    *,
    steps: int = 200,
    rate: float = 0.05,
    decay: float = 0.01,
    jitter: int = 1,
    seed: int | np.random.Generator = 0,
) -> NDArray[Any]:
    """Make an image that excites a unit, by gradient ascent from noise.

    Parameters
    ----------
    model
        Built, with one input (C, H, W), of layout "NCHW".
    unit
        The class, or the channel of `layer`; the sum over a map is made large.
    layer
        Default: the output.
    steps, rate
        How many steps, and how far each goes: `rate` times the gradient, scaled to mean square 1.
    decay
        Share by which the image shrinks to 0 in each step: keeps it from growing without limit.
    jitter
        The image is moved by up to so many pixels before each step, which keeps fine patterns away.
    seed
        Where noise and jitter come from.

    Returns
    -------
    ndarray, shape (C, H, W)
        Values around 0; `show_images` scales them.
    """
    if steps < 1:
        raise ValueError(f"maximal_input: steps must be at least 1, got {steps}")
    rng = np.random.default_rng(seed)
    shape = model.graph.inputs[0].shape
    if shape is None or len(shape) != 3:
        raise ValueError(f"maximal_input: the model's input must be (C, H, W), got {shape}")
    image = (0.1 * rng.standard_normal((1, *shape))).astype(model.dtype)
    of = {_layer_or_output(model, layer): unit}
    for _ in range(steps):
        down, across = (int(step) for step in rng.integers(-jitter, jitter + 1, 2))
        moved = np.roll(image, (down, across), (2, 3))
        _, grad = model.gradients(moved, of=of)
        if not grad.any():  # behind a ReLU that gives 0 everywhere: look elsewhere, further away
            moved = _blobs(rng, moved.shape).astype(model.dtype)
        length = float(np.sqrt(np.mean(np.square(grad, dtype=np.float64)))) or 1.0
        moved = (1 - decay) * (moved + rate / length * grad)
        image = np.roll(moved, (-down, -across), (2, 3)).astype(model.dtype)
    return np.asarray(image[0])


def show_maximal_inputs(
    model: Model, units: Sequence[int], layer: str | None = None, *, steps: int = 200, seed: int = 0
) -> Figure:
    """Draw an image made for each unit; see `maximal_input`."""
    images = [maximal_input(model, unit, layer, steps=steps, seed=seed) for unit in units]
    scaled = [0.5 + image / (4 * float(image.std()) or 1.0) for image in images]
    return show_images(scaled, [str(unit) for unit in units], value_range=(0.0, 1.0))


def _blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Noise in squares of 4 x 4 pixels, as wide as strokes are: what wakes units that pixel noise does not."""
    coarse = rng.standard_normal((*shape[:2], *(-(-size // 4) for size in shape[2:])))
    return coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, : shape[2], : shape[3]]


def _layer_or_output(model: Model, layer: str | None) -> Any:
    return model.graph.outputs[0] if layer is None else layer
