"""What units see: receptive fields against gradients, exciting images against a search by hand, pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import nn, viz


def network(*layers: nn.Layer, shape: tuple[int, ...] = (2, 13, 11)) -> nn.Sequential:
    return nn.Sequential(*layers, input_shape=shape, seed=3, dtype="float64")


def linear_network() -> nn.Sequential:
    """Without ReLU or max pooling every pixel of the field has a gradient."""
    return network(
        nn.Conv2d(2, 3, (3, 2), padding="same", name="a"),
        nn.AvgPool2d(2, name="b"),
        nn.Conv2d(3, 4, 3, stride=2, padding=((1, 0), (2, 1)), name="c"),
        nn.Conv2d(4, 2, 2, dilation=2, padding=1, name="d"),
        nn.Flatten(name="e"),
        nn.Linear(None, 3, name="f"),
    )


def pixels(figure: Any) -> np.ndarray:
    image = pytest.importorskip("matplotlib.image")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    file.seek(0)
    return image.imread(file)


def test_receptive_fields_are_where_gradients_are(rng: np.random.Generator) -> None:
    model = linear_network()
    x = rng.standard_normal((1, 2, 13, 11))
    for name in "abcd":
        maps = model.features(x, name)
        for place in np.ndindex(maps.shape[2:]):
            grad = model.gradients(x, of={name: (0, *place)})[1]
            rows, columns = (np.flatnonzero(np.abs(grad[0]).sum(axis=(0, axis)) > 1e-12) for axis in (2, 1))
            expected = (rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1)
            assert viz.receptive_field(model, name, place) == expected
    assert viz.receptive_field(model, "e") == viz.receptive_field(model, "f") == (0, 0, 13, 11)


def test_receptive_field_of_branches_is_their_union() -> None:
    x = nn.Input((1, 9, 9))
    narrow, wide = nn.Conv2d(1, 2, 1, name="narrow")(x), nn.Conv2d(1, 2, 5, padding=2, name="wide")(x)
    model = nn.Model(x, nn.Add(name="sum")(narrow, wide))
    assert viz.receptive_field(model, "sum", (4, 4)) == (2, 2, 5, 5)
    assert viz.receptive_field(model, "narrow", (4, 4)) == (4, 4, 1, 1)


def test_receptive_field_outside_the_map() -> None:
    with pytest.raises(ValueError, match=r"position must lie in the 13 x 11 map, got \(13, 0\)"):
        viz.receptive_field(linear_network(), "a", (13, 0))


def test_most_exciting_images_come_first(rng: np.random.Generator) -> None:
    model = linear_network()
    images = rng.standard_normal((300, 2, 13, 11))
    indices, patches = viz.most_exciting(model, images, "b", 1, count=4)
    best = model.features(images, "b")[:, 1].max(axis=(1, 2))
    assert indices.tolist() == np.argsort(-best)[:4].tolist()
    place = np.unravel_index(model.features(images[indices[:1]], "b")[0, 1].argmax(), (6, 5))
    top, left, height, width = viz.receptive_field(model, "b", (int(place[0]), int(place[1])))
    assert np.array_equal(patches[0], images[indices[0]][:, top : top + height, left : left + width])
    assert viz.most_exciting(model, images[:3], "f", 0)[1][0].shape == (2, 13, 11)
    with pytest.raises(ValueError, match=r"unit must lie in 0\.\.2, got 3"):
        viz.most_exciting(model, images, "f", 3)


def test_saliency_is_the_largest_gradient(rng: np.random.Generator) -> None:
    model = linear_network()
    x = rng.standard_normal((2, 13, 11))
    step = np.zeros_like(x)
    step[1, 4, 5] = 1e-6
    slopes = [(model(x[None] + s)[0, 2] - model(x[None])[0, 2]) / 1e-6 for s in (step, step[::-1])]
    assert viz.saliency(model, x, 2)[4, 5] == pytest.approx(np.abs(slopes).max(), rel=1e-4)
    copies = viz.saliency(model, x, 2, samples=7)
    np.testing.assert_allclose(copies, viz.saliency(model, x, 2), rtol=1e-5)  # a linear network's gradient is the same
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        viz.saliency(model, x, 2, samples=0)


def test_maximal_input_excites_the_unit() -> None:
    model = network(nn.Conv2d(2, 3, 3, activation="relu", name="a"), nn.Flatten(), nn.Linear(None, 3))
    image = viz.maximal_input(model, 1, steps=30)
    assert image.shape == (2, 13, 11)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((50, 2, 13, 11)) * image.std()
    assert model(image[None])[0, 1] > model(noise)[:, 1].max()
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        viz.maximal_input(model, 1, steps=0)


def test_maximal_input_wakes_a_unit_that_a_relu_silences() -> None:
    model = network(nn.Conv2d(2, 3, 3, activation="relu", name="a"))
    model.layers["a"].parameters()["bias"].data[...] = -1
    assert model.features(viz.maximal_input(model, 0, "a", steps=20)[None], "a")[0, 0].max() > 0


def test_pictures(rng: np.random.Generator) -> None:
    pytest.importorskip("matplotlib")
    model = network(nn.Conv2d(1, 4, 3, name="a"), nn.Flatten(), nn.Linear(None, 3), shape=(1, 8, 8))
    images = rng.standard_normal((5, 1, 8, 8))
    for figure in (
        viz.show_feature_maps(model, images[0], "a"),
        viz.show_most_exciting(model, images, "a", [0, 2], 3),
        viz.show_saliency(model, images[:2], [0, 1]),
        viz.show_maximal_inputs(model, [0, 1], steps=2),
        viz.show_receptive_fields(model, images[0]),
        viz.show_images([images[0], np.zeros((3, 4, 4)), np.full((2, 2), 7, np.uint8)], ["a", "b"]),
    ):
        assert np.ptp(pixels(figure)) > 0.5
    with pytest.raises(ValueError, match="must have maps"):
        viz.show_feature_maps(model, images[0], "linear_1")
    with pytest.raises(ValueError, match=r"images\[0\] must be"):
        viz.show_images([np.zeros((2, 4, 4))])


def test_steps_of_convolution_and_pooling(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image, kernel = np.arange(16.0).reshape(4, 4), np.array([[1.0, 0], [0, -1]])
    figure = viz.step_convolution(image, kernel, 1, bias=2.0)
    assert figure.get_suptitle() == "sum of image times kernel: +1 -6 +2 (bias) = -3"
    texts = [text.get_text() for text in figure.axes[2].texts]
    assert texts == ["-3", "-3"]  # the results so far
    assert viz.step_pooling(image, 2, 3).get_suptitle() == "largest of 10, 11, 14, 15 = 15"
    assert viz.step_pooling(image, 2, 0, kind="average").get_suptitle() == "mean of 0, 1, 4, 5 = 2.5"
    viz.save_steps((viz.step_convolution(image, kernel, step) for step in range(3)), tmp_path / "steps.gif")
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(tmp_path / "steps.gif") as film:
        assert film.n_frames == 3
    with pytest.raises(ValueError, match=r"step must lie in 0\.\.8, got 9"):
        viz.step_convolution(image, kernel, 9)
    with pytest.raises(ValueError, match="1 to 24 of each"):
        viz.step_pooling(np.zeros((25, 3)))
    with pytest.raises(ValueError, match="must end in .gif"):
        viz.save_steps([figure], tmp_path / "steps.txt")
