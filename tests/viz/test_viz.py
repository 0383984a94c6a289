"""Every picture is drawn from real shapes and comes out as a PNG with something in it."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

from fastconv.viz import confusion_matrix_figure, plot_history, show_filters

HISTORY = {
    "loss": [1.0, 0.5, 0.2],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [1.1, 0.7, 0.5],
    "val_accuracy": [0.4, 0.6, 0.8],
    "learning_rate": [0.1, 0.1, 0.0],
}


def pixels(figure: Any) -> np.ndarray:
    image = pytest.importorskip("matplotlib.image")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    file.seek(0)
    return image.imread(file)


@pytest.fixture(autouse=True)
def _need_matplotlib(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name:
        pytest.importorskip("matplotlib")


def test_plot_history() -> None:
    figure = plot_history(HISTORY)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 1]
    assert list(figure.axes[0].lines[1].get_ydata()) == [1.1, 0.7, 0.5]
    assert np.ptp(pixels(figure)) > 0.5


def test_plot_history_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one figure"):
        plot_history({})


@pytest.mark.parametrize(
    ("shape", "sheet"),
    [((1, 1, 3, 3), (3, 7)), ((6, 1, 5, 5), (11, 23)), ((32, 3, 3, 3), (15, 31, 3)), ((300, 8, 1, 1), (25, 41))],
)
def test_show_filters(shape: tuple[int, ...], sheet: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    figure = show_filters(weight, "first layer")
    drawn = figure.axes[0].images[0].get_array()
    assert drawn.shape == sheet
    if shape[1] != 3:
        first = drawn[: shape[2], : shape[3]]
        np.testing.assert_allclose(first, weight[0].mean(axis=0), rtol=1e-6)
    assert np.ptp(pixels(figure)) > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_show_filters_of_zeros(channels: int) -> None:
    assert np.isfinite(pixels(show_filters(np.zeros((2, channels, 3, 3))))).all()


def test_confusion_matrix_figure() -> None:
    figure = confusion_matrix_figure(np.array([[5, 1], [0, 4]]), ["T-shirt/top", "bag"])
    assert figure.axes[0].get_title() == "9 of 10 right (90.00%)"
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "4", "5"]
    assert np.ptp(pixels(figure)) > 0.5


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: show_filters(np.zeros((3, 3))), r"\(O, I, KH, KW\)"),
        (lambda: show_filters(np.zeros((0, 1, 3, 3))), "at least 1"),
        (lambda: confusion_matrix_figure(np.zeros((2, 3))), "must be square"),
        (lambda: confusion_matrix_figure(np.eye(2), ["a"]), "2 names, got 1"),
    ],
)
def test_bad_arguments(call, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "fastconv\[viz\]"'):
        plot_history(HISTORY)
