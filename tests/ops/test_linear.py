"""The fully connected operation against matrix products; its layout neighbours too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import gradcheck
from fastconv import ops

SIZES = [
    (1, 1, 1),
    (1, 7, 9),
    (3, 16, 16),
    (5, 17, 15),
    (13, 31, 33),
    (14, 32, 32),
    (15, 64, 10),
    (2, 784, 512),
    (64, 576, 64),
    (65, 67, 65),
    (7, 1031, 3),
    (0, 5, 4),
]


def arrays(n: int, i: int, o: int, dtype: np.dtype, integers: bool = True) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(n + i + o)
    shapes = ((n, i), (o, i), (o,), (n, o))
    if integers:
        return tuple(rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_whole_numbers_are_exact(size: tuple[int, int, int], dtype: np.dtype, isa: str) -> None:
    x, w, b, gy = arrays(*size, dtype)
    np.testing.assert_array_equal(ops.linear(x, w), x @ w.T)
    np.testing.assert_array_equal(ops.linear(x, w, b), x @ w.T + b)
    np.testing.assert_array_equal(ops.linear(x, w, b, activation="relu"), np.maximum(x @ w.T + b, 0))
    np.testing.assert_array_equal(ops.linear_backward_input(w, gy), gy @ w)
    np.testing.assert_array_equal(ops.linear_backward_weight(x, gy), gy.T @ x)
    np.testing.assert_array_equal(ops.linear_backward_bias(gy), gy.sum(axis=0))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_error_stays_below_its_bound(size: tuple[int, int, int], dtype: np.dtype, isa: str) -> None:
    n, i, o = size
    x, w, b, gy = arrays(*size, dtype, integers=False)
    x64, w64, b64, gy64 = (array.astype(np.float64) for array in (x, w, b, gy))
    eps = np.finfo(dtype).eps
    for got, truth, scale, terms in (
        (ops.linear(x, w, b), x64 @ w64.T + b64, abs(x64) @ abs(w64).T + abs(b64), i),
        (ops.linear_backward_input(w, gy), gy64 @ w64, abs(gy64) @ abs(w64), o),
        (ops.linear_backward_weight(x, gy), gy64.T @ x64, abs(gy64).T @ abs(x64), n),
    ):
        assert np.all(abs(got - truth) <= (terms + 2) * eps * scale)


def test_gradients_are_derivatives() -> None:
    x, w, b, gy = arrays(3, 5, 4, np.dtype(np.float64), integers=False)
    gradcheck.assert_gradient(lambda v: ops.linear(v, w, b), x, gy, ops.linear_backward_input(w, gy))
    gradcheck.assert_gradient(lambda v: ops.linear(x, v, b), w, gy, ops.linear_backward_weight(x, gy))
    gradcheck.assert_gradient(lambda v: ops.linear(x, w, v), b, gy, ops.linear_backward_bias(gy))


@pytest.mark.parametrize("size", [(64, 576, 64), (300, 784, 100), (1, 4096, 1000), (65, 67, 3), (9, 200, 4)], ids=str)
def test_bits_do_not_depend_on_threads_or_batch(size: tuple[int, int, int], dtype: np.dtype) -> None:
    x, w, b, gy = arrays(*size, dtype, integers=False)
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(
                [
                    ops.linear(x, w, b),
                    ops.linear_backward_input(w, gy),
                    ops.linear_backward_weight(x, gy),
                    ops.linear_backward_bias(gy),
                ]
            )
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            assert got.tobytes() == expected.tobytes()
    for cut in {1, size[0] // 2, size[0] - 1}:
        parts = [ops.linear(x[:cut], w, b), ops.linear(x[cut:], w, b)]
        assert np.concatenate(parts).tobytes() == results[0][0].tobytes()


def test_one_row_is_a_batch_of_one() -> None:
    x, w, b, gy = arrays(1, 5, 4, np.dtype(np.float32))
    assert ops.linear(x[0], w, b).shape == (4,)
    np.testing.assert_array_equal(ops.linear(x[0], w, b), ops.linear(x, w, b)[0])
    np.testing.assert_array_equal(ops.linear_backward_input(w, gy[0]), (gy @ w)[0])
    np.testing.assert_array_equal(ops.linear_backward_weight(x[0], gy[0]), gy.T @ x)


def test_not_a_number_stays_in_its_row(isa: str) -> None:
    x, w, _, _ = arrays(9, 20, 11, np.dtype(np.float32), integers=False)
    clean = ops.linear(x, w)
    x[4, 7] = np.nan
    got = ops.linear(x, w)
    assert np.isnan(got[4]).all()
    np.testing.assert_array_equal(np.delete(got, 4, 0), np.delete(clean, 4, 0))


X, WEIGHT, BIAS, GRAD = arrays(3, 5, 4, np.dtype(np.float32))


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"weight": WEIGHT.T.copy()},
            ValueError,
            r"weight must have shape \(OUT, IN\) with IN=5, got \(5, 4\).*weight\.T",
        ),
        ({"weight": WEIGHT[:, :3]}, ValueError, "weight must have shape"),
        ({"weight": WEIGHT[0]}, ValueError, "weight must have 2 dimensions"),
        ({"input": X[None]}, ValueError, "input must have 2 dimensions, or 1 for a batch of one"),
        ({"bias": BIAS[:3]}, ValueError, r"bias must have shape \(4,\), got \(3,\)"),
        ({"bias": BIAS.astype(np.float64)}, TypeError, "bias must be float32 like the other arrays"),
        ({"input": X.astype(int)}, TypeError, "input must be float32 or float64"),
        ({"input": X.tolist()}, TypeError, "input must be a numpy.ndarray"),
        ({"activation": "tanh"}, ValueError, "activation must be one of"),
        ({"out": np.empty((3, 5), np.float32)}, ValueError, "out must have shape"),
        ({"out": X}, ValueError, "out must have shape"),
        ({"weight": np.ones((0, 5), np.float32), "bias": None}, ValueError, "weight"),
        ({"weight": np.ones((4, 0), np.float32), "input": X[:, :0]}, ValueError, ""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^linear: .*{text}"):
        ops.linear(**{"input": X, "weight": WEIGHT, "bias": BIAS} | changes)


def test_bad_input_to_the_backward_passes() -> None:
    with pytest.raises(ValueError, match="linear_backward_input: grad_output must have shape"):
        ops.linear_backward_input(WEIGHT, GRAD[:, :3])
    with pytest.raises(ValueError, match="linear_backward_weight: grad_output must have shape"):
        ops.linear_backward_weight(X, GRAD[:2])
    with pytest.raises(TypeError, match="linear_backward_weight: grad_output must be float32 like"):
        ops.linear_backward_weight(X, GRAD.astype(np.float64))
    with pytest.raises(TypeError, match="linear_backward_bias: grad_output"):
        ops.linear_backward_bias(None)  # type: ignore[arg-type]


# Layout


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (3, 16, 16, 16), (2, 17, 9, 33), (1, 65, 1, 130), (0, 2, 3, 4)]
)
def test_layouts_go_over_into_each_other(shape: tuple[int, ...], dtype: np.dtype, isa: str) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    last = ops.nchw_to_nhwc(x)
    np.testing.assert_array_equal(last, np.moveaxis(x, 1, 3))
    np.testing.assert_array_equal(ops.nhwc_to_nchw(last), x)
    if shape[0]:
        np.testing.assert_array_equal(ops.nchw_to_nhwc(x[0]), last[0])
        np.testing.assert_array_equal(ops.nhwc_to_nchw(last[0]), x[0])
        with pytest.raises(ValueError, match="nchw_to_nhwc: out must not overlap"):
            ops.nchw_to_nhwc(x, out=x.reshape(last.shape))
