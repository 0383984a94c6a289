"""Normalisation against NumPy in float64 and central differences, on every instruction set; PyTorch as a witness."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ops
from gradcheck import assert_gradient

SHAPES = [(2, 3, 1, 1), (5, 17, 1, 1), (2, 1, 3, 5), (3, 2, 7, 7), (2, 5, 4, 3), (2, 16, 5, 5), (1, 33, 6, 5),
          (3, 64, 7, 9), (2, 67, 3, 3), (2, 8, 40, 41), (1, 1, 70, 130), (7, 130, 1, 1)]  # fmt: skip


def _axes(groups: int) -> tuple[int, ...]:
    return (0, 2, 3) if groups == 0 else (2, 3, 4)


def _split(x: np.ndarray, groups: int) -> np.ndarray:
    return x if groups == 0 else x.reshape(x.shape[0], groups, -1, *x.shape[2:])


def reference(x: np.ndarray, w: np.ndarray, b: np.ndarray, groups: int, eps: float = 1e-5) -> np.ndarray:
    s = _split(x.astype(np.float64), groups)
    mean, var = s.mean(_axes(groups), keepdims=True), s.var(_axes(groups), keepdims=True)
    y = ((s - mean) / np.sqrt(var + eps)).reshape(x.shape)
    return y * w[:, None, None] + b[:, None, None]


def reference_backward(
    g: np.ndarray, x: np.ndarray, w: np.ndarray, groups: int, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = _axes(groups)
    s = _split(x.astype(np.float64), groups)
    rstd = 1 / np.sqrt(s.var(axes, keepdims=True) + eps)
    xhat = (s - s.mean(axes, keepdims=True)) * rstd
    wg = _split(g * w[:, None, None], groups)
    grad = rstd * (wg - wg.mean(axes, keepdims=True) - xhat * (wg * xhat).mean(axes, keepdims=True))
    return grad.reshape(x.shape), (g * xhat.reshape(x.shape)).sum((0, 2, 3)), g.sum((0, 2, 3))


def lay(x: np.ndarray, layout: str) -> np.ndarray:
    return np.ascontiguousarray(x if layout == "NCHW" else np.moveaxis(x, 1, -1))


def unlay(x: np.ndarray, layout: str) -> np.ndarray:
    return x if layout == "NCHW" else np.moveaxis(x, -1, 1)


def close(got: np.ndarray, wanted: np.ndarray, dtype: np.dtype, factor: float = 40.0) -> None:
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=factor * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(shape: tuple[int, ...], layout: str, dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    w, b = (rng.normal(size=shape[1]).astype(dtype) for _ in range(2))
    mean, var = np.zeros(shape[1], dtype), np.ones(shape[1], dtype)
    y, stats = ops.batch_norm(
        lay(x, layout), mean, var, w, b, True, activation="relu", layout=layout, return_stats=True
    )
    wanted = reference(x, w, b, 0)
    close(unlay(y, layout), np.maximum(wanted, 0), dtype)
    x64 = x.astype(np.float64)
    close(mean, 0.1 * x64.mean((0, 2, 3)), dtype)
    close(var, 0.9 + 0.1 * x64.var((0, 2, 3), ddof=1), dtype)
    masked = g * (unlay(y, layout) > 0)
    grads = ops.batch_norm_backward(lay(g, layout), lay(x, layout), stats, w, b, activation="relu", layout=layout)
    # a channel of two equal-ish values has a huge rstd: the gradient is as large
    scale = 40 + 4 * float(np.max(np.abs(stats[:, 1]))) ** 2
    for got, expected in zip(grads, reference_backward(masked.astype(np.float64), x, w, 0), strict=True):
        close(unlay(got, layout) if got.ndim == 4 else got, expected, dtype, scale * max(1, len(x)))
    inference = ops.batch_norm(lay(x, layout), mean, var, w, b, layout=layout)
    scaled = (x64 - mean[:, None, None]) / np.sqrt(var.astype(np.float64) + 1e-5)[:, None, None]
    close(unlay(inference, layout), scaled * w[:, None, None] + b[:, None, None], dtype)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((2, 6, 5, 3), 3), ((3, 64, 7, 7), 8), ((2, 12, 1, 3), 1), ((1, 130, 3, 3), 13), ((2, 8, 40, 41), 2)],
    ids=str,
)
def test_group_norm(
    shape: tuple[int, ...], groups: int, layout: str, dtype: np.dtype, isa: str, rng: np.random.Generator
) -> None:
    x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    w, b = (rng.normal(size=shape[1]).astype(dtype) for _ in range(2))
    y, stats = ops.group_norm(lay(x, layout), groups, w, b, layout=layout, return_stats=True)
    close(unlay(y, layout), reference(x, w, b, groups), dtype)
    grads = ops.group_norm_backward(lay(g, layout), lay(x, layout), groups, stats, w, layout=layout)
    for got, expected in zip(grads, reference_backward(g.astype(np.float64), x, w, groups), strict=True):
        close(unlay(got, layout) if got.ndim == 4 else got, expected, dtype, 200)
    for sample in range(shape[0]):  # a sample alone gives the same bits
        alone = ops.group_norm(lay(x[sample : sample + 1], layout), groups, w, b, layout=layout)
        np.testing.assert_array_equal(alone[0], y[sample])


@pytest.mark.parametrize("shape", [(4, 10), (3, 1), (33, 768), (2, 3, 4, 5), (5, 131)], ids=str)
def test_layer_norm(shape: tuple[int, ...], dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    inner = shape[1:]
    x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    w, b = (rng.normal(size=inner).astype(dtype) for _ in range(2))
    y, stats = ops.layer_norm(x, inner, w, b, return_stats=True)
    axes = tuple(range(1, len(shape)))
    x64 = x.astype(np.float64)
    rstd = 1 / np.sqrt(x64.var(axes, keepdims=True) + 1e-5)
    xhat = (x64 - x64.mean(axes, keepdims=True)) * rstd
    close(y, xhat * w + b, dtype)
    wg = g.astype(np.float64) * w
    grad = rstd * (wg - wg.mean(axes, keepdims=True) - xhat * (wg * xhat).mean(axes, keepdims=True))
    grads = ops.layer_norm_backward(g, x, inner, stats, w)
    for got, expected in zip(grads, (grad, (g * xhat).sum(0), g.astype(np.float64).sum(0)), strict=True):
        close(got, expected, dtype, 200)
    np.testing.assert_array_equal(ops.layer_norm(x[:1], inner, w, b)[0], y[0])


def lrn_reference(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    padded = np.pad(x.astype(np.float64) ** 2, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    sums = sum(padded[:, t : t + x.shape[1]] for t in range(size))
    return x * (k + alpha / size * sums) ** -beta


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("options", [(5, 1e-4, 0.75, 2.0), (4, 0.5, 0.6, 1.0), (1, 1.0, 0.75, 1.0), (9, 2.0, 1.0, 0.5)])
def test_local_response_norm(
    options: tuple[int, float, float, float], layout: str, dtype: np.dtype, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 7, 5, 15)).astype(dtype)
    close(unlay(ops.local_response_norm(lay(x, layout), *options, layout=layout), layout),
          lrn_reference(x, *options), dtype)  # fmt: skip
    x64, g = rng.normal(size=(2, 5, 2, 2)), rng.normal(size=(2, 5, 2, 2))
    grad = unlay(ops.local_response_norm_backward(lay(g, layout), lay(x64, layout), *options, layout=layout), layout)
    assert_gradient(lambda at: lrn_reference(at, *options), x64, g, grad)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_by_central_differences(activation: str | None, rng: np.random.Generator) -> None:
    x, g = rng.normal(size=(3, 4, 2, 3)), rng.normal(size=(3, 4, 2, 3))
    w, b = rng.normal(size=4), rng.normal(size=4)

    def batch(x: np.ndarray, w: np.ndarray = w, b: np.ndarray = b) -> np.ndarray:
        return ops.batch_norm(x, None, None, w, b, True, activation=activation)

    _, stats = ops.batch_norm(x, None, None, w, b, True, activation=activation, return_stats=True)
    grads = ops.batch_norm_backward(g, x, stats, w, b, activation=activation)
    assert_gradient(batch, x, g, grads[0])
    assert_gradient(lambda w: batch(x, w), w, g, grads[1])
    assert_gradient(lambda b: batch(x, w, b), b, g, grads[2])
    mean, var = rng.normal(size=4), rng.uniform(0.5, 2, 4)
    _, stats = ops.batch_norm(x, mean, var, w, b, activation=activation, return_stats=True)
    grad, *_ = ops.batch_norm_backward(g, x, stats, w, b, False, activation=activation)
    assert_gradient(lambda x: ops.batch_norm(x, mean, var, w, b, activation=activation), x, g, grad)
    _, stats = ops.group_norm(x, 2, w, b, return_stats=True)
    grads = ops.group_norm_backward(g, x, 2, stats, w)
    assert_gradient(lambda x: ops.group_norm(x, 2, w, b), x, g, grads[0])
    assert_gradient(lambda w: ops.group_norm(x, 2, w, b), w, g, grads[1])


@pytest.mark.parametrize("outlier", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_large_mean_does_not_cancel(layout: str, outlier: bool, isa: str, rng: np.random.Generator) -> None:
    """Mean 1e4, deviation 1: float32 values at 1e4 are 1e-3 apart, yet the statistics cost nothing visible.

    An outlier at the very place that a block's sums are taken relative to costs up to 128 roundings of the deviation.
    """
    x = (1e4 + rng.normal(size=(4, 6, 50, 50))).astype(np.float32)
    if outlier:
        x[0, 0, 0, 0] = -1e4
    tolerance = 1e-4 if outlier else 3e-6
    y = unlay(ops.batch_norm(lay(x, layout), None, None, training=True, layout=layout), layout)
    np.testing.assert_allclose(y, reference(x, np.ones(6), np.zeros(6), 0), rtol=tolerance, atol=tolerance)
    y = unlay(ops.group_norm(lay(x, layout), 3, layout=layout), layout)
    np.testing.assert_allclose(y, reference(x, np.ones(6), np.zeros(6), 3), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(5, 6, 37, 41), (3, 64, 30, 31), (2, 300, 9, 9), (600, 257, 1, 1)], ids=str)
def test_bits_do_not_depend_on_threads(shape: tuple[int, ...], layout: str, rng: np.random.Generator) -> None:
    x, g = (lay(rng.normal(size=shape).astype(np.float32), layout) for _ in range(2))
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            y, stats = ops.batch_norm(x, None, None, training=True, layout=layout, return_stats=True)
            results.append([y, stats, *ops.batch_norm_backward(g, x, stats, layout=layout)])
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_streamed_results_are_the_same(rng: np.random.Generator) -> None:
    """The second batch is so large that outputs go past the caches; its first samples get the same bits."""
    x = np.tile(rng.normal(size=(2, 40, 41, 64)).astype(np.float32), (30, 1, 1, 1))
    mean, var = np.zeros(64, np.float32), np.ones(64, np.float32)
    small, large = (ops.batch_norm(part, mean, var, layout="NHWC") for part in (x[:2], x))
    np.testing.assert_array_equal(large[:2], small)
    np.testing.assert_array_equal(large[-2:], small)


def test_values_that_are_not_finite_stay(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    x[0, 1, 2, 2] = np.nan
    y = ops.batch_norm(x, None, None, training=True, activation="relu")
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()
    x[0, 1, 2, 2] = np.inf
    assert np.isnan(ops.batch_norm(x, None, None, training=True)[:, 1]).all()
    x[0, 1] = 1e30 * rng.normal(size=(4, 4))  # squares overflow float32: NaN, never a silent 0
    assert np.isnan(ops.batch_norm(x, None, None, training=True)[:, 1]).all()
    running = np.zeros(3, np.float32), np.ones(3, np.float32)
    x[0, 1, 2, 2] = np.nan
    assert np.isnan(ops.batch_norm(x, *running)).sum() == 1


def test_no_samples(dtype: np.dtype) -> None:
    for shape in ((0, 3, 4, 4), (0, 3)):
        x, mean, var = np.zeros(shape, dtype), np.full(3, 2, dtype), np.full(3, 3, dtype)
        y, stats = ops.batch_norm(x, mean, var, training=True, return_stats=True)
        assert y.shape == shape
        assert (mean == 2).all()
        assert (var == 3).all()
        grads = ops.batch_norm_backward(x, x, stats)
        assert [grad.tolist() for grad in grads[1:]] == [[0] * 3] * 2
        assert ops.group_norm(x, 3).shape == shape
        assert ops.layer_norm(x, shape[1:]).shape == shape
    assert ops.local_response_norm(np.zeros((0, 3, 4, 4), dtype), 5).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.batch_norm(x[:1, :, :1, :1], None, None, training=True), ValueError,
         r"batch_norm: input must have more than one value per channel in training, got shape \(1, 4, 1, 1\)"),
        (lambda x: ops.batch_norm(x, None, None), ValueError, "running_mean and running_var must be given unless"),
        (lambda x: ops.batch_norm(x[0], None, None, training=True), ValueError, r"input must be \(N, F\) or 4-D"),
        (lambda x: ops.batch_norm(x, None, None, x[0, 0, 0], training=True), ValueError,
         r"batch_norm: weight must have shape \(4,\), got \(3,\)"),
        (lambda x: ops.batch_norm(x, None, None, eps=-1, training=True), ValueError, "eps must be finite and at least"),
        (lambda x: ops.batch_norm(x, None, None, momentum="a", training=True), TypeError, "momentum must be a number"),
        (lambda x: ops.group_norm(x, 3), ValueError, "num_groups must divide the 4 channels, got 3"),
        (lambda x: ops.layer_norm(x, (2, 2)), ValueError, r"normalized_shape must be the last sizes of input"),
        (lambda x: ops.local_response_norm(x, 0), ValueError, "size must be positive, got 0"),
        (lambda x: ops.local_response_norm(x.astype(np.int32), 3), TypeError, "must be float32 or float64"),
        (lambda x: ops.batch_norm_backward(x, x, np.zeros((3, 2))), ValueError, r"stats must have shape \(4, 2\)"),
    ],
)  # fmt: skip
def test_refusals(call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(np.zeros((2, 4, 3, 3), np.float32))


@pytest.mark.parametrize("training", [True, False])
def test_torch_agrees(training: bool, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x, g = rng.normal(size=(3, 5, 4, 7)), rng.normal(size=(3, 5, 4, 7))
    w, b, mean, var = rng.normal(size=5), rng.normal(size=5), rng.normal(size=5), rng.uniform(0.5, 2, 5)
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    tmean, tvar = torch.tensor(mean), torch.tensor(var)
    ty = torch.nn.functional.batch_norm(tx, tmean, tvar, tw, tb, training)
    ty.backward(torch.tensor(g))
    y, stats = ops.batch_norm(x, mean, var, w, b, training, return_stats=True)
    grads = ops.batch_norm_backward(g, x, stats, w, b, training)
    pairs = [(y, ty.detach()), (mean, tmean), (var, tvar), *zip(grads, (tx.grad, tw.grad, tb.grad), strict=True)]
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-10, atol=1e-12)
    f = torch.nn.functional
    np.testing.assert_allclose(ops.group_norm(x, 5, w, b), f.group_norm(tx, 5, tw, tb).detach(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ops.layer_norm(x, (4, 7)), f.layer_norm(tx, (4, 7)).detach(), rtol=1e-10, atol=1e-12)
    for size in (1, 4, 5):
        wanted = f.local_response_norm(tx, size, 0.3, 0.75, 2.0).detach()
        np.testing.assert_allclose(ops.local_response_norm(x, size, 0.3, 0.75, 2.0), wanted, rtol=1e-10, atol=1e-12)
