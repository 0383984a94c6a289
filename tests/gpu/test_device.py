"""On a real GPU: what the emulator showed, streams, capture in graphs, and a device that stays usable after errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import CASES, relative_error, to_nchw, to_nhwc
from fastconv import cuda, ops

pytestmark = pytest.mark.gpu

IEEE = 2e-6


def arrays(geometry: Geometry, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(
        rng.standard_normal(shape).astype(np.float32)
        for shape in (geometry.input_shape, geometry.weight_shape, (geometry.outputs,))
    )


def truth(geometry: Geometry, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return reference.conv2d(x, w, b, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_convolution(gpu: Any, geometry: Geometry, rng: np.random.Generator) -> None:
    """Against float64, into poisoned memory, twice with the same bits."""
    x, w, b = arrays(geometry, rng)
    expected = truth(geometry, x, w, b)
    gpu_x, gpu_w, gpu_b = gpu.put(to_nhwc(x)), gpu.put(to_nhwc(w)), gpu.put(b)
    outs = [gpu.poisoned(to_nhwc(expected).shape) for _ in range(2)]
    for out in outs:
        cuda.conv2d(gpu_x, gpu_w, gpu_b, **geometry.options, out=out)
    first, second = map(gpu.get, outs)
    assert relative_error(to_nchw(first), expected) < IEEE
    assert first.tobytes() == second.tobytes()
    assert (
        relative_error(
            gpu.get(ops.conv2d(gpu.channels_last(x), gpu.channels_last(w), gpu_b, **geometry.options)), expected
        )
        < IEEE
    )


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_gradients(gpu: Any, geometry: Geometry, rng: np.random.Generator) -> None:
    x, w, b = arrays(geometry, rng)
    gy = rng.standard_normal(truth(geometry, x, w, b).shape).astype(np.float32)
    wide_x, wide_w, wide_gy = (a.astype(np.float64) for a in (x, w, gy))
    gpu_x, gpu_w, gpu_gy = (gpu.channels_last(a) for a in (x, w, gy))
    for _ in range(2):
        gx = gpu.get(ops.conv2d_backward_input(x.shape, gpu_w, gpu_gy, **geometry.options))
        assert relative_error(gx, ops.conv2d_backward_input(x.shape, wide_w, wide_gy, **geometry.options)) < IEEE
        gw = gpu.get(ops.conv2d_backward_weight(gpu_x, w.shape, gpu_gy, **geometry.options))
        assert relative_error(gw, ops.conv2d_backward_weight(wide_x, w.shape, wide_gy, **geometry.options)) < IEEE
        assert relative_error(gpu.get(ops.conv2d_backward_bias(gpu_gy)), ops.conv2d_backward_bias(wide_gy)) < IEEE


@pytest.mark.parametrize("window", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=str)
def test_pooling(gpu: Any, rng: np.random.Generator, window: dict[str, Any]) -> None:
    x = rng.standard_normal((3, 8, 9, 11)).astype(np.float32)
    y, places = ops.max_pool2d(x, **window, return_indices=True)
    got, found = ops.max_pool2d(gpu.channels_last(x), **window, return_indices=True)
    np.testing.assert_array_equal(gpu.get(got), y)
    np.testing.assert_array_equal(gpu.get(found), places)
    gx = ops.max_pool2d_backward(got, found, x.shape, **window)
    np.testing.assert_allclose(gpu.get(gx), ops.max_pool2d_backward(y, places, x.shape, **window), rtol=1e-6)
    mean = ops.avg_pool2d(gpu.channels_last(x), **window)
    np.testing.assert_allclose(gpu.get(mean), ops.avg_pool2d(x, **window), rtol=1e-5, atol=1e-6)


def test_training_kernels(gpu: Any, rng: np.random.Generator) -> None:
    logits, labels = (9 * rng.standard_normal((77, 100))).astype(np.float32), rng.integers(0, 100, 77)
    loss, grad = ops.cross_entropy_with_grad(logits.astype(np.float64), labels)
    got, gpu_grad = ops.cross_entropy_with_grad(gpu.put(logits), gpu.put(labels))
    np.testing.assert_allclose(float(got), loss, rtol=1e-6)
    np.testing.assert_allclose(gpu.get(gpu_grad), grad, rtol=1e-5, atol=1e-8)

    here = {name: rng.standard_normal(2053).astype(np.float32) for name in ("param", "grad")}
    here |= {name: np.zeros(2053, np.float32) for name in ("exp_avg", "exp_avg_sq")}
    there = {name: gpu.put(a) for name, a in here.items()}
    for step in range(1, 4):
        ops.adam_step(**here, step=step, lr=0.01, weight_decay=0.1, decoupled=True)
        ops.adam_step(**there, step=step, lr=0.01, weight_decay=0.1, decoupled=True)
    np.testing.assert_allclose(gpu.get(there["param"]), here["param"], rtol=1e-5, atol=1e-6)


def test_on_a_stream_of_the_library(gpu: Any, rng: np.random.Generator) -> None:
    """Launched where the library's work is: behind what made the input, before what reads the output."""
    x = rng.standard_normal((64, 56, 56, 64)).astype(np.float32)
    stream = gpu.module.cuda.Stream() if gpu.name == "torch" else gpu.module.cuda.Stream(non_blocking=True)
    on = gpu.module.cuda.stream(stream) if gpu.name == "torch" else stream
    source = gpu.put(x)
    gpu.wait()
    with on:
        y = source
        for _ in range(20):
            y = cuda.relu(cuda.add(y, source))
        result = y + 1
        host = gpu.get(result)
    expected = x
    for _ in range(20):
        expected = np.maximum(expected + x, 0)
    np.testing.assert_allclose(host, expected + 1, rtol=1e-5)


