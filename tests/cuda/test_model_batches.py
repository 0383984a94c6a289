"""Batches that lie on the model's GPU already: the same bits as those of the host, and no detour over it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fake_cupy
import networks
from cuda_arrays import GpuArray, Plain
from fake_cupy import asarray
from fastconv import nn, optim, zoo


def small(loss: str = "cross_entropy", layout: str = "NCHW") -> nn.Model:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, activation="relu"), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(None, 4),
        input_shape=(3, 6, 6), layout=layout,
    )  # fmt: skip
    model.compile(optim.SGD(0.05, 0.9), loss)
    return model.to("cuda")


def data(rng: np.random.Generator, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((size, 3, 6, 6), np.float32), rng.integers(0, 4, size)


@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels-last"])
def test_training(gpu: fake_cupy.Counts, rng: np.random.Generator, channels_last: bool) -> None:
    """Kernel by kernel and captured: the bits of batches from the host; nothing is copied over, nothing allocated."""
    models = [small() for _ in range(3)]
    step = models[2].capture()
    for number in range(4):
        x, y = data(rng)
        expected = models[0].train_on_batch(x, y)
        here, labels = asarray(x, channels_last), asarray(y)
        gpu.reset()
        assert models[1].train_on_batch(here, labels) == expected
        assert (gpu.uploads, gpu.allocations if number else 0) == (0, 0)
        assert gpu.kernels["transpose"] == 2 + (not channels_last)  # two of Flatten
        gpu.reset()
        step(here, labels)
        assert (gpu.uploads, gpu.waits if number else 0, gpu.allocations if number else 0) == (0, 0, 0)
        assert step.loss == expected["loss"]
        assert models[1].test_on_batch(here, labels) == models[0].test_on_batch(x, y)
    for name, value in models[0].state_dict().items():
        for other in models[1:]:
            np.testing.assert_array_equal(other.state_dict()[name], value)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_results_stay_there(gpu: fake_cupy.Counts, rng: np.random.Generator, layout: str) -> None:
    """Of a model with maps as results, whole and in slices; none of it passes through the host."""
    model = nn.Sequential(nn.Conv2d(3, 5, 3, activation="silu"), input_shape=(3, 6, 6), layout=layout).to("cuda")
    x = rng.standard_normal((7, 3, 6, 6) if layout == "NCHW" else (7, 6, 6, 3), np.float32)
    expected = model.predict(x)
    here = asarray(x)
    gpu.reset()
    found = [model(here), model.predict(here), model.predict(here, batch_size=3), model.predict(here[:0])]
    assert (gpu.uploads, gpu.downloads) == (0, 0)
    for result in found[:3]:
        assert isinstance(result, fake_cupy.Array)
        np.testing.assert_array_equal(result.get(), expected)
    assert found[3].shape == (0, *expected.shape[1:])
    assert type(model(x)) is np.ndarray


def test_arrays_of_other_libraries(gpu: fake_cupy.Counts, rng: np.random.Generator, emulated: ModuleType) -> None:
    """By DLPack and by `__cuda_array_interface__`; streams wait for each other, the host for none."""
    model, again = small(), small()
    x, y = data(rng)
    expected = model.predict(x)
    np.testing.assert_array_equal(model(GpuArray(x)).get(), expected)
    np.testing.assert_array_equal(model(Plain(x, stream=1)).get(), expected)
    mine, other = fake_cupy.Stream(emulated.emulate_stream(0)), emulated.emulate_stream(0)
    with mine:
        emulated.emulated_orders()
        np.testing.assert_array_equal(model(Plain(x, stream=other)).get(), expected)
        assert emulated.emulated_orders() == [(other, mine.ptr), (mine.ptr, other)]
        model(GpuArray(x))  # made ready on the legacy stream
        assert emulated.emulated_orders() == [(0, mine.ptr), (mine.ptr, 0)]
    expected = again.train_on_batch(x, y)
    assert model.train_on_batch(GpuArray(x), GpuArray(y)) == expected


def test_a_captured_step_waits_for_the_stream_of_its_batch(
    gpu: fake_cupy.Counts, rng: np.random.Generator, emulated: ModuleType
) -> None:
    step = small().capture()
    x, y = (asarray(array) for array in data(rng))
    stream = fake_cupy.Stream(emulated.emulate_stream(0))
    with stream:
        for _ in range(3):
            emulated.emulated_orders()
            step(x, y)
            own = step._stream.ptr
            assert emulated.emulated_orders() == [(stream.ptr, own), (own, stream.ptr)]


def test_metrics_and_several_losses(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    models = [networks.two_by_two().to("cuda") for _ in range(2)]
    for model in models:
        model.compile("sgd", ["cross_entropy"] * 2, metrics=["accuracy"])
    x = [rng.random((4, 2, 7, 6), dtype=np.float32), rng.random((4, 5), dtype=np.float32)]
    y = [rng.integers(0, 3, 4), rng.integers(0, 2, (4, 4, 3))]
    for _ in range(2):
        expected = models[0].train_on_batch(x, tuple(y))
        assert models[1].train_on_batch([asarray(a) for a in x], tuple(asarray(a) for a in y)) == expected


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_as_targets(gpu: fake_cupy.Counts, rng: np.random.Generator, layout: str, channels_last: bool) -> None:
    def make() -> nn.Model:
        model = nn.Sequential(nn.Conv2d(2, 3, 3), input_shape=(2, 5, 6), layout=layout)
        model.compile("sgd", "mse", metrics=["mean_absolute_error"] if layout == "NCHW" else [])
        return model.to("cuda")

    x, y = rng.random((4, 2, 5, 6), dtype=np.float32), rng.random((4, 3, 3, 4), dtype=np.float32)
    if layout == "NHWC":
        x, y = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, y))
    first, second = make(), make()
    for _ in range(2):
        expected = first.train_on_batch(x, y)
        last = channels_last and layout == "NCHW"
        assert second.train_on_batch(asarray(x, last), asarray(y, last)) == expected


def test_one_number_for_each_sample(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """Targets (N,) of an output (N, 1), labels (N, 1)."""
    models = [nn.Sequential(nn.Linear(3, 1), input_shape=(3,)).to("cuda") for _ in range(2)]
    x, y = rng.random((4, 3), dtype=np.float32), rng.random(4, dtype=np.float32)
    for model in models:
        model.compile("sgd", "binary_cross_entropy")
    expected = models[0].train_on_batch(x, y)
    assert models[1].train_on_batch(asarray(x), asarray(y)) == expected
    a, b = small(), small()
    x, labels = data(rng)
    assert a.train_on_batch(asarray(x), asarray(labels[:, None])) == b.train_on_batch(x, labels)


def test_what_cannot_be_taken(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    model = small()
    x, y = data(rng)
    here, labels = asarray(x), asarray(y)
    step = model.capture()
    for train in (model.train_on_batch, step, model.test_on_batch):
        with pytest.raises(TypeError, match=r"Model.\w+: x and y must lie in one place, got x on the GPU and y"):
            train(here, y)
        with pytest.raises(TypeError, match=r"x and y must lie in one place, got x in host memory and y on the GPU"):
            train(x, labels)
        with pytest.raises(ValueError, match="x and y must have one N, got 5 and"):
            train(here, labels[:3])
        with pytest.raises(TypeError, match="cross_entropy: target must be int64 on a GPU, got int32"):
            train(here, asarray(y.astype(np.int32)))
        with pytest.raises(ValueError, match=r"target must have shape \(5,\) on a GPU, got \(5, 4\)"):
            train(here, asarray(np.eye(4, dtype=np.int64)[y]))
    with pytest.raises(TypeError, match="Model.predict_on_batch: input 0 must be float32 on a GPU, got float64"):
        model(asarray(x.astype(np.float64)))
    with pytest.raises(ValueError, match=r"input 0 must have shape \(N, 3, 6, 6\), got \(5, 6, 6, 3\)"):
        model(asarray(np.ascontiguousarray(x.transpose(0, 2, 3, 1))))
    with pytest.raises(ValueError, match="must be C-contiguous or channels-last on a GPU, got strides"):
        model(asarray(x)[:, :, ::-1])
    with pytest.raises(TypeError, match=r"Model.features: x must be a numpy.ndarray, or a list of them, got arrays"):
        model.features(here, "conv2d_1")
    with pytest.raises(TypeError, match="fit: x must be a numpy array|BatchLoader: x must be a numpy array"):
        model.fit(here, labels)
    two = networks.two_by_two().to("cuda")
    first, second = rng.random((4, 2, 7, 6), dtype=np.float32), rng.random((4, 5), dtype=np.float32)
    with pytest.raises(TypeError, match="x must lie all on the GPU or all in host memory"):
        two([asarray(first), second])
    with pytest.raises(ValueError, match="inputs must have one N, got 4 and 3"):
        two([asarray(first), asarray(second)[:3]])
    far = asarray(x)
    far.device.id = 1
    with pytest.raises(ValueError, match=r"input 0 must lie on cuda:0 as the model does, got cuda:1"):
        model(far)
    model.to("cpu")
    for call in (lambda: model(here), lambda: model.predict(here), lambda: model.train_on_batch(x, labels)):
        with pytest.raises(TypeError, match=r"must be a numpy.ndarray while the model is on the CPU, got .* on a GPU"):
            call()


def test_labels_that_are_no_class_show_in_the_loss(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    model = small()
    x, y = data(rng)
    y[1] = 4
    assert np.isnan(model.train_on_batch(asarray(x), asarray(y))["loss"])


def test_a_zoo_model(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """One channel, where both layouts are the same bytes."""
    model = zoo.lenet5((1, 28, 28)).to("cuda")
    x = rng.random((3, 1, 28, 28), dtype=np.float32)
    expected: Any = model(x)
    np.testing.assert_array_equal(model(asarray(x)).get(), expected)
