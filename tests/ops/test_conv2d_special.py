"""Convolution of what nobody plans for: NaN, Inf, and any geometry that hypothesis can think of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import reference
from conv2d_cases import (
    BIG_BLOCKS,
    DEPTHWISE,
    GROUPS,
    IMAGE_TILES,
    LANES,
    LAYOUTS,
    PADDINGS,
    STRIDES,
    Geometry,
    from_layout,
    run_all,
    to_layout,
)
from fastconv import ops


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "geometry",
    [BIG_BLOCKS[0], STRIDES[0], PADDINGS[0], GROUPS[2], DEPTHWISE[3], *LANES[-9:-3], IMAGE_TILES[0]],
    ids=str,
)
def test_not_a_number_stays_in_its_field(geometry: Geometry, poison: float, layout: str, isa: str) -> None:
    """One bad value reaches exactly the results that read it; all others keep their bits."""
    clean = run_all(geometry, geometry.normal, np.dtype(np.float32), layout, "direct")
    for name in ("input", "weight", "grad_output"):
        a = {key: array.copy() for key, array in geometry.normal.items()}
        a[name][tuple(size // 2 for size in a[name].shape)] = poison
        x, w, gy = a["input"], a["weight"], a["grad_output"]
        with np.errstate(invalid="ignore"):
            truth = {
                "output": reference.conv2d(x, w, a["bias"], **geometry.options),
                "grad_input": reference.conv2d_backward_input(x.shape, w, gy, **geometry.options),
                "grad_weight": reference.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
            }
        got = run_all(geometry, a, np.dtype(np.float32), layout, "direct")
        for result, expected in truth.items():
            fine = np.isfinite(expected)
            np.testing.assert_array_equal(got[result][fine], clean[result][fine], err_msg=f"{name} in {result}")
            np.testing.assert_array_equal(np.isnan(got[result]), np.isnan(expected), err_msg=f"{name} in {result}")
            np.testing.assert_array_equal(np.isposinf(got[result]), np.isposinf(expected))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_zero_padding_does_not_meet_an_infinite_weight(layout: str, dtype: np.dtype, isa: str) -> None:
    """A tap outside the image takes no part: 0 * Inf must not make NaN there."""
    for channels, outputs, groups in ((3, 20, 1), (16, 16, 16), (16, 16, 4)):
        x = np.ones((1, channels, 6, 7), dtype)
        w = np.ones((outputs, channels // groups, 3, 3), dtype)
        w[1, :, 0, 0] = np.inf
        y = ops.conv2d(to_layout(x, layout), w, padding=1, groups=groups, layout=layout)
        y = from_layout(y, layout)
        assert not np.isnan(y).any()
        assert np.isfinite(y[:, 1, 0]).all()
        assert np.isfinite(y[:, 1, :, 0]).all()
        assert np.isposinf(y[:, 1, 1:, 1:]).all()
        assert np.isfinite(y[:, 0]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_taps_outside_take_no_part_in_the_gradients(layout: str, dtype: np.dtype, isa: str) -> None:
    """The same for grad_input (Inf in the weight) and for grad_weight (Inf in grad_output)."""
    for channels, outputs, groups in ((3, 20, 1), (16, 16, 16), (16, 16, 4)):
        x = np.ones((1, channels, 6, 7), dtype)
        w = np.ones((outputs, channels // groups, 3, 3), dtype)
        gy = np.ones((1, outputs, 6, 7), dtype)
        gy[0, 1, 0, 0] = np.inf
        gw = ops.conv2d_backward_weight(
            to_layout(x, layout), w.shape, to_layout(gy, layout), padding=1, groups=groups, layout=layout
        )
        assert np.isfinite(gw[1, :, 0]).all()
        assert np.isfinite(gw[1, :, :, 0]).all()
        assert np.isposinf(gw[1, :, 1:, 1:]).all()
        assert np.isfinite(gw[0]).all()
        w[1, :, 0, 0] = np.inf
        gy[0, 1, 0, 0] = 1
        gx = ops.conv2d_backward_input(
            to_layout(x, layout).shape, w, to_layout(gy, layout), padding=1, groups=groups, layout=layout
        )
        gx = from_layout(gx, layout)[0, 1 if groups > 1 else slice(None)]
        assert np.isfinite(gx[..., 5, :]).all()
        assert np.isfinite(gx[..., 6]).all()
        assert np.isposinf(gx[..., :5, :6]).all()


# Any geometry at all

HUGE = [2**31 - 1, 2**31, 2**32 + 1, 2**62, 2**63 - 1]
SMALL_OR_ODD = st.one_of(st.integers(1, 6), st.integers(-2, 9), st.sampled_from(HUGE))


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, object]:
    groups = draw(st.integers(1, 3))
    two = st.tuples(st.integers(1, 4), st.integers(1, 4))
    return {
        "input": (
            draw(st.integers(0, 3)),
            groups * draw(st.integers(1, 4)),
            draw(st.integers(1, 9)),
            draw(st.integers(1, 20)),
        ),
        "outputs": groups * draw(st.integers(1, 9)),
        "kernel": draw(two),
        "stride": draw(two),
        "padding": (
            draw(st.tuples(st.integers(0, 4), st.integers(0, 4))),
            draw(st.tuples(st.integers(0, 4), st.integers(0, 4))),
        ),
        "dilation": draw(two),
        "groups": groups,
        "layout": draw(st.sampled_from(LAYOUTS)),
    }


@settings(deadline=None, max_examples=300)
@given(sizes())
def test_any_small_geometry_is_right_or_refused(s: dict) -> None:
    n, c, *image = s["input"]
    g = Geometry(c, s["outputs"], tuple(image), s["kernel"], s["stride"], s["padding"], s["dilation"], s["groups"], n)
    fits = min(g.output_shape[2:]) >= 1
    if not fits:
        x = to_layout(np.zeros(g.input_shape, np.float32), s["layout"])
        with pytest.raises(ValueError, match="conv2d: "):
            ops.conv2d(x, np.zeros(g.weight_shape, np.float32), **g.options, layout=s["layout"])
        return
    got = run_all(g, g.integers, np.dtype(np.float32), s["layout"])
    for name, array in got.items():
        np.testing.assert_array_equal(array, g.integers[name])


def expected_elements(image: tuple[int, int], kernel: tuple[int, int], options: dict) -> int:
    """Elements of an output image, 0 where the library must refuse."""
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    if min(*stride, *dilation) < 1 or min(min(pad) for pad in padding) < 0:
        return 0
    sizes = (reference.conv_output_size(image[a], padding[a], kernel[a], stride[a], dilation[a]) for a in (0, 1))
    return math.prod(max(0, size) for size in sizes)


@settings(deadline=None, max_examples=500)
@given(
    stride=st.tuples(SMALL_OR_ODD, SMALL_OR_ODD),
    padding=st.tuples(st.tuples(SMALL_OR_ODD, SMALL_OR_ODD), st.tuples(SMALL_OR_ODD, SMALL_OR_ODD)),
    dilation=st.tuples(SMALL_OR_ODD, SMALL_OR_ODD),
    groups=st.one_of(st.sampled_from([1, 2, 3, 6]), SMALL_OR_ODD),
)
def test_any_options_are_right_or_refused(stride: tuple, padding: tuple, dilation: tuple, groups: int) -> None:
    """Absurd sizes end in an error before anything is allocated, the others in the right result."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    fits = groups in (1, 2, 3, 6)
    x, w = np.ones((1, 6, 7, 8), np.float32), np.ones((6, 6 // groups if fits else 1, 2, 3), np.float32)
    elements = expected_elements((7, 8), (2, 3), options) if fits else 0
    assume(elements < 10**5 or elements > 10**13)  # between lies what is legal, but fills a real machine
    assume(math.prod(20 + sum(pad) for pad in padding) < 2**60 or elements == 0)  # ... and what 64 bits cannot address
    if 0 < elements < 10**5:
        np.testing.assert_array_equal(ops.conv2d(x, w, **options), reference.conv2d(x, w, None, **options))
    else:
        with pytest.raises((ValueError, MemoryError), match="^conv2d: "):
            ops.conv2d(x, w, **options)
