"""Pooling against its definition: every instruction set, both dtypes, both layouts, forward and backward."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
import gradcheck
import reference
from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import _core, ops
from pool2d_cases import ALL, CEILING, CHANNELS, DILATED, GLOBAL, PADDED, UNDILATED, WINDOWS, Pooling

EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


def same_values_and_signs(got: NDArray, expected: NDArray) -> None:
    """NaN where NaN is expected, and -0.0 is not +0.0."""
    np.testing.assert_array_equal(got, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


def memory_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    n, c, h, w = shape
    return shape if layout == "NCHW" else (n, h, w, c)


# Max pooling


@EVERY_LAYOUT
@pytest.mark.parametrize("case", ALL, ids=str)
@pytest.mark.parametrize("values", ["integers", "special"])
def test_max_pool2d(case: Pooling, values: str, layout: str, dtype: np.dtype, isa: str) -> None:
    x = getattr(case, values)
    expected, places = case.maximum(x)
    given = to_layout(x.astype(dtype), layout)
    output, indices = ops.max_pool2d(given, **case.options, return_indices=True, layout=layout)
    assert output.dtype == dtype
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(from_layout(indices, layout), places)
    same_values_and_signs(from_layout(output, layout), expected)
    without = ops.max_pool2d(given, **case.options, layout=layout)
    same_values_and_signs(from_layout(without, layout), expected)


@EVERY_LAYOUT
@pytest.mark.parametrize("case", ALL, ids=str)
def test_max_pool2d_backward(case: Pooling, layout: str, dtype: np.dtype, isa: str) -> None:
    _, places = case.maximum(case.integers)
    expected = reference.max_pool2d_backward(case.grad_output, places, case.shape)
    got = ops.max_pool2d_backward(
        to_layout(case.grad_output.astype(dtype), layout),
        to_layout(places.astype(np.int32), layout),
        memory_shape(case.shape, layout),
        **case.options,
        layout=layout,
    )
    same_values_and_signs(from_layout(got, layout), expected + 0.0)


@EVERY_LAYOUT
@pytest.mark.parametrize("case", [CHANNELS[5], CHANNELS[11], WINDOWS[3], WINDOWS[4], PADDED[0]], ids=str)
def test_max_pool2d_backward_through_relu(case: Pooling, layout: str, dtype: np.dtype, isa: str) -> None:
    """The engine hands over the pooled output of a ReLU: gradient is dropped where it is not positive; NaN keeps it."""
    x = np.where(np.isneginf(case.special), 1.0, case.special)
    pooled, places = case.maximum(x)
    with np.errstate(invalid="ignore"):
        passed = np.where(pooled <= 0, 0.0, case.grad_output)
    shape = _core.Pool2dShape(case.shape, case.kernel, case.steps, case.padding, case.dilation, case.ceil_mode)
    grad_input = np.full(memory_shape(case.shape, layout), 99, dtype)
    grad, indices, output = (
        np.ascontiguousarray(to_layout(a, layout))
        for a in (case.grad_output.astype(dtype), places.astype(np.int32), pooled.astype(dtype))
    )
    _core.max_pool2d_backward(shape, grad, indices, grad_input, layout=layout, output=output)
    expected = reference.max_pool2d_backward(passed, places, case.shape)
    np.testing.assert_array_equal(from_layout(grad_input, layout), expected)


@EVERY_LAYOUT
@pytest.mark.parametrize("channels", [1, 3, 8, 13, 16, 19, 33])
@pytest.mark.parametrize("width", [3, 12, 35])
def test_nan_reaches_its_windows_and_no_others(channels: int, width: int, layout: str, isa: str) -> None:
    """Wherever the NaN lies in the window, in vectors and in what remains behind them."""
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x = np.ones((1, channels, 4, width), np.float32)
        x[0, channels - 1, row, column] = np.nan
        x[0, channels - 1, 1, 1] = np.nan
        output, indices = ops.max_pool2d(to_layout(x, layout), 2, return_indices=True, layout=layout)
        output, indices = from_layout(output, layout), from_layout(indices, layout)
        assert np.argwhere(np.isnan(output)).tolist() == [[0, channels - 1, 0, 0]]
        assert indices[0, channels - 1, 0, 0] == row * width + column


# Average pooling


@EVERY_LAYOUT
@pytest.mark.parametrize("case", UNDILATED, ids=str)
def test_avg_pool2d(case: Pooling, layout: str, dtype: np.dtype, isa: str) -> None:
    x, grad = (to_layout(a.astype(dtype), layout) for a in (case.integers, case.grad_output))
    eps = np.finfo(dtype).eps
    # As many roundings of the gradient as windows cover a pixel, after a division each; gradients are 4 at most.
    covering = np.prod([-(-k // s) for k, s in zip(case.kernel, case.steps, strict=True)])
    for include_pad, divisor in itertools.product([True, False], [None, 3, -2]):
        options = {**case.average, "count_include_pad": include_pad, "divisor_override": divisor, "layout": layout}
        window = (case.kernel, case.steps, case.padding, case.ceil_mode, include_pad, divisor)
        # The sum of whole numbers is exact: one rounding, of the division.
        expected = reference.avg_pool2d(case.integers, *window)
        np.testing.assert_allclose(from_layout(ops.avg_pool2d(x, **options), layout), expected, rtol=eps, atol=0)
        expected = reference.avg_pool2d_backward(case.grad_output, case.shape, *window)
        got = from_layout(ops.avg_pool2d_backward(grad, x.shape, **options), layout)
        np.testing.assert_allclose(got, expected, rtol=0, atol=eps * covering * (covering + 1) * 4)


@EVERY_LAYOUT
def test_infinity_and_nan_stay_in_their_window(layout: str, isa: str) -> None:
    x = np.ones((1, 19, 5, 37), np.float32)
    x[0, 18, 0, 0], x[0, 3, 2, 5] = np.inf, np.nan
    output = from_layout(ops.avg_pool2d(to_layout(x, layout), 2, padding=1, layout=layout), layout)
    wrong = np.argwhere(~np.isfinite(output)).tolist()
    assert wrong == [[0, 3, 1, 3], [0, 18, 0, 0]]


# Global pooling


@EVERY_LAYOUT
@pytest.mark.parametrize("case", GLOBAL, ids=str)
def test_global_pooling(case: Pooling, layout: str, dtype: np.dtype, isa: str) -> None:
    x = to_layout(case.integers.astype(dtype), layout)
    shape = memory_shape(case.shape, layout)
    mean, (most, where) = ops.global_avg_pool2d(x, layout=layout), ops.global_max_pool2d(x, True, layout=layout)
    expected, places = case.maximum(case.integers)
    np.testing.assert_array_equal(from_layout(most, layout), expected)
    np.testing.assert_array_equal(from_layout(where, layout), places)
    np.testing.assert_array_equal(ops.global_max_pool2d(x, layout=layout), most)
    truth = case.integers.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(from_layout(mean, layout), truth, rtol=np.finfo(dtype).eps)
    grad = case.grad_output.astype(dtype)
    spread = ops.global_avg_pool2d_backward(to_layout(grad, layout), shape, layout=layout)
    expected = np.broadcast_to(case.grad_output / np.prod(case.image), case.shape)
    np.testing.assert_allclose(from_layout(spread, layout), expected, rtol=np.finfo(dtype).eps)
    back = ops.global_max_pool2d_backward(to_layout(grad, layout), where, shape, layout=layout)
    np.testing.assert_array_equal(
        from_layout(back, layout), reference.max_pool2d_backward(case.grad_output, places, case.shape)
    )


@EVERY_LAYOUT
@pytest.mark.parametrize("stride", [(1, 1), (4, 2), (6, 9)], ids=str)
@pytest.mark.parametrize("width", [4, 9])
def test_one_row_of_windows(
    width: int, stride: tuple[int, int], layout: str, dtype: np.dtype, isa: str, rng: np.random.Generator
) -> None:
    """Windows as high as the planes, which NCHW takes for one tall plane, whatever their stride."""
    x = rng.integers(-9, 9, (3, 5, 6, 9)).astype(np.float64)
    expected = reference.avg_pool2d(x, (6, width), stride, ((0, 0), (0, 0)), False, True, 1)
    options = {"kernel_size": (6, width), "stride": stride, "divisor_override": 1, "layout": layout}
    got = ops.avg_pool2d(to_layout(x.astype(dtype), layout), **options)
    np.testing.assert_array_equal(from_layout(got, layout), expected)


@EVERY_LAYOUT
def test_the_mean_of_a_large_image_is_accurate(layout: str, isa: str, rng: np.random.Generator) -> None:
    """Rows, or lanes, are summed on their own: the error grows with the root of the pixels, not with their number."""
    x = (rng.random((1, 3, 512, 512)) + 1000).astype(np.float32)
    got = from_layout(ops.global_avg_pool2d(to_layout(x, layout), layout=layout), layout)
    np.testing.assert_allclose(got, x.astype(np.float64).mean(axis=(2, 3), keepdims=True), rtol=2e-5)


# What holds for all of them


@EVERY_LAYOUT
@pytest.mark.parametrize("case", [WINDOWS[3], PADDED[0], CEILING[1], DILATED[1]], ids=str)
def test_gradients_are_derivatives(case: Pooling, layout: str) -> None:
    rng = case.rng
    x = to_layout(rng.permutation(case.integers.size).reshape(case.shape).astype(np.float64), layout)
    grad = to_layout(rng.standard_normal(case.grad_output.shape), layout)
    _, indices = ops.max_pool2d(x, **case.options, return_indices=True, layout=layout)
    back = ops.max_pool2d_backward(grad, indices, x.shape, **case.options, layout=layout)
    gradcheck.assert_gradient(lambda v: ops.max_pool2d(v, **case.options, layout=layout), x, grad, back, step=1e-2)
    if case in UNDILATED:
        back = ops.avg_pool2d_backward(grad, x.shape, **case.average, count_include_pad=False, layout=layout)
        gradcheck.assert_gradient(
            lambda v: ops.avg_pool2d(v, **case.average, count_include_pad=False, layout=layout),
            x,
            grad,
            back,
            step=1e-2,
        )


def everything(x: NDArray, grad: NDArray, layout: str, **options: object) -> list[bytes]:
    """All results of one pooling, image by image."""
    output, indices = ops.max_pool2d(x, **options, return_indices=True, layout=layout)
    results = [
        output,
        indices,
        ops.max_pool2d(x, **options, layout=layout),
        ops.max_pool2d_backward(grad, indices, x.shape, **options, layout=layout),
        ops.avg_pool2d(x, **options, layout=layout),
        ops.avg_pool2d_backward(grad, x.shape, **options, layout=layout),
        ops.global_avg_pool2d(x, layout=layout),
        ops.global_max_pool2d(x, layout=layout),
    ]
    return [image.tobytes() for image in zip(*results, strict=True) for image in image]


@EVERY_LAYOUT
@pytest.mark.parametrize("kernel", [2, 3, 7])
def test_bits_do_not_depend_on_threads_or_the_batch(kernel: int, layout: str, rng: np.random.Generator) -> None:
    x = to_layout(rng.standard_normal((5, 37, 41, 43)).astype(np.float32), layout)
    options = {"kernel_size": kernel, "stride": 2, "padding": 1}
    grad = rng.standard_normal(ops.max_pool2d(x, **options, layout=layout).shape).astype(np.float32)
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(everything(x, grad, layout, **options))
    assert all(other == results[0] for other in results[1:])
    parts = everything(x[:2], grad[:2], layout, **options) + everything(x[2:], grad[2:], layout, **options)
    assert parts == results[0]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 3},
        {"kernel_size": (4, 5), "stride": (2, 3), "padding": (2, 1), "ceil_mode": True},
        {"kernel_size": (1, 2), "stride": 4, "padding": (0, 1)},
        {"kernel_size": (9, 3), "stride": (1, 5), "padding": (4, 0)},
    ],
    ids=str,
)
def test_bands_of_wide_planes(options: dict, dtype: np.dtype, rng: np.random.Generator) -> None:
    """Every row as in channels last, which the cases above hold to the definition."""
    x = rng.integers(-99, 99, (2, 37, 131, 173)).astype(dtype)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    window = options["kernel_size"], options["stride"], options.get("padding", 0)
    assert "side by side" in fastconv.explain("avg_pool2d", x, *window)["kernel"]

    def planes(y: NDArray) -> NDArray:
        return y.transpose(0, 3, 1, 2)

    for count in (1, 3):
        with fastconv.threads(count):
            pooled, where = ops.max_pool2d(x, **options, return_indices=True)
            expected, places = ops.max_pool2d(last, **options, return_indices=True, layout="NHWC")
            np.testing.assert_array_equal(pooled, planes(expected))
            np.testing.assert_array_equal(where, planes(places))
            np.testing.assert_array_equal(ops.max_pool2d(x, **options), planes(expected))
            mean = ops.avg_pool2d(x, **options)
            np.testing.assert_array_equal(mean, planes(ops.avg_pool2d(last, **options, layout="NHWC")))
            grad = np.round(mean * 8)
            spread = ops.avg_pool2d_backward(
                np.ascontiguousarray(grad.transpose(0, 2, 3, 1)), last.shape, **options, layout="NHWC"
            )
            np.testing.assert_array_equal(ops.avg_pool2d_backward(grad, x.shape, **options), planes(spread))


def all_passes(x: NDArray, shape: _core.Pool2dShape, layout: str, offset: int) -> list[NDArray]:
    """Results that begin `offset` bytes behind a cache line."""

    def empty(dims: tuple[int, ...], dtype: type = np.float32) -> NDArray:
        nbytes = 4 * math.prod(dims)
        return _core.empty_aligned(nbytes + offset)[offset:].view(dtype).reshape(dims)

    out = memory_shape(shape.output_shape, layout)
    pooled, where, back, mean, spread = empty(out), empty(out, np.int32), empty(x.shape), empty(out), empty(x.shape)
    _core.max_pool2d_forward(shape, x, pooled, where, layout=layout)
    _core.max_pool2d_backward(shape, pooled, where, back, layout=layout)
    _core.avg_pool2d_forward(shape, x, mean, layout=layout)
    _core.avg_pool2d_backward(shape, mean, spread, layout=layout)
    return [pooled, where, back, mean, spread]


@EVERY_LAYOUT
@pytest.mark.parametrize("kernel", [2, 3])
def test_results_past_the_caches_have_the_same_bits(
    kernel: int, layout: str, isa: str, rng: np.random.Generator
) -> None:
    """All images together are streamed, with a stage or without one; one alone is not."""
    x = np.ascontiguousarray(to_layout(rng.standard_normal((9, 48, 150, 154), dtype=np.float32), layout))
    options = ((kernel, kernel), (2, 2), ((kernel // 2,) * 2,) * 2, (1, 1), False)
    whole = _core.Pool2dShape((9, 48, 150, 154), *options)
    aligned, shifted = (all_passes(x, whole, layout, offset) for offset in (0, 4))
    one = _core.Pool2dShape((1, 48, 150, 154), *options)
    for image in (0, 8):
        single = all_passes(x[image : image + 1], one, layout, 0)
        for got in (aligned, shifted):
            assert all(g[image].tobytes() == s.tobytes() for g, s in zip(got, single, strict=True))


@EVERY_LAYOUT
def test_an_empty_batch_is_legal(layout: str, dtype: np.dtype) -> None:
    x = np.empty(memory_shape((0, 3, 6, 8), layout), dtype)
    output, indices = ops.max_pool2d(x, 2, return_indices=True, layout=layout)
    assert output.shape == indices.shape == memory_shape((0, 3, 3, 4), layout)
    assert ops.max_pool2d_backward(output, indices, x.shape, 2, layout=layout).shape == x.shape
    assert ops.avg_pool2d(x, 2, layout=layout).shape == output.shape
    assert ops.avg_pool2d_backward(output, x.shape, 2, layout=layout).shape == x.shape
    assert ops.global_avg_pool2d(x, layout=layout).shape == memory_shape((0, 3, 1, 1), layout)


@EVERY_LAYOUT
def test_three_dimensions_are_one_image(layout: str, rng: np.random.Generator) -> None:
    x = to_layout(rng.standard_normal((1, 3, 6, 8)), layout)
    pooled, where = ops.max_pool2d(x, 2, return_indices=True, layout=layout)
    one, place = ops.max_pool2d(x[0], 2, return_indices=True, layout=layout)
    np.testing.assert_array_equal(one, pooled[0])
    np.testing.assert_array_equal(place, where[0])
    for whole, single in (
        (ops.avg_pool2d(x, 2, layout=layout), ops.avg_pool2d(x[0], 2, layout=layout)),
        (ops.global_max_pool2d(x, layout=layout), ops.global_max_pool2d(x[0], layout=layout)),
        (
            ops.max_pool2d_backward(pooled, where, x.shape, 2, layout=layout),
            ops.max_pool2d_backward(one, place, x.shape[1:], 2, layout=layout),
        ),
        (
            ops.avg_pool2d_backward(pooled, x.shape, 2, layout=layout),
            ops.avg_pool2d_backward(one, x.shape[1:], 2, layout=layout),
        ),
    ):
        np.testing.assert_array_equal(single, whole[0])


def test_strided_and_misaligned_arrays(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 6, 9, 11)).astype(np.float32)
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    raw[...] = x
    assert not raw.flags.aligned
    np.testing.assert_array_equal(ops.max_pool2d(raw, 2), ops.max_pool2d(x, 2))
    view = x[::-2, ::-1, :, 1:]
    np.testing.assert_array_equal(ops.max_pool2d(view, 2), ops.max_pool2d(view.copy(), 2))
    np.testing.assert_array_equal(ops.avg_pool2d(view, 2), ops.avg_pool2d(view.copy(), 2))
    same = np.broadcast_to(x[:1], x.shape)
    np.testing.assert_array_equal(ops.avg_pool2d(same, 3), ops.avg_pool2d(same.copy(), 3))


def test_huge_kernels_end(isa: str) -> None:
    """The taps outside the image are not walked through."""
    x = np.ones((1, 1, 1, 1), np.float32)
    size, pad = 2**30, 2**29
    for layout in LAYOUTS:
        ones = [
            ops.max_pool2d(x, size, 1, pad, layout=layout),
            ops.avg_pool2d(x, size, 1, pad, count_include_pad=False, layout=layout),
            ops.avg_pool2d(4 * x, size, 1, pad, divisor_override=4, layout=layout),
        ]
        assert [array.ravel().tolist() for array in ones] == [[1.0] * 4] * 3


def test_huge_strides_leave_one_window(isa: str) -> None:
    x = np.arange(30, dtype=np.float32).reshape(1, 1, 5, 6)
    for stride in (2**30, 2**31 + 1, 2**63 - 1):
        for layout in LAYOUTS:
            given = to_layout(x, layout)
            value, where = ops.max_pool2d(given, 4, stride, 2, return_indices=True, layout=layout)
            assert (value.item(), where.item()) == (7, 7)
            back = ops.max_pool2d_backward(value, where, given.shape, 4, stride, 2, layout=layout)
            assert back.sum() == 7
            assert ops.avg_pool2d(given, 2, stride, layout=layout).item() == 3.5
