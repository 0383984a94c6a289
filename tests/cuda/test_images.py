"""Borders, pixel shuffle, rarer pooling and norms on GPU arrays: values of `ops` on the CPU, in every layout."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv
from cuda_arrays import GpuArray
from fastconv import cuda, ops

LIKE = {"rtol": 1e-5, "atol": 2e-6}
Turn = Callable[[np.ndarray], np.ndarray]


def channels_last(a: np.ndarray) -> np.ndarray:
    """The same values in (N, C, H, W), channels last in memory."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if a.ndim == 4 else a


TURNS: dict[str, Turn] = {"nchw": np.array, "channels-last": channels_last}


def turn_to_gpu(value: Any, turn: Turn) -> Any:
    return GpuArray(turn(value)) if isinstance(value, np.ndarray) else value


def check(function: Callable[..., Any], arrays: list[Any], *args: Any, turn: Turn = np.array, **options: Any) -> Any:
    """The function on NumPy arrays and on GPU arrays, twice into one of NaN; float64 is the judge of rounding."""
    expected = function(*arrays, *args, **options)
    wide = function(
        *(a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in arrays),
        *args,
        **options,
    )
    placed = [turn_to_gpu(a, turn) for a in arrays]
    found = function(*placed, *args, **options)
    results = found if isinstance(found, tuple) else (found,)
    several = expected if isinstance(expected, tuple) else (expected,)
    for got, like, exact in zip(results, several, wide if isinstance(wide, tuple) else (wide,), strict=True):
        assert isinstance(got, GpuArray)
        assert got.shape == like.shape
        assert got.array.dtype == like.dtype
        if like.dtype.kind == "i":
            np.testing.assert_array_equal(got.array, like)
        else:
            np.testing.assert_allclose(got.array, exact, **LIKE)
    out = GpuArray(turn(np.full(several[0].shape, np.nan, np.float32)))
    again = function(*placed, *args, **options, out=out)
    assert (again[0] if isinstance(again, tuple) else again) is out
    np.testing.assert_array_equal(out.array, results[0].array)
    return found


@pytest.fixture(params=TURNS)
def turn(request: pytest.FixtureRequest) -> Turn:
    return TURNS[request.param]


@pytest.fixture(params=[4, 3], ids=["in-fours", "odd"])
def x(rng: np.random.Generator, request: pytest.FixtureRequest) -> np.ndarray:
    return rng.standard_normal((2, request.param, 5, 6)).astype(np.float32)


PADDING = [((4, 2), (0, 5)), ((0, 4), (5, 5)), ((1, 0), (0, 0)), ((0, 0), (0, 0))]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "constant"])
def test_borders(any_mode: ModuleType, rng: np.random.Generator, x: np.ndarray, mode: str) -> None:
    for padding in PADDING:
        options: dict[str, Any] = {"value": 2.5} if mode == "constant" else {}
        y = ops.pad2d(x, padding, mode, **options)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        for turn in TURNS.values():
            check(ops.pad2d, [x], padding, mode, turn=turn, **options)
            check(ops.pad2d_backward, [grad], x.shape, padding, mode, turn=turn)


def test_large_borders_of_small_images(any_mode: ModuleType, rng: np.random.Generator) -> None:
    """A pixel with many copies, on one side and on both."""
    x = rng.standard_normal((1, 2, 1, 2)).astype(np.float32)
    for mode, padding in (("replicate", ((7, 3), (2, 6))), ("reflect", ((0, 0), (1, 1)))):
        check(ops.pad2d, [x], padding, mode)
        grad = rng.standard_normal(ops.pad2d(x, padding, mode).shape).astype(np.float32)
        check(ops.pad2d_backward, [grad], x.shape, padding, mode)


