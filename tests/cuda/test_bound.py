"""The calls that layers make on a GPU, against the same calls of `_core` in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fake_cupy
from fastconv import _core
from fastconv.cuda.device import CudaDevice
from fastconv.ops.pointwise import FUNCTIONS, READ_INPUT
from fastconv.ops.upsample import Resize


@pytest.fixture
def device(cupy: fake_cupy.Counts) -> Iterator[CudaDevice]:
    found = CudaDevice("test", None)
    with found.active():
        yield found


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def wide(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value


def compare(device: CudaDevice, name: str, *given: Any, written: tuple[int, ...], tolerance: float = 2e-6,
            **options: Any) -> list[np.ndarray]:  # fmt: skip
    """Run on the CPU in float64 and twice on the device; `written`: which arguments come out, first as NaN there."""
    here = [wide(value) for value in given]
    getattr(_core, name)(*here, **{key: wide(value) for key, value in options.items()}, **nhwc(name))
    found: list[list[np.ndarray]] = []
    for _ in range(2):
        there = [device.constant(value) if isinstance(value, np.ndarray) else value for value in given]
        options_there = {k: device.constant(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        getattr(device.bind, name)(*there, **options_there, **nhwc(name))()
        found.append([device.host(there[place]) for place in written])
        found[-1] += [device.host(v) for k, v in options_there.items() if isinstance(options[k], np.ndarray)]
    truth = [here[place] for place in written]
    for first, second, expected in zip(*found, truth, strict=False):
        np.testing.assert_array_equal(first, second)
        scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
        np.testing.assert_allclose(first, expected, rtol=0, atol=tolerance * scale)
    return found[0]


def nhwc(name: str) -> dict[str, str]:
    return {"layout": "NHWC"} if name.split("_")[0] in ("norm", "conv", "resample2d") else {}


def empty(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.full(shape, np.nan, dtype)


NORMS = [(3, 5, 7, 8), (2, 4, 3, 5), (1, 1, 5, 1), (2, 60, 50, 4), (897, 128), (7, 3)]  # 897: a short slice of eight


@pytest.mark.parametrize("shape", NORMS, ids=str)
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_batch_norm_in_training(device: CudaDevice, rng: np.random.Generator, shape: Any, activation: str) -> None:
    channels = shape[-1]
    x = normal(rng, *shape) * 0.5 + 30  # a mean that is large beside the spread
    w, b, mean, var = (normal(rng, channels) for _ in range(4))
    options = {"training": True, "momentum": 0.1, "eps": 1e-5, "activation": activation}
    stats = empty(channels, 2, dtype=np.float64)
    running = {"running_mean": mean.copy(), "running_var": var.copy()}
    _, got, moved_mean, moved_var = compare(
        device, "norm_forward", x, w, b, empty(*shape), stats, written=(3, 4), tolerance=3e-5, **options, **running
    )
    values = x.reshape(-1, channels).astype(np.float64)
    np.testing.assert_allclose(got[:, 0], values.mean(0), rtol=1e-7)
    np.testing.assert_allclose(got[:, 1], 1 / np.sqrt(values.var(0) + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(moved_mean, 0.9 * mean + 0.1 * values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moved_var, 0.9 * var + 0.1 * values.var(0, ddof=1), rtol=1e-5, atol=1e-6)

    x = normal(rng, *shape)
    _core.norm_forward(x, w, b, np.empty_like(x), stats, **running, **options, layout="NHWC")
    gy = normal(rng, *shape)
    del options["momentum"], options["eps"]
    for accumulate, grads in ((False, (empty(channels), empty(channels))), (True, (w.copy(), b.copy()))):
        compare(
            device, "norm_backward", gy, x, stats, w, b, empty(*shape), *grads, written=(5, 6, 7), tolerance=1e-5,
            accumulate=accumulate, **options,
        )  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_of_running_statistics(device: CudaDevice, rng: np.random.Generator, affine: bool) -> None:
    x, gy = normal(rng, 2, 3, 5, 6), normal(rng, 2, 3, 5, 6)
    w, b = (normal(rng, 6), normal(rng, 6)) if affine else (None, None)
    mean, var, stats = normal(rng, 6), np.abs(normal(rng, 6)), empty(6, 2, dtype=np.float64)
    options = {"training": False, "activation": "relu"}
    compare(
        device, "norm_forward", x, w, b, empty(2, 3, 5, 6), stats, written=(3, 4), momentum=0.1, eps=1e-5,
        running_mean=mean, running_var=var, **options,
    )  # fmt: skip
    stats = np.stack([mean, 1 / np.sqrt(var + 1e-5)], axis=1).astype(np.float64)
    grads = (empty(6), empty(6)) if affine else (None, None)
    written = (5, 6, 7) if affine else (5,)
    compare(
        device, "norm_backward", gy, x, stats, w, b, empty(2, 3, 5, 6), *grads, written=written, accumulate=False,
        **options,
    )  # fmt: skip


def test_batch_norm_of_no_samples(device: CudaDevice) -> None:
    stats, x = device.constant(np.zeros((4, 2))), device.constant(np.empty((0, 3, 3, 4), np.float32))
    running = [device.constant(np.ones(4, np.float32)) for _ in range(2)]
    options = {"activation": "none", "running_mean": running[0], "running_var": running[1]}
    device.bind.norm_forward(x, None, None, x, stats, training=True, momentum=0.1, eps=1e-5, **options)()
    np.testing.assert_array_equal(device.host(running[0]), 1)
    grads = [device.constant(np.full(4, 7, np.float32)) for _ in range(2)]
    device.bind.norm_backward(x, x, stats, None, None, x, *grads, training=True, activation="none", accumulate=False)()
    np.testing.assert_array_equal(device.host(grads[0]), 0)


PARAMETERS = {"leaky_relu": (0.2, 0.0), "elu": (1.5, 0.0), "softplus": (2.0, 3.0)}


@pytest.mark.parametrize("function", [*FUNCTIONS, "gelu_tanh"])
@pytest.mark.parametrize("count", [1, 1027])
def test_activations(device: CudaDevice, rng: np.random.Generator, function: str, count: int) -> None:
    x, gy = 4 * normal(rng, count), normal(rng, count)
    x[: min(count, 2)] = 0
    a, b = PARAMETERS.get(function, (0.0, 0.0))
    (y,) = compare(device, "activation_forward", function, x, empty(count), written=(2,), a=a, b=b)
    saved = x if function in READ_INPUT else y
    compare(device, "activation_backward", function, gy, saved, empty(count), written=(3,), a=a, b=b)


@pytest.mark.parametrize("function", [*FUNCTIONS, "gelu_tanh"])
def test_activations_of_the_extreme(device: CudaDevice, function: str) -> None:
    """Inf and NaN come out as on the CPU, and so do numbers beyond which a function is flat."""
    x = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 90, -90, -0.0], np.float32)
    a, b = PARAMETERS.get(function, (0.0, 0.0))
    expected, there = np.empty(8), device.constant(x)
    _core.activation_forward(function, wide(x), expected, a=a, b=b)
    out = device.constant(np.zeros(8, np.float32))
    device.bind.activation_forward(function, there, out, a=a, b=b)()
    np.testing.assert_allclose(device.host(out), expected.astype(np.float32), rtol=1e-6, atol=1e-30)
    saved = device.host(there if function in READ_INPUT else out)
    _core.activation_backward(function, np.ones(8), wide(saved), expected, a=a, b=b)
    ones, kept = device.constant(np.ones(8, np.float32)), device.constant(saved)
    device.bind.activation_backward(function, ones, kept, out, a=a, b=b)()
    np.testing.assert_allclose(device.host(out), expected.astype(np.float32), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("shape", [(5, 10), (3, 1), (9, 100)], ids=str)
def test_softmax(device: CudaDevice, rng: np.random.Generator, shape: tuple[int, int]) -> None:
    (y,) = compare(device, "softmax_forward", 30 * normal(rng, *shape), empty(*shape), written=(1,))
    compare(device, "softmax_backward", normal(rng, *shape), y, empty(*shape), written=(2,))


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber", "binary_logits", "binary"])
@pytest.mark.parametrize("count", [0, 1, 300_001])
def test_losses_of_pairs(device: CudaDevice, rng: np.random.Generator, kind: str, count: int) -> None:
    x, t = (rng.random(count, dtype=np.float32) if kind == "binary" else 3 * normal(rng, count) for _ in range(2))
    t = rng.random(count, dtype=np.float32) if kind == "binary_logits" else t
    x[:1], t[:1] = 1, (1 if kind == "binary" else 0)
    expected_grad = np.empty(count)
    expected = _core.pair_loss(kind, wide(x), wide(t), expected_grad, 0.5, 0.7)  # type: ignore[arg-type]
    given = [device.constant(a) for a in (x, t)]
    results = []
    for _ in range(2):
        grad, loss = device.constant(empty(count)), device.constant(empty(1))
        device.bind.pair_loss(kind, *given, grad, loss, delta=0.7, grad_scale=0.5, loss_scale=0.25)()
        results.append((device.host(loss), device.host(grad)))
    (found, found_grad), (again, _) = results
    np.testing.assert_array_equal(found, again)
    np.testing.assert_allclose(found[0], expected / 4, rtol=1e-6)
    np.testing.assert_allclose(found_grad, expected_grad, rtol=2e-6, atol=1e-6)


def test_bias_and_scale(device: CudaDevice, rng: np.random.Generator) -> None:
    x, b = normal(rng, 5, 7), normal(rng, 7)
    out, there = device.constant(empty(5, 7)), device.constant(x)
    bias = device.constant(b)
    device.bind.add_bias(there, bias, out)()
    np.testing.assert_array_equal(device.host(out), x + b)
    device.bind.add_bias(there, bias, out, "relu")()
    np.testing.assert_array_equal(device.host(out), np.maximum(x + b, 0))
    device.bind.scale(there, 0.25)()
    np.testing.assert_array_equal(device.host(there), x / 4)


@pytest.mark.parametrize("channels", [4, 3])
@pytest.mark.parametrize(
    "resize",
    [
        {"scale_factor": 2},
        {"size": (3, 9)},
        {"scale_factor": 2, "mode": "bilinear"},
        {"size": (11, 4), "mode": "bilinear", "align_corners": True},
        {"size": (1, 1), "mode": "bilinear"},
    ],
    ids=str,
)
def test_resampling(device: CudaDevice, rng: np.random.Generator, resize: dict[str, Any], channels: int) -> None:
    options = {"size": None, "scale_factor": None, "mode": "nearest", "align_corners": False, **resize}
    judged = Resize("test", *options.values())
    shape = judged.geometry((2, channels, 5, 6))
    n, c, h, w = shape.output_shape
    x, gy = normal(rng, 2, 5, 6, channels), normal(rng, n, h, w, c)
    for name, source, size in (("forward", x, gy.shape), ("backward", gy, x.shape)):
        expected, out, there = np.empty(size), device.constant(empty(*size)), device.constant(source)
        getattr(_core, f"resample2d_{name}")(shape, wide(source), expected, layout="NHWC")
        getattr(device.bind, f"resample2d_{name}")(judged.arguments(shape), there, out)()
        np.testing.assert_allclose(device.host(out), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [8, 5])
def test_copies_of_parts(device: CudaDevice, rng: np.random.Generator, channels: int) -> None:
    x, border = normal(rng, 3, 4, 5, channels), normal(rng, 3, 7, 9, channels + 4)
    there, large = device.constant(x), device.constant(border)
    part = (slice(None), slice(2, 6), slice(3, 8), slice(4, None))
    device.bind.copy(large[part], there)()
    border[part] = x
    np.testing.assert_array_equal(device.host(large), border)
    back = device.constant(empty(3, 4, 5, channels))
    device.bind.copy(back, large[part])()
    np.testing.assert_array_equal(device.host(back), x)
    rows, wide_rows = device.constant(empty(6, 5)), device.constant(normal(rng, 6, 9))
    device.bind.copy(rows, wide_rows[..., 3:8])()
    np.testing.assert_array_equal(device.host(rows), device.host(wide_rows)[:, 3:8])


def test_dropout_of_channels(device: CudaDevice) -> None:
    x = np.ones((20, 3, 2, 6), np.float32)
    out, again = (device.constant(empty(*x.shape)) for _ in range(2))
    there = device.constant(x)
    device.begin_step(None, np.random.default_rng(3))
    device.bind.dropout2d(there, out, 0.25, 1)()
    device.bind.dropout2d(there, again, 0.25, 1)()
    found = device.host(out)
    np.testing.assert_array_equal(found, device.host(again))
    planes = found[:, 0, 0]
    np.testing.assert_array_equal(found, np.broadcast_to(planes[:, None, None], x.shape))
    np.testing.assert_allclose(np.unique(planes), [0, 4 / 3], rtol=1e-6)
    assert 0.15 < (planes == 0).mean() < 0.35
    device.bind.dropout2d(there, again, 0.25, 2)()
    assert not np.array_equal(device.host(again), found)


@pytest.mark.parametrize(("shape", "groups"), [((3, 5, 7, 8), 4), ((2, 3, 2, 6), 3), ((2, 40, 30, 4), 1), ((5, 12), 6)])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_group_norm(device: CudaDevice, rng: np.random.Generator, shape: Any, groups: int, activation: str) -> None:
    channels = shape[-1]
    x, w, b = normal(rng, *shape) + 3, normal(rng, channels), normal(rng, channels)
    stats, options = empty(shape[0] * groups, 2, dtype=np.float64), {"groups": groups, "activation": activation}
    compare(device, "norm_forward", x, w, b, empty(*shape), stats, written=(3, 4), tolerance=1e-5, eps=1e-5, **options)
    x, gy = normal(rng, *shape), normal(rng, *shape)
    _core.norm_forward(x, w, b, np.empty_like(x), stats, eps=1e-5, **options, layout="NHWC")
    for accumulate, grads in ((False, (empty(channels), empty(channels))), (True, (w.copy(), b.copy()))):
        compare(
            device, "norm_backward", gy, x, stats, w, b, empty(*shape), *grads, written=(5, 6, 7), tolerance=1e-5,
            accumulate=accumulate, **options,
        )  # fmt: skip
    compare(
        device, "norm_backward", gy, x, stats, None, None, empty(*shape), None, None, written=(5,), tolerance=1e-5,
        accumulate=False, groups=groups, activation="none",
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 4, 5, 30])
def test_local_response_norm(device: CudaDevice, rng: np.random.Generator, size: int) -> None:
    x, gy = 3 * normal(rng, 2, 3, 4, 11), normal(rng, 2, 3, 4, 11)
    options: dict[str, Any] = {"size": size, "alpha": 0.3, "beta": 0.75, "k": 2.0}
    for grad in (None, gy):
        expected, out = np.empty(x.shape), device.constant(empty(*x.shape))
        _core.local_response_norm(wide(x), wide(grad), expected, **options, layout="NHWC")
        arrays = [device.constant(a) if a is not None else None for a in (x, grad)]
        device.bind.local_response_norm(*arrays, out, **options)()
        np.testing.assert_allclose(device.host(out), expected, rtol=1e-5, atol=1e-6)


def test_combinations_of_images_and_channels(device: CudaDevice, rng: np.random.Generator) -> None:
    x, same, values = normal(rng, 3, 4, 5, 6), normal(rng, 3, 4, 5, 6), normal(rng, 3, 1, 1, 6)
    arrays = [device.constant(a) for a in (x, same, values)]
    out = device.constant(empty(*x.shape))
    for other, there in ((same, arrays[1]), (values, arrays[2])):
        device.bind.multiply(arrays[0], there, out)()
        np.testing.assert_array_equal(device.host(out), x * other)
        device.bind.add_spread(arrays[0], there, out)()
        np.testing.assert_array_equal(device.host(out), x + other)
