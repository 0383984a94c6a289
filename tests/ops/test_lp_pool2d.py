"""Lp pooling, weighted pooling and sinusoidal embedding: against their formulas, differences and torch."""

from __future__ import annotations

import numpy as np
import pytest

from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import ops
from gradcheck import assert_gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("p", [1, 2, 3, 1.5])
@pytest.mark.parametrize("options", [(2,), ((3, 2), (2, 1)), (3, 2, True, 1)], ids=str)
def test_lp_pool(options: tuple[object, ...], p: float, layout: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 6, 7))
    x[0, 0, :3, :3] = 0  # windows of zeros have a gradient of zero
    moved = to_layout(x, layout).astype(dtype)
    y = ops.lp_pool2d(moved, p, *options, layout=layout)
    window, stride, ceil, pad = (*options, *(None, False, 0)[len(options) - 1 :])
    sums = ops.avg_pool2d(abs(from_layout(moved, layout).astype(np.float64)) ** p, window, stride, pad, ceil,
                          divisor_override=1)  # fmt: skip
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(from_layout(y, layout), sums ** (1 / p), rtol=tolerance, atol=tolerance)
    if dtype == np.float32:
        return
    grad = rng.normal(size=y.shape)
    found = ops.lp_pool2d_backward(grad, moved, y, p, *options, layout=layout)
    assert np.isfinite(found).all()
    assert not from_layout(found, layout)[0, 0, :2, :2].any()
    x[0, 0, :3, :3] = rng.uniform(0.5, 1, (3, 3))  # differences see the kink at zero
    moved = to_layout(np.where(abs(x) < 0.05, 0.05, x), layout)
    y = ops.lp_pool2d(moved, p, *options, layout=layout)
    found = ops.lp_pool2d_backward(grad, moved, y, p, *options, layout=layout)
    assert_gradient(lambda v: ops.lp_pool2d(v, p, *options, layout=layout), moved, grad, found)


def test_l2_pool_is_the_root_of_the_sum_of_squares_and_torchs(rng: np.random.Generator) -> None:
    x = np.array([[[[3.0, 4.0], [0.0, 12.0]]]])
    assert ops.lp_pool2d(x, 2, 2)[0, 0, 0, 0] == 13
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 3, 6, 8))
    theirs = torch.tensor(x, requires_grad=True)
    output = torch.nn.functional.lp_pool2d(theirs, 2, 2)
    grad = rng.normal(size=output.shape)
    output.backward(torch.tensor(grad))
    y = ops.lp_pool2d(x, 2, 2)
    np.testing.assert_allclose(y, output.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ops.lp_pool2d_backward(grad, x, y, 2, 2), theirs.grad.numpy(), atol=1e-12)


def test_values_that_are_not_finite_stay_in_their_windows() -> None:
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.nan, -np.inf
    y = ops.lp_pool2d(x, 2, 2)
    np.testing.assert_array_equal(y[0, 0], [[np.nan, 2], [2, np.inf]])
    found = ops.lp_pool2d_backward(np.ones_like(y), x, y, 2, 2)
    assert np.isfinite(found[0, 0, :2, 2:]).all()
    assert np.isfinite(found[0, 0, 2:, :2]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [(None, 0), (1, 1), ((2, 1), ((1, 0), (0, 1))), (2, "same")], ids=str)
def test_weighted_pool(options: tuple[object, object], layout: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 6, 7))
    window = np.array([[1.0, 2, 1], [2, 4, 2]])
    filters = np.broadcast_to(window / 12, (5, 1, 2, 3)).copy()
    stride, padding = options
    truth = ops.conv2d(x, filters, None, (2, 3) if stride is None else stride, padding, 1, 5)
    y = ops.weighted_pool2d(to_layout(x.astype(dtype), layout), window, *options, layout=layout)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(from_layout(y, layout), truth, atol=tolerance)
    if dtype == np.float64:
        moved, grad = to_layout(x, layout), rng.normal(size=y.shape)
        found = ops.weighted_pool2d_backward(grad, moved.shape, window.tolist(), *options, layout=layout)
        assert_gradient(lambda v: ops.weighted_pool2d(v, window, *options, layout=layout), moved, grad, found)


def test_gaussian_window_falls_with_the_distance() -> None:
    window = ops.gaussian_window((3, 5))
    assert window.sum() == pytest.approx(1)
    np.testing.assert_array_equal(window, window[::-1, ::-1])
    assert window[1, 2] == window.max()
    assert window[1, 0] / window[1, 2] == pytest.approx(np.exp(-4 / (2 * 1.25**2)))


def test_sinusoidal_embedding(dtype: np.dtype, rng: np.random.Generator) -> None:
    steps = np.array([0, 1, 7, 999], dtype)
    y = ops.sinusoidal_embedding(steps, 8)
    angles = steps[:, None] * 10000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(
        y, np.concatenate([np.sin(angles), np.cos(angles)], 1), atol=1e-3 * (dtype == "f4") + 1e-11
    )
    np.testing.assert_array_equal(ops.sinusoidal_embedding(steps[:, None], 8), y)
    if dtype == np.float64:
        at, grad = rng.normal(size=(4, 1)), rng.normal(size=(4, 8))
        found = ops.sinusoidal_embedding_backward(grad, at, 50)
        assert_gradient(lambda v: ops.sinusoidal_embedding(v, 8, 50), at, grad, found)


def test_errors() -> None:
    x = np.ones((1, 3, 4, 5), np.float32)
    cases = [
        (ValueError, "norm_type must be finite and at least 1, got 0.5", lambda: ops.lp_pool2d(x, 0.5, 2)),
        (ValueError, "norm_type must be finite .*got inf", lambda: ops.lp_pool2d(x, float("inf"), 2)),
        (TypeError, "norm_type must be a number", lambda: ops.lp_pool2d(x, "2", 2)),
        (ValueError, r"window must have shape \(KH, KW\), got \(3,\)", lambda: ops.weighted_pool2d(x, [1, 2, 3])),
        (ValueError, "finite sum other than zero, got 0", lambda: ops.weighted_pool2d(x, [[1, -1]])),
        (TypeError, "window must hold numbers", lambda: ops.weighted_pool2d(x, "ab")),
        (ValueError, "sigma must be positive and finite, got -1", lambda: ops.gaussian_window(3, -1)),
        (ValueError, "kernel must fit the padded input", lambda: ops.weighted_pool2d(x, np.ones((5, 5)))),
        (ValueError, "dim must be positive, even", lambda: ops.sinusoidal_embedding(x[0, 0, 0], 3)),
        (ValueError, r"positions must have shape \(N,\) or \(N, 1\)", lambda: ops.sinusoidal_embedding(x[0, 0], 4)),
        (ValueError, "max_period must be positive", lambda: ops.sinusoidal_embedding(x[0, 0, 0], 4, 0)),
    ]
    for error, text, call in cases:
        with pytest.raises(error, match=text):
            call()