def test_not_finite_gradients_stay_where_they_are(emulated: ModuleType) -> None:
    """A NaN on the border reaches the pixel that is repeated there and no other."""
    for mode in ("reflect", "replicate"):
        grad = np.ones((1, 1, 9, 9), np.float32)
        grad[0, 0, 0, 1], grad[0, 0, 8, 8] = np.nan, np.inf
        got = ops.pad2d_backward(GpuArray(grad), (1, 1, 5, 5), 2, mode).array
        np.testing.assert_array_equal(got, ops.pad2d_backward(grad, (1, 1, 5, 5), 2, mode))
        assert np.isnan(got).sum() == np.isinf(got).sum() == 1


def test_cropping(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Turn) -> None:
    check(ops.crop2d, [x], ((1, 2), (0, 3)), turn=turn)
    check(ops.center_crop2d, [x], (2, 3), turn=turn)
    grad = rng.standard_normal((2, x.shape[1], 2, 3)).astype(np.float32)
    check(ops.crop2d_backward, [grad], x.shape, ((1, 2), (0, 3)), turn=turn)
    check(ops.crop2d_backward, [grad], x.shape, turn=turn)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle(any_mode: ModuleType, rng: np.random.Generator, r: int) -> None:
    few = rng.standard_normal((2, 2 * r * r, 3, 5)).astype(np.float32)
    many = ops.pixel_shuffle(few, r)
    for turn in TURNS.values():
        check(ops.pixel_shuffle, [few], r, turn=turn)
        check(ops.pixel_unshuffle, [many], r, turn=turn)


@pytest.mark.parametrize("size", [(3, 4), (7, 2), (5, 3), (1, 1), (11, 13)])
def test_adaptive_pooling(any_mode: ModuleType, rng: np.random.Generator, x: np.ndarray, size: Any) -> None:
    x[0, 1, :2, :3] = 0.5  # equal maxima
    y, places = ops.adaptive_max_pool2d(x, size, return_indices=True)
    grad = rng.standard_normal(y.shape).astype(np.float32)
    for turn in TURNS.values():
        check(ops.adaptive_max_pool2d, [x], size, turn=turn)
        check(ops.adaptive_max_pool2d, [x], size, True, turn=turn)
        check(ops.adaptive_max_pool2d_backward, [grad, places], x.shape, turn=turn)
        check(ops.adaptive_avg_pool2d, [x], size, turn=turn)
        check(ops.adaptive_avg_pool2d_backward, [grad], x.shape, size, turn=turn)


def test_the_first_nan_wins_its_bins(emulated: ModuleType, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 1, 5, 5)).astype(np.float32)
    x[0, 0, 1, 2], x[0, 0, 2, 2], x[0, 0, 4, 4] = np.nan, np.nan, np.inf
    y, places = ops.adaptive_max_pool2d(x, 3, return_indices=True)
    got, at = ops.adaptive_max_pool2d(GpuArray(x), 3, True)
    np.testing.assert_array_equal(got.array, y)
    np.testing.assert_array_equal(at.array, places)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2)])
def test_max_unpooling(any_mode: ModuleType, rng: np.random.Generator, x: np.ndarray, window: int, stride: int) -> None:
    """Of windows that share a maximum the last one stays."""
    y, places = ops.max_pool2d(x, window, stride, return_indices=True)
    values = rng.standard_normal(y.shape).astype(np.float32)
    for turn in TURNS.values():
        check(ops.max_unpool2d, [values, places], window, stride, 0, x.shape[2:], turn=turn)
        check(ops.max_unpool2d_backward, [x, places], turn=turn)


def test_places_outside_take_no_part(emulated: ModuleType) -> None:
    places = np.array([-1, 3, 4, 1], np.int32).reshape(1, 1, 2, 2)
    values = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    got = cuda.max_unpool2d(GpuArray(values.reshape(1, 2, 2, 1)), GpuArray(places.reshape(1, 2, 2, 1)), (2, 2))
    np.testing.assert_array_equal(got.array.reshape(-1), [0, 4, 0, 2])
    back = cuda.max_unpool2d_backward(got, GpuArray(places.reshape(1, 2, 2, 1)))
    np.testing.assert_array_equal(back.array.reshape(-1), [0, 2, 0, 4])


