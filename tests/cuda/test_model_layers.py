"""Layers and losses of images on a GPU: values, weights and gradients of inputs are those of the CPU, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fake_cupy
from fastconv import losses, nn, optim

Layers = Callable[[], list[nn.Layer]]

# Behind a convolution to 8 channels of 6 x 7 pixels. Sizes that four channels divide, and others.
LAYERS: dict[str, Layers] = {
    "reflect": lambda: [nn.Pad(((5, 2), (0, 6)), "reflect")],
    "reflect_all": lambda: [nn.Pad(((1, 5), (6, 6)), "reflect")],
    "replicate": lambda: [nn.Pad(((3, 0), (2, 9)), "replicate")],
    "odd_channels": lambda: [nn.Conv2d(8, 3, 1), nn.Pad(2, "reflect"), nn.Pad(1, "replicate")],
    "shuffle": lambda: [nn.PixelShuffle(2), nn.Conv2d(2, 5, 3)],
    "unshuffle": lambda: [nn.Crop(((0, 0), (0, 1))), nn.PixelUnshuffle(3), nn.Conv2d(72, 5, 1)],
    "softmax_rows": lambda: [nn.Softmax(axis=2)],
    "softmax_columns": lambda: [nn.Softmax(axis=-1)],
    "maxout": lambda: [nn.Maxout(4)],
    "maxout_features": lambda: [nn.Flatten(), nn.Maxout(3), nn.Reshape((16, 7, 1))],
    "lp1": lambda: [nn.LpPool2d(1, 2, 1)],
    "lp2": lambda: [nn.LpPool2d(2, (2, 3), (2, 1), padding=(1, 0))],
    "lp3": lambda: [nn.LpPool2d(3, 3, 2, ceil_mode=True)],
    "weighted": lambda: [nn.WeightedPool2d(3, 2, "same")],
    "weighted_window": lambda: [nn.WeightedPool2d([[1.0, 2.0], [0.5, -1.0]], 1)],
    "adaptive_max": lambda: [nn.AdaptiveMaxPool2d((4, 3))],
    "adaptive_max_up": lambda: [nn.AdaptiveMaxPool2d((9, 2))],
    "adaptive_max_divides": lambda: [nn.AdaptiveMaxPool2d((3, 7))],
    "layer_norm": lambda: [nn.LayerNorm((8, 6, 7)), nn.ReLU()],
    "layer_norm_plain": lambda: [nn.LayerNorm((8, 6, 7), elementwise_affine=False)],
    "layer_norm_features": lambda: [nn.Flatten(), nn.Linear(None, 11), nn.LayerNorm(11)],
}


def network(layers: Layers) -> nn.Model:
    image = nn.Input((3, 6, 7), name="image")
    x = nn.Conv2d(None, 8, 3, padding=1)(image)
    for layer in layers():
        x = layer(x)
    return nn.Model(image, nn.Linear(None, 4)(nn.Flatten()(x)))


def unpooled(kernel_size: int, stride: int) -> nn.Model:
    """As SegNet; windows may share a maximum."""
    image = nn.Input((3, 7, 7), name="image")
    pool = nn.MaxPool2d(kernel_size, stride)
    x = nn.Conv2d(None, 4, 3, padding=1)(image)
    y = nn.MaxUnpool2d(pool)(nn.Conv2d(None, 4, 1)(pool(x)), x)
    return nn.Model(image, nn.Linear(None, 4)(nn.Flatten()(nn.Add()(x, y))))


def shared_norm() -> nn.Model:
    """A layer norm that is used twice: its gradients add up."""
    image, norm = nn.Input((2, 4, 3), name="image"), nn.LayerNorm((2, 4, 3))
    x = norm(nn.Conv2d(None, 2, 3, padding=1)(norm(image)))
    return nn.Model(image, nn.Linear(None, 4)(nn.Flatten()(x)))


MODELS: dict[str, Callable[[], nn.Model]] = {
    **{name: lambda layers=layers: network(layers) for name, layers in LAYERS.items()},
    "unpool": lambda: unpooled(2, 2),
    "unpool_apart": lambda: unpooled(2, 3),
    "unpool_overlapping": lambda: unpooled(3, 2),
    "shared_norm": shared_norm,
}


def close(found: np.ndarray, expected: np.ndarray, bound: float = 2e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("name", MODELS)
def test_trains_like_the_cpu(cupy: fake_cupy.Counts, rng: np.random.Generator, name: str) -> None:
    here, there = MODELS[name](), MODELS[name]()
    for model in (here, there):
        model.compile(optim.SGD(0.05, momentum=0.9))
    there.to("cuda")
    (shape,) = (node.shape for node in here.graph.inputs)
    for step in range(3):
        x, y = rng.standard_normal((3, *(shape or ())), np.float32), rng.integers(0, 4, 3)
        expected = here.train_on_batch(x, y)
        cupy.reset()
        assert there.train_on_batch(x, y)["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert step == 0 or cupy.allocations == 0
    for key, value in here.state_dict().items():
        close(there.state_dict()[key], value)
    close(there.predict_on_batch(x), here.predict_on_batch(x), 1e-4)
    value, grad = here.gradients(x, y)
    found, found_grad = there.gradients(x, y)
    assert found == pytest.approx(value, rel=1e-4)
    close(found_grad, grad, 1e-4)
    assert there.plan(3).scratch == there.engine.device.scratch_bytes  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["reflect", "shuffle", "layer_norm", "lp3", "unpool_overlapping", "adaptive_max"])
def test_a_graph_has_the_same_bits(gpu: fake_cupy.Counts, rng: np.random.Generator, name: str) -> None:
    eager, captured = (MODELS[name]().to("cuda") for _ in range(2))
    for model in (eager, captured):
        model.compile("adam")
    step = captured.capture()
    (shape,) = (node.shape for node in eager.graph.inputs)
    for _ in range(4):
        x, y = rng.standard_normal((2, *(shape or ())), np.float32), rng.integers(0, 4, 2)
        expected = eager.train_on_batch(x, y)["loss"]
        step(x, y)
        assert step.loss == expected
    for key, value in eager.state_dict().items():
        np.testing.assert_array_equal(captured.state_dict()[key], value)


@pytest.mark.parametrize("name", MODELS)
def test_no_samples(gpu: fake_cupy.Counts, name: str) -> None:
    model = MODELS[name]().to("cuda")
    model.compile("sgd")
    (shape,) = (node.shape for node in model.graph.inputs)
    x, y = np.zeros((0, *(shape or ())), np.float32), np.zeros(0, np.int64)
    assert model.train_on_batch(x, y) == {"loss": 0.0}
    assert model.predict(x).shape == (0, 4)


def images_to_images() -> nn.Model:
    image = nn.Input((3, 5, 6), name="image")
    return nn.Model(image, nn.Conv2d(None, 6, 3, activation="tanh")(image))


@pytest.mark.parametrize("weights", [None, [0.3]])
@pytest.mark.parametrize("loss", ["gram", "total_variation"])
def test_losses_of_images(
    cupy: fake_cupy.Counts, rng: np.random.Generator, loss: str, weights: list[float] | None
) -> None:
    here, there = images_to_images(), images_to_images()
    for model in (here, there):
        model.compile(optim.SGD(0.1, 0.9), loss, loss_weights=weights)
    there.to("cuda")
    for step in range(3):
        x = rng.standard_normal((3, 3, 5, 6), np.float32)
        y = rng.standard_normal((3, 6, 6) if step else (3, 6, 3, 4), np.float32) if loss == "gram" else np.zeros(3)
        expected = here.train_on_batch(x, y)
        cupy.reset()
        assert there.train_on_batch(x, y)["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert step == 0 or cupy.allocations == 0
        (_, grad), (_, found) = (model.gradients(x, y) for model in (here, there))
        close(found, grad)
    for key, value in here.state_dict().items():
        close(there.state_dict()[key], value)
    assert there.plan(3).scratch == there.engine.device.scratch_bytes  # type: ignore[attr-defined]
    assert there.train_on_batch(x[:0], y[:0]) == {"loss": 0.0}


def test_style_of_a_batch_on_the_gpu(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """Gram matrices and whatever total variation is given may lie there too."""
    models = [images_to_images().to("cuda") for _ in range(2)]
    x, y = rng.standard_normal((3, 3, 5, 6), np.float32), rng.standard_normal((3, 6, 6), np.float32)
    for loss in ("gram", "total_variation"):
        for model in models:
            model.compile("sgd", loss)
        expected = models[0].train_on_batch(x, y)
        assert models[1].train_on_batch(fake_cupy.asarray(x), fake_cupy.asarray(y)) == expected


def test_everything_runs_there() -> None:
    """No layer or loss of ours is left without kernels."""

    def subclasses(kind: type) -> set[type]:
        return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))

    for base, module in ((nn.Layer, "fastconv.nn"), (losses.Loss, "fastconv.losses")):
        own = {kind for kind in subclasses(base) if kind.__module__.startswith(module) and kind.__name__[0] != "_"}
        lacking: Any = {kind.__name__ for kind in own if not kind.runs_on_gpu} - {"Layer", "Loss"}  # type: ignore[attr-defined]
        assert lacking <= {"Pool2d"}, lacking
