"""fastconv.ops on GPU arrays: same arguments, same values as on the CPU, and layouts that are never guessed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv
from cuda_arrays import GpuArray
from fastconv import ops
from fastconv.cuda import arrays

GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "groups": 2}
LIKE = {"rtol": 1e-5, "atol": 1e-5}


def channels_last(a: np.ndarray) -> np.ndarray:
    """The same values in (N, C, H, W), channels last in memory."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def same(got: GpuArray, expected: np.ndarray) -> None:
    assert isinstance(got, GpuArray)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.array, expected, **LIKE)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 4, 6, 5)).astype(np.float32)


@pytest.fixture
def w(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((6, 2, 3, 2)).astype(np.float32)


def test_conv2d_in_every_layout(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, w: np.ndarray) -> None:
    b = rng.standard_normal(6).astype(np.float32)
    y = ops.conv2d(x, w, b, **GEOMETRY, activation="relu")
    for images in (x, channels_last(x)):
        for weight in (w, channels_last(w)):
            got = ops.conv2d(GpuArray(images), GpuArray(weight), GpuArray(b), **GEOMETRY, activation="relu")
            same(got, y)
            assert arrays.look("op", "y", got).permuted(0, 2, 3, 1).contiguous
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    got = ops.conv2d(GpuArray(nhwc), GpuArray(w), GpuArray(b), **GEOMETRY, activation="relu", layout="NHWC")
    same(got, y.transpose(0, 2, 3, 1))
    for out in (np.full_like(y, np.nan), channels_last(np.full_like(y, np.nan))):
        target = GpuArray(out)
        assert ops.conv2d(GpuArray(x), GpuArray(w), GpuArray(b), **GEOMETRY, activation="relu", out=target) is target
        np.testing.assert_allclose(out, y, **LIKE)
    same(ops.conv2d(GpuArray(x[0]), GpuArray(w), None, **GEOMETRY), ops.conv2d(x[0], w, None, **GEOMETRY))


@pytest.mark.parametrize("turn", [np.array, channels_last], ids=["nchw", "channels-last"])
def test_pooling_into_an_array(emulated: ModuleType, x: np.ndarray, turn: Any) -> None:
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        out = GpuArray(turn(np.full((2, 4, 3, 2), np.nan, np.float32)))
        assert pool(GpuArray(turn(x)), 2, out=out) is out
        np.testing.assert_allclose(out.array, pool(x, 2), **LIKE)


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
@pytest.mark.parametrize("groups", [1, 2, 4], ids=["full", "grouped", "depthwise"])
def test_gradients_of_conv2d(emulated: ModuleType, rng: np.random.Generator, x: Any, groups: int, turn: Any) -> None:
    w = rng.standard_normal((8, 4 // groups, 3, 2)).astype(np.float32)
    options = {**GEOMETRY, "groups": groups}
    gy = rng.standard_normal(ops.conv2d(x, w, **options).shape).astype(np.float32)
    gpu_x, gpu_w, gpu_gy = (GpuArray(turn(a)) for a in (x, w, gy))
    same(ops.conv2d(gpu_x, gpu_w, **options), ops.conv2d(x, w, **options))
    gx = ops.conv2d_backward_input(x.shape, gpu_w, gpu_gy, **options)
    same(gx, ops.conv2d_backward_input(x.shape, w, gy, **options))
    gw = ops.conv2d_backward_weight(gpu_x, w.shape, gpu_gy, **options)
    same(gw, ops.conv2d_backward_weight(x, w.shape, gy, **options))
    same(ops.conv2d_backward_bias(gpu_gy), ops.conv2d_backward_bias(gy))
    kernel = fastconv.explain("conv2d_backward_input", gpu_x, gpu_w, **options).kernel
    assert kernel.startswith("depthwise" if groups == 4 else "conv2d")


def test_linear(emulated: ModuleType, rng: np.random.Generator) -> None:
    x, w, b, gy = (rng.standard_normal(s).astype(np.float32) for s in ((5, 12), (7, 12), (7,), (5, 7)))
    gpu_x, gpu_w, gpu_b, gpu_gy = map(GpuArray, (x, w, b, gy))
    same(ops.linear(gpu_x, gpu_w, gpu_b, activation="relu"), ops.linear(x, w, b, activation="relu"))
    same(ops.linear(GpuArray(x[0]), gpu_w), ops.linear(x[0], w))
    with pytest.raises(ValueError, match=r"linear: weight must have shape \(OUT, IN\) with IN=12, got \(12, 7\)"):
        ops.linear(gpu_x, GpuArray(np.ascontiguousarray(w.T)))
    same(ops.linear_backward_input(gpu_w, gpu_gy), ops.linear_backward_input(w, gy))
    same(ops.linear_backward_weight(gpu_x, gpu_gy), ops.linear_backward_weight(x, gy))
    same(ops.linear_backward_bias(gpu_gy), ops.linear_backward_bias(gy))


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
def test_pooling(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Any) -> None:
    window: dict[str, Any] = {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0)}
    y, places = ops.max_pool2d(x, **window, return_indices=True)
    got, found = ops.max_pool2d(GpuArray(turn(x)), **window, return_indices=True)
    same(got, y)
    np.testing.assert_array_equal(found.array, places)
    gy = rng.standard_normal(y.shape).astype(np.float32)
    gpu_gy = GpuArray(turn(gy))
    gx = ops.max_pool2d_backward(gpu_gy, found, x.shape, **window)
    same(gx, ops.max_pool2d_backward(gy, places, x.shape, **window))
    same(ops.avg_pool2d(GpuArray(turn(x)), **window), ops.avg_pool2d(x, **window))
    same(ops.avg_pool2d_backward(gpu_gy, x.shape, **window), ops.avg_pool2d_backward(gy, x.shape, **window))
    same(ops.global_avg_pool2d(GpuArray(turn(x)[0])), ops.global_avg_pool2d(x[0]))
    same(ops.global_max_pool2d(GpuArray(turn(x))), ops.global_max_pool2d(x))


def test_element_by_element(emulated: ModuleType, x: np.ndarray) -> None:
    same(ops.relu(GpuArray(x)), ops.relu(x))
    same(ops.relu_backward(GpuArray(x), GpuArray(-x)), ops.relu_backward(x, -x))
    same(ops.add(GpuArray(channels_last(x)), GpuArray(channels_last(x))), x + x)
    nhwc = ops.nchw_to_nhwc(x)
    for images in (x, channels_last(x)):
        same(ops.nchw_to_nhwc(GpuArray(images)), nhwc)
    same(ops.nhwc_to_nchw(GpuArray(nhwc)), x)


def test_a_training_step(emulated: ModuleType, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((4, 3)).astype(np.float32), np.array([0, 2, 1, 1])
    loss, grad = ops.cross_entropy_with_grad(logits, labels)
    got, gpu_grad = ops.cross_entropy_with_grad(GpuArray(logits), GpuArray(labels))
    np.testing.assert_allclose(got.array, loss, rtol=1e-6)
    same(gpu_grad, grad)
    same(ops.cross_entropy(GpuArray(logits), GpuArray(labels)), np.float32(loss))
    param, there = logits.copy(), logits.copy()
    ops.sgd_step(param, grad, lr=0.1)
    ops.sgd_step(GpuArray(there), gpu_grad, lr=0.1)
    np.testing.assert_allclose(there, param, rtol=1e-6)


def test_conversions_are_told_and_can_be_refused(emulated: ModuleType, x: np.ndarray, w: np.ndarray) -> None:
    plan = fastconv.explain("conv2d", GpuArray(x), GpuArray(channels_last(w)), **GEOMETRY)
    assert plan.layout_conversions == ["input is NCHW in memory: 1920 bytes are moved to make it channels-last"]
    assert plan.slow_paths == plan.layout_conversions
    assert plan.output_shape == ops.conv2d(x, w, **GEOMETRY).shape
    assert plan.kernel == "conv2d_forward_simt"
    half = fastconv.explain("conv2d", GpuArray(x.astype(np.float16)), GpuArray(w.astype(np.float16)), **GEOMETRY)
    assert half.kernel != plan.kernel
    assert (half.scratch_bytes, half.bytes_moved) == (480 + 144, plan.bytes_moved // 2)
    for of in ("input", "weight"):
        exact = fastconv.explain(f"conv2d_backward_{of}", GpuArray(x), GpuArray(w), **GEOMETRY)
        assert exact.kernel == f"conv2d_backward_{of}_simt"
        there = GpuArray(x.astype(np.float16)), GpuArray(w.astype(np.float16))
        short = fastconv.explain(f"conv2d_backward_{of}", *there, **GEOMETRY)
        assert short.kernel.startswith(f"conv2d_backward_{of}_mma ")
    free = fastconv.explain("conv2d", GpuArray(channels_last(x)), GpuArray(channels_last(w)), **GEOMETRY)
    assert free.layout_conversions == []
    assert fastconv.explain("max_pool2d", GpuArray(x), 2).layout_conversions != []
    assert fastconv.explain("linear", GpuArray(x[0, 0]), GpuArray(w[0, 0, :, :1].repeat(5, 1))).slow_paths == []
    fastconv.config.strict = True
    try:
        with pytest.raises(RuntimeError, match="conv2d: .*strict refuses a slow path: input is NCHW in memory"):
            ops.conv2d(GpuArray(x), GpuArray(channels_last(w)), **GEOMETRY)
        ops.conv2d(GpuArray(channels_last(x)), GpuArray(channels_last(w)), **GEOMETRY)
    finally:
        fastconv.config.strict = False


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
def test_activations(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Any) -> None:
    """Any order in memory, kept; softmax over what lies side by side and over what does not."""
    gy = rng.standard_normal(x.shape).astype(np.float32)
    for name in ("leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "softplus"):
        function, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
        y = function(x)
        same(function(GpuArray(turn(x))), y)
        saved = x if name in ("silu", "gelu", "softplus") else y
        same(backward(GpuArray(turn(gy)), GpuArray(turn(saved))), backward(gy, saved))
    out = GpuArray(turn(np.zeros_like(x)))
    assert ops.leaky_relu(GpuArray(turn(x)), 0.3, out=out) is out
    np.testing.assert_allclose(out.array, ops.leaky_relu(x, 0.3), **LIKE)
    for axis in (1, -1):
        y = ops.softmax(x, axis)
        same(ops.softmax(GpuArray(turn(x)), axis), y)
        same(ops.softmax_backward(GpuArray(turn(gy)), GpuArray(turn(y)), axis), ops.softmax_backward(gy, y, axis))
    same(ops.softmax(GpuArray(x[0, 0])), ops.softmax(x[0, 0]))


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Any, training: bool) -> None:
    gy = rng.standard_normal(x.shape).astype(np.float32)
    w, b, mean, var = (rng.random(4, dtype=np.float32) + 0.5 for _ in range(4))
    there = [GpuArray(a.copy()) for a in (mean, var, w, b)]
    options: dict[str, Any] = {"training": training, "activation": "relu"}
    y, stats = ops.batch_norm(x, mean, var, w, b, **options, return_stats=True)
    got, found = ops.batch_norm(GpuArray(turn(x)), *there, **options, return_stats=True)
    same(got, y)
    same(found, stats)
    np.testing.assert_allclose(there[0].array, mean, **LIKE)
    np.testing.assert_allclose(there[1].array, var, **LIKE)
    expected = ops.batch_norm_backward(gy, x, stats, w, b, **options)
    for grad, truth in zip(
        ops.batch_norm_backward(GpuArray(turn(gy)), GpuArray(turn(x)), found, *there[2:], **options), expected,
        strict=True,
    ):  # fmt: skip
        same(grad, truth)
    rows = x[:, :, 0, 0]
    same(ops.batch_norm(GpuArray(rows.copy()), *there, training=False), ops.batch_norm(rows, mean, var, w, b))
    with pytest.raises(ValueError, match="batch_norm: running_mean and running_var must be given on a GPU"):
        ops.batch_norm(GpuArray(x), None, None, training=True)


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
def test_transposed_convolution(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Any) -> None:
    w, b = rng.standard_normal((4, 3, 3, 2)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": 2}
    for bias, activation in ((None, None), (None, "relu"), (b, None), (b, "relu")):
        y = ops.conv_transpose2d(x, w, bias, **options, activation=activation)
        there = None if bias is None else GpuArray(bias)
        got = ops.conv_transpose2d(GpuArray(turn(x)), GpuArray(turn(w)), there, **options, activation=activation)
        same(got, y)
    out = GpuArray(turn(np.zeros_like(y)))
    assert ops.conv_transpose2d(GpuArray(turn(x)), GpuArray(w), there, **options, activation="relu", out=out) is out
    np.testing.assert_allclose(out.array, y, **LIKE)


@pytest.mark.parametrize("turn", [lambda a: a, channels_last], ids=["nchw", "channels-last"])
def test_upsampling(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Any) -> None:
    for options in ({"scale_factor": 2}, {"size": (5, 9), "mode": "bilinear"}):
        y = ops.upsample(x, **options)
        for _ in range(2):  # the second time with tables that are there
            same(ops.upsample(GpuArray(turn(x)), **options), y)
        gy = rng.standard_normal(y.shape).astype(np.float32)
        got = ops.upsample_backward(GpuArray(turn(gy)), x.shape, **options)
        same(got, ops.upsample_backward(gy, x.shape, **options))
    out = GpuArray(turn(np.zeros_like(y)))
    assert ops.upsample(GpuArray(turn(x)), **options, out=out) is out
    np.testing.assert_allclose(out.array, y, **LIKE)
    same(ops.upsample(GpuArray(turn(x)[0]), **options), y[0])


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits"])
def test_losses_of_pairs(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, name: str) -> None:
    target = rng.random(x.shape, dtype=np.float32)
    for reduction in ("mean", "sum"):
        loss, grad = getattr(ops, f"{name}_with_grad")(x, target, reduction=reduction)
        there = GpuArray(channels_last(x)), GpuArray(channels_last(target))
        got, gpu_grad = getattr(ops, f"{name}_with_grad")(*there, reduction=reduction)
        np.testing.assert_allclose(got.array, loss, rtol=1e-5)
        same(gpu_grad, grad)
        np.testing.assert_allclose(getattr(ops, name)(*there, reduction=reduction).array, loss, rtol=1e-5)
    with pytest.raises(ValueError, match="reduction"):
        getattr(ops, name)(*there, reduction="none")


def test_precision_and_short_floats(emulated: ModuleType, x: np.ndarray, w: np.ndarray) -> None:
    """Passed on by `fastconv.ops`, in all passes, from planes and to planes."""
    for precision, tolerance in ((None, 1e-6), ("ieee", 1e-6), ("tf32x3", 4e-6), ("tf32", 2e-3)):
        y = ops.conv2d(x, w, **GEOMETRY)
        got = ops.conv2d(GpuArray(x), GpuArray(w), **GEOMETRY, precision=precision)
        np.testing.assert_allclose(got.array, y, rtol=0, atol=tolerance * np.abs(y).max())
        gx = ops.conv2d_backward_input(x.shape, w, y, **GEOMETRY)
        got = ops.conv2d_backward_input(x.shape, GpuArray(w), GpuArray(y), **GEOMETRY, precision=precision)
        np.testing.assert_allclose(got.array, gx, rtol=0, atol=tolerance * np.abs(gx).max())
        gw = ops.conv2d_backward_weight(x, w.shape, y, **GEOMETRY)
        got = ops.conv2d_backward_weight(GpuArray(x), w.shape, GpuArray(y), **GEOMETRY, precision=precision)
        np.testing.assert_allclose(got.array, gw, rtol=0, atol=tolerance * np.abs(gw).max())
    short = [GpuArray(a.astype(np.float16)) for a in (x, w)]
    out = GpuArray(np.zeros(y.shape, np.float16))
    assert ops.conv2d(*short, **GEOMETRY, out=out) is out
    np.testing.assert_allclose(out.array, y, rtol=0, atol=4e-3 * np.abs(y).max())
    half_y = GpuArray(y.astype(np.float16))
    wide = GpuArray(np.zeros(w.shape, np.float32))
    ops.conv2d_backward_weight(short[0], w.shape, half_y, **GEOMETRY, out=wide)
    for got, truth in (
        (ops.conv2d_backward_input(x.shape, short[1], half_y, **GEOMETRY), gx),
        (ops.conv2d_backward_weight(short[0], w.shape, half_y, **GEOMETRY), gw),
        (wide, gw),
    ):
        np.testing.assert_allclose(got.array, truth, rtol=0, atol=4e-3 * np.abs(truth).max())
    for wrong in ("tf32", "half"):
        with pytest.raises(ValueError, match="conv2d: precision must be None or 'ieee' for NumPy arrays"):
            ops.conv2d(x, w, **GEOMETRY, precision=wrong)
        with pytest.raises(ValueError, match="conv2d_backward_input: precision must be None or 'ieee'"):
            ops.conv2d_backward_input(x.shape, w, y, **GEOMETRY, precision=wrong)
        with pytest.raises(ValueError, match="conv2d_backward_weight: precision must be None or 'ieee'"):
            ops.conv2d_backward_weight(x, w.shape, y, **GEOMETRY, precision=wrong)
    with pytest.raises(TypeError, match="conv2d: precision must be a str or None, got 3"):
        ops.conv2d(x, w, **GEOMETRY, precision=3)  # type: ignore[arg-type]
    ops.conv2d(x, w, **GEOMETRY, precision="ieee")


def test_refused(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, x: np.ndarray, w: np.ndarray) -> None:
    gpu_x, gpu_w = GpuArray(x), GpuArray(w)
    with pytest.raises(ValueError, match="conv2d: input must be channels-last or C-contiguous in memory, got strides"):
        ops.conv2d(GpuArray(x.transpose(0, 1, 3, 2)), gpu_w)
    with pytest.raises(ValueError, match="conv2d: algo must be 'auto' or 'direct' for arrays on a GPU"):
        ops.conv2d(gpu_x, gpu_w, algo="winograd")
    with pytest.raises(ValueError, match="conv2d: input must have 4 dimensions, or 3"):
        ops.conv2d(GpuArray(x[0, 0]), gpu_w)
    with pytest.raises(ValueError, match="all arrays must lie on one device"):
        ops.conv2d(gpu_x, GpuArray(w, device=1), groups=2)
    with pytest.raises(TypeError, match="conv2d: weight is an array on a GPU and this call runs on the CPU"):
        ops.conv2d(x, gpu_w, groups=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"conv2d: out must have shape \(2, 6, 4, 4\)"):
        ops.conv2d(gpu_x, gpu_w, groups=2, out=GpuArray(np.empty((2, 4, 4, 5), np.float32)))
    from fastconv.cuda import native

    monkeypatch.setattr(native, "emulated", lambda: False)
    with pytest.raises(TypeError, match="conv2d: weight must be an array on a GPU, got numpy.ndarray .* host memory"):
        ops.conv2d(gpu_x, w)
