"""Models on a real GPU: the CPU's weights after some steps, and a captured step with the bits of an eager one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import cuda, nn, optim, zoo

pytestmark = pytest.mark.gpu

NETWORKS = {
    "lenet5": (lambda: zoo.lenet5((1, 28, 28)), lambda: optim.SGD(0.05, momentum=0.9)),
    "keras_mnist": (lambda: zoo.keras_mnist((1, 28, 28)), lambda: optim.RMSprop(1e-3)),
    "resnet20": (lambda: zoo.resnet20((3, 32, 32)), lambda: optim.SGD(0.05, 0.9, weight_decay=1e-4)),
    "unet": (lambda: zoo.unet((3, 32, 32), width=8, depth=2), lambda: optim.Adam(1e-3)),
}


@pytest.fixture
def cupy(gpu: Any) -> Any:
    if gpu.name != "cupy":
        pytest.skip("models take their memory from CuPy")
    return gpu.module


def batch(rng: np.random.Generator, model: nn.Model) -> tuple[np.ndarray, np.ndarray]:
    (shape,) = (node.shape for node in model.graph.inputs)
    classes, *places = model.graph.infer_shapes([shape])[model.graph.outputs[0]]
    return rng.random((16, *shape), dtype=np.float32), rng.integers(0, classes, (16, *places))


@pytest.mark.parametrize("name", NETWORKS)
def test_trains_like_the_cpu(cupy: Any, rng: np.random.Generator, name: str) -> None:
    make, optimizer = NETWORKS[name]
    here, there = make(), make()
    for model in (here, there):
        model.compile(optimizer())
    there.to("cuda")
    pool = cupy.get_default_memory_pool()
    held = 0
    for step in range(4):
        x, y = batch(rng, here)
        expected, found = here.train_on_batch(x, y), there.train_on_batch(x, y)
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        if step == 1:
            held = pool.total_bytes()
    assert pool.total_bytes() == held
    state = there.state_dict()
    for key, value in here.state_dict().items():
        np.testing.assert_allclose(state[key], value, rtol=0, atol=2e-5 * max(1.0, float(np.abs(value).max())))
    np.testing.assert_allclose(there.predict(x), here.predict(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_captured_step(cupy: Any, rng: np.random.Generator, name: str) -> None:
    """The same bits as kernel by kernel, and the memory pool stays as it is."""
    make, optimizer = NETWORKS[name]
    eager, captured = make().to("cuda"), make().to("cuda")
    for model in (eager, captured):
        model.compile(optimizer())
    step = captured.capture()
    for number in range(6):
        for model in (eager, captured):
            assert model.optimizer is not None
            model.optimizer.learning_rate = 0.01 / (number + 1)
        x, y = batch(rng, eager)
        logs = eager.train_on_batch(x, y)
        step(x, y)
        assert step.loss == logs["loss"]
    assert step.recorded == 1
    state = captured.state_dict()
    for key, value in eager.state_dict().items():
        np.testing.assert_array_equal(state[key], value)


def test_steps_that_nobody_waits_for(cupy: Any, rng: np.random.Generator) -> None:
    """Batches follow each other at once: none is overwritten while it is still being copied or read."""
    eager, captured = (zoo.lenet5((1, 28, 28)).to("cuda") for _ in range(2))
    for model in (eager, captured):
        model.compile(optim.Adam(1e-3))
    step = captured.capture()
    batches = [batch(rng, eager) for _ in range(40)]
    lost = [eager.train_on_batch(x, y)["loss"] for x, y in batches]
    for x, y in batches:
        step(x, y)
    assert step.loss == lost[-1]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        again = [eager.train_on_batch(x, y)["loss"] for x, y in batches[:3]]
    for x, y in batches[:3]:
        step(x, y)
    assert step.loss == again[-1]
    assert cuda.device_count() > 0


def test_fit_reads_its_figures_late(cupy: Any, rng: np.random.Generator) -> None:
    """The weights and figures of one batch after another; the pool stays as it is once the steps are recorded."""
    one, other = (zoo.lenet5((1, 28, 28)).to("cuda") for _ in range(2))
    x, y = rng.random((70, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, 70)
    for model in (one, other):
        model.compile(optim.SGD(0.01, momentum=0.9), metrics=["accuracy"])
    expected = [one.train_on_batch(x[i : i + 16], y[i : i + 16]) for _ in range(4) for i in range(0, 70, 16)]
    history = other.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=False).history
    held = cupy.get_default_memory_pool().total_bytes()
    more = other.fit(x, y, epochs=4, initial_epoch=2, batch_size=16, shuffle=False, verbose=False).history
    assert cupy.get_default_memory_pool().total_bytes() <= held + (1 << 20)
    sizes = [16, 16, 16, 16, 6]
    for epoch, (loss, accuracy) in enumerate(
        zip(history["loss"] + more["loss"], history["accuracy"] + more["accuracy"], strict=True)
    ):
        steps = expected[5 * epoch : 5 * epoch + 5]
        assert loss == pytest.approx(np.average([step["loss"] for step in steps], weights=sizes), rel=1e-12)
        assert accuracy == pytest.approx(np.average([step["accuracy"] for step in steps], weights=sizes), rel=1e-12)
    for key, value in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value)


def test_batches_on_the_gpu(cupy: Any, rng: np.random.Generator) -> None:
    """CuPy's and PyTorch's, made on another stream just before, and freed at once."""
    torch = pytest.importorskip("torch")
    models = [zoo.lenet5((1, 28, 28)).to("cuda") for _ in range(3)]
    for model in models:
        model.compile(optim.Adam(1e-3))
    step = models[2].capture()
    for number in range(5):
        x, y = batch(rng, models[0])
        expected = models[0].train_on_batch(x, y)
        with cupy.cuda.Stream(non_blocking=True):
            assert models[1].train_on_batch(cupy.asarray(x), cupy.asarray(y)) == expected
        if torch.cuda.is_available() and number % 2:
            with torch.cuda.stream(torch.cuda.Stream()):
                images = torch.from_numpy(x).cuda().to(memory_format=torch.channels_last)
                step(images, torch.from_numpy(y).cuda())
        else:
            step(cupy.asarray(x), cupy.asarray(y))
        assert step.loss == expected["loss"]
    x = np.asarray(rng.random((20, 1, 28, 28)), np.float32)
    found = models[2].predict(cupy.asarray(x), batch_size=8)
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), models[2].predict(x, batch_size=8))