class Step:
    """Logits, loss, and a step of Adam on the weight; all its memory is its own."""

    def __init__(self, gpu: Any, rng: np.random.Generator) -> None:
        self.x, self.w = (gpu.put(rng.standard_normal(shape).astype(np.float32)) for shape in ((32, 48), (10, 48)))
        self.labels, self.direction = gpu.put(rng.integers(0, 10, 32)), gpu.put(np.ones((10, 48), np.float32))
        self.logits, self.grad = gpu.poisoned((32, 10)), gpu.poisoned((32, 10))
        self.loss, self.work, self.factors = gpu.poisoned(()), gpu.poisoned((33,)), gpu.poisoned((3,))
        self.state = [gpu.put(np.zeros((10, 48), np.float32)) for _ in range(2)]
        self.counter, self.rate = gpu.put(np.zeros(1, np.int64)), gpu.put(np.full(1, 0.1, np.float32))

    def __call__(self) -> None:
        ops.linear(self.x, self.w, out=self.logits)
        cuda.cross_entropy(self.logits, self.labels, grad=self.grad, out=self.loss, workspace=self.work)
        cuda.adam_factors(self.counter, self.factors, lr=self.rate)
        cuda.adam_step(self.w, self.direction, *self.state, factors=self.factors)


def test_a_step_in_a_graph(gpu: Any) -> None:
    """Captured once and replayed, it does what it does without: step count and rate lie on the device."""
    if gpu.name != "torch":
        pytest.skip("captured through PyTorch")
    torch = gpu.module
    eager, captured = (Step(gpu, np.random.default_rng(1)) for _ in range(2))
    for _ in range(4):
        eager()
    captured()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured()
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    assert int(captured.counter) == 4
    for name in ("w", "loss", "grad"):
        np.testing.assert_array_equal(gpu.get(getattr(captured, name)), gpu.get(getattr(eager, name)))


def test_the_device_is_usable_after_errors(gpu: Any) -> None:
    x = gpu.put(np.ones(8, np.float32))
    with pytest.raises(TypeError, match="host memory"):
        cuda.add(x, np.ones(8, np.float32))
    with pytest.raises(ValueError, match="shape"):
        cuda.add(x, gpu.put(np.ones(9, np.float32)))
    too_large = (1 << 42,)
    with pytest.raises(Exception, match="(?i)memory|size"):
        gpu.module.empty(too_large, dtype=gpu.module.float32, **({"device": "cuda"} if gpu.name == "torch" else {}))
    np.testing.assert_array_equal(gpu.get(cuda.add(x, x)), np.full(8, 2, np.float32))
