"""Convolution against its definition: every instruction set, both dtypes, both layouts, all passes."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck
import reference
from conv2d_cases import (
    ALL,
    BIG_BLOCKS,
    DEPTHWISE,
    GROUPS,
    LAYOUTS,
    SHAPES,
    SMALL,
    STRIDES,
    Geometry,
    from_layout,
    run_all,
    to_layout,
)
from fastconv import ops


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", ALL, ids=str)
def test_whole_numbers_are_exact(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    got = run_all(geometry, geometry.integers, dtype, layout, "direct")
    for name, array in got.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, geometry.integers[name], err_msg=f"{name} of {geometry}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [*BIG_BLOCKS, *SMALL], ids=str)
def test_error_stays_below_its_bound(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    """|error| <= (K + 2) * eps * sum |x||w| for a sum of K products (docs/numerics.md)."""
    arrays = {name: array.astype(dtype).astype(np.float64) for name, array in geometry.normal.items()}
    x, w, bias, gy = (arrays[name] for name in ("input", "weight", "bias", "grad_output"))
    options = geometry.options
    truth = {
        "output": reference.conv2d(x, w, bias, **options),
        "grad_input": reference.conv2d_backward_input(x.shape, w, gy, **options),
        "grad_weight": reference.conv2d_backward_weight(x, w.shape, gy, **options),
        "grad_bias": gy.sum(axis=(0, 2, 3)),
    }
    scale = {
        "output": reference.conv2d(abs(x), abs(w), abs(bias), **options),
        "grad_input": reference.conv2d_backward_input(x.shape, abs(w), abs(gy), **options),
        "grad_weight": reference.conv2d_backward_weight(abs(x), w.shape, abs(gy), **options),
        "grad_bias": abs(gy).sum(axis=(0, 2, 3)),
    }
    taps, pixels = int(np.prod(geometry.kernel)), int(np.prod(gy.shape[2:])) * geometry.batch
    terms = {
        "output": taps * w.shape[1],
        "grad_input": taps * geometry.outputs // geometry.groups,
        "grad_weight": pixels,
        "grad_bias": pixels,
    }
    got = run_all(geometry, arrays, dtype, layout, "direct")
    eps = np.finfo(dtype).eps / 2
    for name, array in got.items():
        bound = (terms[name] + 2) * eps * scale[name]
        reference_error = np.finfo(np.float64).eps * scale[name] * terms[name]
        assert np.all(abs(array - truth[name]) <= bound + reference_error), name


@pytest.mark.parametrize("geometry", SMALL, ids=str)
def test_gradients_are_derivatives(geometry: Geometry) -> None:
    a = geometry.normal
    x, w, bias, gy = a["input"], a["weight"], a["bias"], a["grad_output"]
    got = run_all(geometry, a, np.dtype(np.float64), "NCHW")
    gradcheck.assert_gradient(lambda v: ops.conv2d(v, w, bias, **geometry.options), x, gy, got["grad_input"])
    gradcheck.assert_gradient(lambda v: ops.conv2d(x, v, bias, **geometry.options), w, gy, got["grad_weight"])
    gradcheck.assert_gradient(lambda v: ops.conv2d(x, w, v, **geometry.options), bias, gy, got["grad_bias"])


@pytest.mark.parametrize("geometry", [*STRIDES, *GROUPS, *DEPTHWISE], ids=str)
def test_backward_is_the_adjoint(geometry: Geometry, isa: str) -> None:
    """<conv(x), y> = <x, conv^T(y)> = <w, wgrad(x, y)>, exactly, in whole numbers."""
    a = {name: array.astype(np.float32) for name, array in geometry.integers.items()}
    options = geometry.options | {"algo": "direct"}
    y = ops.conv2d(a["input"], a["weight"], **options).astype(np.float64)
    gx = ops.conv2d_backward_input(a["input"].shape, a["weight"], a["grad_output"], **options)
    gw = ops.conv2d_backward_weight(a["input"], a["weight"].shape, a["grad_output"], **options)
    product = np.vdot(y, a["grad_output"].astype(np.float64))
    assert np.vdot(a["input"].astype(np.float64), gx.astype(np.float64)) == product
    assert np.vdot(a["weight"].astype(np.float64), gw.astype(np.float64)) == product


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [SHAPES[3], STRIDES[0], BIG_BLOCKS[0], GROUPS[2], DEPTHWISE[2]], ids=str)
def test_relu_is_fused(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    a = {name: array.astype(dtype) for name, array in geometry.normal.items()}
    x = to_layout(a["input"], layout)
    plain = ops.conv2d(x, a["weight"], a["bias"], **geometry.options, layout=layout)
    fused = ops.conv2d(x, a["weight"], a["bias"], **geometry.options, layout=layout, activation="relu")
    np.testing.assert_array_equal(fused, np.maximum(plain, 0))
    assert not np.signbit(fused).any()
    assert (fused == 0).any()
    assert (fused > 0).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_dimensions_are_one_image(layout: str) -> None:
    g = STRIDES[0]
    a = {name: array.astype(np.float32) for name, array in g.integers.items()}
    x, gy = to_layout(a["input"], layout)[0], to_layout(a["grad_output"], layout)[0]
    y = ops.conv2d(x, a["weight"], a["bias"], **g.options, layout=layout)
    np.testing.assert_array_equal(from_layout(y[None], layout)[0], g.integers["output"][0])
    out = np.empty_like(y)
    assert ops.conv2d(x, a["weight"], a["bias"], **g.options, layout=layout, out=out) is out
    np.testing.assert_array_equal(out, y)
    gx = ops.conv2d_backward_input(x.shape, a["weight"], gy, **g.options, layout=layout)
    np.testing.assert_array_equal(from_layout(gx[None], layout)[0], g.integers["grad_input"][0])
    gw = ops.conv2d_backward_weight(x, a["weight"].shape, gy, **g.options, layout=layout)
    one = reference.conv2d_backward_weight(a["input"][:1], a["weight"].shape, a["grad_output"][:1], **g.options)
    np.testing.assert_array_equal(gw, one)
    np.testing.assert_array_equal(ops.conv2d_backward_bias(gy, layout=layout), a["grad_output"][0].sum(axis=(1, 2)))


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (2, 1, 1), (4, 3, 1), (3, 2, 2), (1, 3, 1)]
)
@pytest.mark.parametrize("name", ["same", "same_lower"])
def test_same_padding(name: str, size: int, kernel: int, stride: int, dilation: int) -> None:
    pad = reference.same_padding(size, kernel, stride, dilation, lower=name == "same_lower")
    x = np.arange(2 * size * size, dtype=np.float32).reshape(1, 2, size, size) % 7
    w = np.arange(6 * kernel * kernel, dtype=np.float32).reshape(3, 2, kernel, kernel) % 5
    got = ops.conv2d(x, w, stride=stride, dilation=dilation, padding=name)
    assert got.shape == (1, 3, -(-size // stride), -(-size // stride))
    expected = reference.conv2d(x, w, None, (stride, stride), (pad, pad), (dilation, dilation), 1)
    np.testing.assert_array_equal(got, expected)
    gx = ops.conv2d_backward_input(x.shape, w, got, stride, name, dilation)
    np.testing.assert_array_equal(gx, ops.conv2d_backward_input(x.shape, w, got, stride, (pad, pad), dilation))


def test_forms_of_padding_mean_the_same() -> None:
    x, w = np.ones((1, 1, 5, 6), np.float32), np.ones((1, 1, 3, 3), np.float32)
    for forms in ([1, (1, 1), ((1, 1), (1, 1)), "same", [1, 1], np.int8(1)], [0, "valid", ((0, 0), (0, 0))]):
        results = [ops.conv2d(x, w, padding=form) for form in forms]
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])


def test_out_is_written_and_returned(isa: str) -> None:
    g = GROUPS[0]
    a = {name: array.astype(np.float32) for name, array in g.integers.items()}
    calls = {
        "output": lambda out: ops.conv2d(a["input"], a["weight"], a["bias"], **g.options, out=out),
        "grad_input": lambda out: ops.conv2d_backward_input(
            a["input"].shape, a["weight"], a["grad_output"], **g.options, out=out
        ),
        "grad_weight": lambda out: ops.conv2d_backward_weight(
            a["input"], a["weight"].shape, a["grad_output"], **g.options, out=out
        ),
        "grad_bias": lambda out: ops.conv2d_backward_bias(a["grad_output"], out=out),
    }
    for name, call in calls.items():
        out = np.full(g.integers[name].shape, np.nan, np.float32)  # what was there must not be read
        assert call(out) is out
        np.testing.assert_array_equal(out, g.integers[name])
