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