@pytest.mark.parametrize("p", [1, 2, 3, 2.5])
def test_lp_pooling(any_mode: ModuleType, rng: np.random.Generator, x: np.ndarray, p: float) -> None:
    x[0, 0] = 0  # windows whose norm is 0
    for window in ((2, 2, False, 0), ((3, 2), (1, 2), True, (1, 0))):
        y = ops.lp_pool2d(x, p, *window)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        for turn in TURNS.values():
            check(ops.lp_pool2d, [x], p, *window, turn=turn)
            check(ops.lp_pool2d_backward, [grad, x, y], p, *window, turn=turn)


def test_gradients_of_a_norm_of_zero(emulated: ModuleType) -> None:
    """They are 0, whatever comes from behind; NaN and Inf of the input stay."""
    x = np.array([0, 0, 3, -4, np.nan, 1, np.inf, 1], np.float32).reshape(1, 1, 1, 8)
    grad = np.array([np.inf, 2, 1, 1], np.float32).reshape(1, 1, 1, 4)
    for p in (1, 2, 3):
        y = ops.lp_pool2d(x, p, (1, 2))
        np.testing.assert_allclose(ops.lp_pool2d(GpuArray(x), p, (1, 2)).array, y, rtol=1e-6)
        expected = ops.lp_pool2d_backward(grad, x, y, p, (1, 2))
        got = ops.lp_pool2d_backward(GpuArray(grad), GpuArray(x), GpuArray(y), p, (1, 2))
        np.testing.assert_allclose(got.array, expected, rtol=1e-6)


def test_weighted_pooling(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Turn) -> None:
    for window, stride, padding in (
        (ops.gaussian_window(3), None, 0),
        ([[1.0, 2.0], [0.5, -1.0]], 1, ((1, 0), (0, 1))),
    ):
        y = ops.weighted_pool2d(x, window, stride, padding)
        check(ops.weighted_pool2d, [x], window, stride, padding, turn=turn)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        check(ops.weighted_pool2d_backward, [grad], x.shape, window, stride, padding, turn=turn)


@pytest.mark.parametrize("pieces", [1, 3])
def test_maxout(any_mode: ModuleType, rng: np.random.Generator, pieces: int) -> None:
    for shape, axis in (((2, 6, 3, 5), 1), ((4, 6), -1), ((3, 2, 6), 2)):
        x = rng.standard_normal(shape).astype(np.float32)
        x.flat[1] = x.flat[0]
        y = ops.maxout(x, pieces, axis)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        for turn in TURNS.values():
            check(ops.maxout, [x], pieces, axis, turn=turn)
            check(ops.maxout_backward, [grad, x], pieces, axis, turn=turn)


def test_layer_norm(any_mode: ModuleType, rng: np.random.Generator) -> None:
    x = (rng.standard_normal((3, 2, 5, 7)) * 3 + 2).astype(np.float32)
    grad = rng.standard_normal(x.shape).astype(np.float32)
    for shape in ((7,), (2, 5, 7)):
        weight, bias = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        _, stats = ops.layer_norm(x, shape, weight, bias, return_stats=True)
        check(
            lambda x, w, b, shape=shape, **o: ops.layer_norm(x, shape, w, b, return_stats=True, **o), [x, weight, bias]
        )
        check(lambda x, shape=shape, **o: ops.layer_norm(x, shape, **o), [x])
        backward = lambda g, x, s, w, shape=shape, **o: ops.layer_norm_backward(g, x, shape, s, w, **o)  # noqa: E731
        check(backward, [grad, x, stats, weight])
        check(backward, [grad, x, stats, None])


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_softmax_over_any_axis(any_mode: ModuleType, rng: np.random.Generator, axis: int) -> None:
    x = (4 * rng.standard_normal((2, 3, 5, 4))).astype(np.float32)
    y, grad = ops.softmax(x, axis), rng.standard_normal(x.shape).astype(np.float32)
    for turn in TURNS.values():
        check(ops.softmax, [x], axis, turn=turn)
        check(ops.softmax_backward, [grad, y], axis, turn=turn)
    x[0, 0, 0, 0], x[1, 2, 2, 2], x[1, 1, 1, 1] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ops.softmax(GpuArray(x), axis).array, ops.softmax(x, axis), rtol=1e-5, atol=1e-6)


