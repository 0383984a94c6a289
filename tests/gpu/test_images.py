"""Borders, pixel shuffle, rarer pooling and norms on a real GPU: values of the CPU, the same bits twice; and models."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import ops, optim

pytestmark = pytest.mark.gpu

SHAPE = (3, 12, 33, 50)
PLACES = ops.max_pool2d(np.random.default_rng(5).random(SHAPE, np.float32), 3, 2, return_indices=True)[1]
BINS = ops.adaptive_max_pool2d(np.random.default_rng(5).random((3, 12, 40, 70), np.float32), SHAPE[2:], True)[1]
WEIGHT = np.linspace(-1, 1, 50, dtype=np.float32)


def layer_norm_backward(x: Any, put: Callable[[np.ndarray], Any]) -> Any:
    """Of a channels-last array seen as its memory."""
    rows = x.permute(0, 2, 3, 1) if hasattr(x, "permute") else x.transpose(0, 2, 3, 1)
    y, stats = ops.layer_norm(rows, 12, return_stats=True)
    return ops.layer_norm_backward(y, rows, 12, stats, put(WEIGHT[:12]))[0]


# Of x, (3, 12, 33, 50), and what brings an array to where x is.
CASES: dict[str, Callable[[Any, Callable[[np.ndarray], Any]], Any]] = {
    "reflect": lambda x, put: ops.pad2d(x, ((32, 5), (0, 49)), "reflect"),
    "reflect backward": lambda x, put: ops.pad2d_backward(x, (3, 12, 20, 26), ((6, 7), (12, 12)), "reflect"),
    "replicate": lambda x, put: ops.pad2d(x, 40, "replicate"),
    "replicate backward": lambda x, put: ops.pad2d_backward(x, (3, 12, 3, 6), ((20, 10), (30, 14)), "replicate"),
    "constant": lambda x, put: ops.pad2d(x, ((3, 0), (1, 2)), "constant", 1.5),
    "crop": lambda x, put: ops.center_crop2d(x, (12, 7)),
    "shuffle": lambda x, put: ops.pixel_shuffle(x, 2),
    "unshuffle": lambda x, put: ops.pixel_unshuffle(ops.crop2d(x, ((1, 0), (0, 2))), 4),
    "adaptive max": lambda x, put: ops.adaptive_max_pool2d(x, (14, 60)),
    "adaptive max backward": lambda x, put: ops.adaptive_max_pool2d_backward(x, put(BINS), (3, 12, 40, 70)),
    "adaptive average": lambda x, put: ops.adaptive_avg_pool2d(x, (14, 7)),
    "unpool": lambda x, put: ops.max_unpool2d(ops.max_pool2d(x, 3, 2), put(PLACES), 3, 2, 0, SHAPE[2:]),
    "unpool backward": lambda x, put: ops.max_unpool2d_backward(x, put(PLACES)),
    "l2": lambda x, put: ops.lp_pool2d(x, 2, 3, 2),
    "l3 backward": lambda x, put: ops.lp_pool2d_backward(
        ops.avg_pool2d(x, 3, 2), x, ops.lp_pool2d(x, 3, 3, 2), 3, 3, 2
    ),
    "weighted": lambda x, put: ops.weighted_pool2d(x, ops.gaussian_window(5), 2, 2),
    "maxout": lambda x, put: ops.maxout(x, 4),
    "maxout backward": lambda x, put: ops.maxout_backward(ops.maxout(x, 3), x, 3),
    "softmax": lambda x, put: ops.softmax(x, 2),
    "softmax backward": lambda x, put: ops.softmax_backward(x, ops.softmax(x, 3), 3),
    "layer norm backward": layer_norm_backward,
}


@pytest.mark.parametrize("name", CASES)
def test_like_the_cpu(gpu: Any, rng: np.random.Generator, name: str) -> None:
    x = rng.standard_normal(SHAPE).astype(np.float32)
    expected = CASES[name](x, lambda a: a)
    put = lambda a: gpu.channels_last(a) if a.ndim == 4 else gpu.put(a)  # noqa: E731
    there = gpu.channels_last(x)
    found, again = (gpu.get(CASES[name](there, put)) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _models() -> dict[str, Any]:
    """Those of the emulator's tests."""
    path = Path(__file__).resolve().parents[1] / "cuda" / "test_model_layers.py"
    spec = importlib.util.spec_from_file_location("emulated_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.MODELS)


MODELS = _models()


@pytest.mark.parametrize("name", MODELS)
def test_models(gpu: Any, rng: np.random.Generator, name: str) -> None:
    """Kernel by kernel and captured."""
    if gpu.name != "cupy":
        pytest.skip("models take their memory from CuPy")
    here, there, captured = (MODELS[name]() for _ in range(3))
    for model in (here, there, captured):
        model.compile(optim.SGD(0.05, momentum=0.9))
    there.to("cuda")
    step = captured.to("cuda").capture()
    (shape,) = (node.shape for node in here.graph.inputs)
    for _ in range(4):
        x, y = rng.standard_normal((3, *shape)).astype(np.float32), rng.integers(0, 4, 3)
        found = there.train_on_batch(x, y)["loss"]
        assert found == pytest.approx(here.train_on_batch(x, y)["loss"], rel=1e-4)
        step(x, y)
        assert step.loss == found
    state = captured.state_dict()
    for key, value in there.state_dict().items():
        np.testing.assert_array_equal(state[key], value)
