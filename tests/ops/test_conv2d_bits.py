"""The same bits, whatever the threads, the split of the batch, the alignment, the strides."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
from conv2d_cases import (
    GROUPS,
    LAYOUTS,
    SHAPES,
    SMALL,
    STRIDES,
    Geometry,
    assert_same_bits,
    from_layout,
    run_all,
    to_layout,
)
from fastconv import ops

HEAVY = [
    Geometry(32, 64, (13, 13), (3, 3), batch=9),
    Geometry(64, 64, (14, 14), (3, 3), padding=((1, 1), (1, 1)), batch=3),
    Geometry(3, 32, (40, 40), (7, 7), (2, 2), ((3, 3), (3, 3)), batch=5),
    Geometry(64, 48, (28, 28), (1, 1), batch=3),
    Geometry(1, 32, (28, 28), (3, 3), batch=11),
    Geometry(64, 64, (3, 3), (3, 3), padding=((2, 2), (2, 2)), batch=11),
    Geometry(48, 48, (30, 30), (3, 3), padding=((1, 1), (1, 1)), groups=48, batch=5),
    Geometry(32, 32, (28, 28), (5, 5), padding=((2, 2), (2, 2)), groups=4, batch=3),
    Geometry(40, 96, (33, 40), (1, 1), batch=3),
    Geometry(130, 66, (23, 24), (3, 3), (2, 2), padding=((1, 1), (1, 1)), batch=7),
    Geometry(64, 64, (28, 28), (3, 3), (2, 2), ((1, 1), (1, 1)), groups=16, batch=3),
    Geometry(144, 144, (21, 23), (5, 5), (2, 2), ((2, 2), (2, 2)), groups=144, batch=3),
    Geometry(16, 16, (1, 4000), (1, 3), padding=((0, 0), (1, 1)), groups=16),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", HEAVY, ids=str)
def test_bits_do_not_depend_on_threads(geometry: Geometry, layout: str, dtype: np.dtype) -> None:
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(run_all(geometry, geometry.normal, dtype, layout))
    for other in results[1:]:
        assert_same_bits(other, results[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", HEAVY, ids=str)
def test_bits_do_not_depend_on_the_split_of_the_batch(geometry: Geometry, layout: str, isa: str) -> None:
    a = {name: array.astype(np.float32) for name, array in geometry.normal.items()}
    x, gy = to_layout(a["input"], layout), to_layout(a["grad_output"], layout)

    def forward(part: slice) -> NDArray:
        return ops.conv2d(x[part], a["weight"], a["bias"], **geometry.options, layout=layout)

    def backward(part: slice) -> NDArray:
        return ops.conv2d_backward_input(x[part].shape, a["weight"], gy[part], **geometry.options, layout=layout)

    for run in (forward, backward):
        whole = run(slice(None))
        for cut in range(1, geometry.batch):
            parts = np.concatenate([run(slice(0, cut)), run(slice(cut, None))])
            assert parts.tobytes() == whole.tobytes(), (run.__name__, cut)


@pytest.mark.parametrize("channels", [7, 20, 64])
def test_zeros_keep_their_sign_whatever_the_batch(channels: int, isa: str) -> None:
    """Sums of -0: a padded tap that one batch multiplies, adding +0, and another leaves out would show."""
    x = np.full((16, 3, 3, channels), -1e-30, np.float32)
    w = np.full((40, channels, 3, 3), 1e-20, np.float32)
    bias = np.full(40, -0.0, np.float32)
    whole = ops.conv2d(x, w, bias, padding=2, layout="NHWC", algo="direct")
    assert np.signbit(whole).all()
    for cut in (1, 7, 8):
        parts = [ops.conv2d(part, w, bias, padding=2, layout="NHWC", algo="direct") for part in (x[:cut], x[cut:])]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), cut


def shifted(array: NDArray, offset: int) -> NDArray:
    """A copy whose data starts `offset` bytes after a 64-byte boundary."""
    buffer = np.zeros(array.nbytes + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    view = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("offset", [0, 1, 4, 20, 63])
@pytest.mark.parametrize("geometry", [HEAVY[0], HEAVY[5], SMALL[1], SMALL[5]], ids=str)
def test_bits_do_not_depend_on_alignment(geometry: Geometry, offset: int, isa: str) -> None:
    a = {name: array.astype(np.float32) for name, array in geometry.normal.items()}
    moved = {name: shifted(array, offset) for name, array in a.items()}
    for layout in LAYOUTS:
        x, gy = (shifted(to_layout(moved[n], layout), offset) for n in ("input", "grad_output"))
        assert x.flags.aligned == (offset % 4 == 0)
        got = {
            "output": from_layout(
                ops.conv2d(x, moved["weight"], moved["bias"], **geometry.options, layout=layout), layout
            ),
            "grad_weight": ops.conv2d_backward_weight(x, moved["weight"].shape, gy, **geometry.options, layout=layout),
            "grad_bias": ops.conv2d_backward_bias(gy, layout=layout),
        }
        expected = run_all(geometry, a, np.dtype(np.float32), layout)
        assert_same_bits(got, {name: expected[name] for name in got})


# Outputs and gradients of more than 8 MB, which are stored past the caches where they begin on a cache line.
LARGE = [
    Geometry(3, 64, (182, 181), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    Geometry(64, 96, (153, 151), (1, 1), batch=1),
    Geometry(64, 32, (183, 181), (3, 3), (2, 2), ((1, 1), (1, 1)), batch=1),
    Geometry(64, 128, (128, 130), (2, 2), (2, 2), groups=2, batch=2),
]


@pytest.mark.parametrize("geometry", LARGE, ids=str)
def test_bits_do_not_depend_on_where_stores_go(geometry: Geometry, dtype: np.dtype, isa: str) -> None:
    a = {name: array.astype(dtype) for name, array in geometry.normal.items()}
    w, bias, options = a["weight"], a["bias"], {**geometry.options, "layout": "NHWC"}
    x, gy = (to_layout(a[name], "NHWC") for name in ("input", "grad_output"))
    results = []
    for count, offset in ((1, 8), (1, 0), (2, 0), (3, 0), (2, 16)):
        with fastconv.threads(count):
            y, gx = shifted(gy, offset), shifted(x, offset)
            ops.conv2d(x, w, bias, **options, activation="relu", out=y)
            ops.conv2d_backward_input(x.shape, w, gy, **options, out=gx)
            results.append((y, gx))
    for y, gx in results[1:]:
        assert y.tobytes() == results[0][0].tobytes()
        assert gx.tobytes() == results[0][1].tobytes()
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(
        from_layout(results[1][0], "NHWC"), np.maximum(a["output"], 0), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(from_layout(results[1][1], "NHWC"), a["grad_input"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("geometry", [SHAPES[4], STRIDES[1], GROUPS[0]], ids=str)
def test_strided_inputs_give_the_same_bits(geometry: Geometry, dtype: np.dtype) -> None:
    a = {name: array.astype(dtype) for name, array in geometry.normal.items()}
    expected = run_all(geometry, a, dtype, "NCHW")
    views = {
        "reversed": lambda v: v[..., ::-1].copy()[..., ::-1],
        "every second": lambda v: np.repeat(v, 2, axis=-1)[..., ::2],
        "fortran": np.asfortranarray,
        "read-only": lambda v: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape),
    }
    for kind, view in views.items():
        x, w, bias, gy = (view(a[name]) for name in ("input", "weight", "bias", "grad_output"))
        got = {
            "output": ops.conv2d(x, w, bias, **geometry.options),
            "grad_input": ops.conv2d_backward_input(x.shape, w, gy, **geometry.options),
            "grad_weight": ops.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
            "grad_bias": ops.conv2d_backward_bias(gy),
        }
        for name, array in got.items():
            assert array.tobytes() == expected[name].tobytes(), (kind, name)


def test_broadcast_inputs_are_read_through_their_zero_strides() -> None:
    x = np.broadcast_to(np.float32(2), (2, 3, 5, 5))
    w = np.broadcast_to(np.arange(3, dtype=np.float32).reshape(3, 1, 1), (4, 3, 3, 3))
    np.testing.assert_array_equal(ops.conv2d(x, w), np.full((2, 4, 3, 3), 2 * 9 * (0 + 1 + 2), np.float32))


def test_inputs_are_not_written() -> None:
    g = STRIDES[0]
    a = {name: array.astype(np.float32) for name, array in g.normal.items()}
    before = {name: array.copy() for name, array in a.items()}
    for layout in LAYOUTS:
        run_all(g, a, np.dtype(np.float32), layout)
    assert_same_bits(a, before)