def test_one_image_nothing_and_nhwc(emulated: ModuleType, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5, 6)).astype(np.float32)
    check(ops.pad2d, [x], 2, "reflect")
    check(ops.lp_pool2d, [x], 2, 2)
    nhwc = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    check(ops.pad2d, [nhwc], 2, "replicate", layout="NHWC")
    check(ops.adaptive_max_pool2d, [nhwc], 4, layout="NHWC")
    none = np.zeros((0, 4, 4, 4), np.float32)
    for function, options in (
        (ops.pad2d, (1, "reflect")), (ops.pad2d, (1,)), (ops.crop2d, (1,)), (ops.pixel_shuffle, (2,)),
        (ops.adaptive_max_pool2d, (3,)), (ops.lp_pool2d, (2, 2)), (ops.weighted_pool2d, ([[1.0]],)), (ops.maxout, (2,)),
        (ops.softmax, (2,)), (ops.layer_norm, (4,)),
    ):  # fmt: skip
        expected = function(none, *options)  # type: ignore[operator]
        assert function(GpuArray(none), *options).shape == expected.shape  # type: ignore[operator]


def test_bad_arguments(emulated: ModuleType, rng: np.random.Generator) -> None:
    x = GpuArray(rng.standard_normal((2, 3, 4, 5)).astype(np.float32))
    host = x.array
    for error, call, text in (
        (ValueError, lambda: ops.pad2d(x, 4, "reflect"), "pad2d: padding must be less than the input's height"),
        (ValueError, lambda: ops.pad2d(x, -1), r"pad2d: padding must not be negative \(use crop2d\)"),
        (ValueError, lambda: ops.pad2d(x, 1, "circular"), "pad2d: mode must be one of"),
        (ValueError, lambda: ops.pad2d_backward(x, (2, 3, 4, 5), 1, "reflect"), "grad_output must have shape"),
        (ValueError, lambda: ops.crop2d(x, 2), "crop2d: cropping must leave a pixel of 4 x 5"),
        (ValueError, lambda: ops.pixel_shuffle(x, 2), "factor must be positive and fit the 3 channels"),
        (ValueError, lambda: ops.pixel_unshuffle(x, 3), "fit height and width, 4 x 5,"),
        (TypeError, lambda: ops.pixel_shuffle(x, 1.5), "pixel_shuffle: upscale_factor"),
        (ValueError, lambda: ops.adaptive_max_pool2d(x, 0), "output_size must be positive"),
        (ValueError, lambda: ops.lp_pool2d(x, 0.5, 2), "lp_pool2d: norm_type"),
        (ValueError, lambda: ops.lp_pool2d(x, float("inf"), 2), "lp_pool2d: norm_type must be finite"),
        (ValueError, lambda: ops.maxout(x, 2), "maxout: input must have a multiple of pieces=2"),
        (ValueError, lambda: ops.maxout(x, 3, 4), r"maxout: axis must lie in -4\.\.3, got 4"),
        (ValueError, lambda: ops.layer_norm(x, (4, 4)), "layer_norm: normalized_shape must be the last sizes"),
        (ValueError, lambda: ops.layer_norm(x, 5, GpuArray(host[0, 0, 0, :4].copy())), "weight must have shape"),
        (TypeError, lambda: ops.max_unpool2d(x, GpuArray(host), 2), "indices must be int32, got float32"),
        (TypeError, lambda: ops.pad2d(GpuArray(host.astype(np.float64)), 1), "input must be float32, got float64"),
        (ValueError, lambda: ops.softmax(x, 4), r"softmax: axis must lie in -4\.\.3, got 4"),
        (ValueError, lambda: cuda.pad2d(x, 0, out=x), "pad2d: out must not overlap input"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            call()  # type: ignore[no-untyped-call]
    fastconv.config.strict = True
    try:
        with pytest.raises(RuntimeError, match="pad2d: .*strict refuses a slow path: input is NCHW in memory"):
            ops.pad2d(x, 1)
    finally:
        fastconv.config.strict = False


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(any_mode: ModuleType, rng: np.random.Generator, groups: int) -> None:
    x, grad = (rng.standard_normal((3, 6, 4, 5)).astype(np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal(6).astype(np.float32) for _ in range(2))
    for shape in (x.shape, (3, 6)):
        a, g = (array.reshape(-1)[: np.prod(shape)].reshape(shape) for array in (x, grad))
        if len(shape) == 2 and groups == 6:
            continue  # groups of one number
        _, stats = ops.group_norm(a, groups, weight, bias, return_stats=True)
        for turn in TURNS.values():
            forward = lambda x, w, b, **o: ops.group_norm(x, groups, w, b, return_stats=True, **o)  # noqa: E731
            check(forward, [a, weight, bias], turn=turn)
            backward = lambda g, x, s, w, **o: ops.group_norm_backward(g, x, groups, s, w, **o)  # noqa: E731
            check(backward, [g, a, stats, weight], turn=turn)
            check(backward, [g, a, stats, None], turn=turn)


def test_local_response_norm(emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Turn) -> None:
    grad = rng.standard_normal(x.shape).astype(np.float32)
    check(ops.local_response_norm, [x], 3, 0.5, 0.75, 2.0, turn=turn)
    check(ops.local_response_norm_backward, [grad, x], 3, 0.5, 0.75, 2.0, turn=turn)


def test_embedding(emulated: ModuleType, rng: np.random.Generator) -> None:
    for shape in ((5,), (5, 1)):
        positions = rng.random(shape, np.float32) * 8
        grad = rng.standard_normal((5, 6)).astype(np.float32)
        check(ops.sinusoidal_embedding, [positions], 6)
        check(ops.sinusoidal_embedding_backward, [grad, positions])


def test_gradients_of_transposed_convolution(
    emulated: ModuleType, rng: np.random.Generator, x: np.ndarray, turn: Turn
) -> None:
    geometry: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "output_padding": (1, 0)}
    weight = rng.standard_normal((x.shape[1], 5, 3, 2)).astype(np.float32)
    grad = rng.standard_normal(ops.conv_transpose2d(x, weight, **geometry).shape).astype(np.float32)
    backward = lambda w, g, **o: ops.conv_transpose2d_backward_input(x.shape, w, g, **geometry, **o)  # noqa: E731
    check(backward, [weight, grad], turn=turn)
    into_weight = lambda a, g, **o: ops.conv_transpose2d_backward_weight(a, weight.shape, g, **geometry, **o)  # noqa: E731
    check(into_weight, [x, grad], turn=turn)


def test_every_operation_takes_gpu_arrays() -> None:
    """All of `ops` has a door to the GPU, in itself or in the helper that it calls."""
    functions = {name: function for name in ops.__all__ if inspect.isfunction(function := getattr(ops, name))}
    without = {name for name, function in functions.items() if "gpu_ops" not in inspect.getsource(function)}
    pointwise = "elu", "gelu", "leaky_relu", "sigmoid", "silu", "softplus", "tanh"
    pairs = "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "l1_loss", "mse_loss"
    helped = {f"{name}{end}" for name in pointwise for end in ("", "_backward")}
    helped |= {f"{name}{end}" for name in pairs for end in ("", "_with_grad")}
    assert without == helped | {"gaussian_window"}
