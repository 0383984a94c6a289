"""The first layer of a network on CUDA, in the emulator: images of few channels, from either layout."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import relative_error, to_nchw, to_nhwc
from fastconv import cuda

IEEE = 2e-6  # relative error that float32 may have

# Tiles are 8 x 16 outputs of 32 or 64 channels.
CASES = [
    Geometry(1, 6, (11, 19), (5, 5)),
    Geometry(3, 64, (19, 37), (7, 7), stride=(2, 2), padding=((3, 3), (3, 3))),
    Geometry(3, 35, (10, 9), (3, 3), padding=((1, 0), (2, 1))),
    Geometry(4, 70, (9, 17), (1, 1), batch=3),
    Geometry(2, 5, (23, 14), (4, 3), stride=(3, 1), padding=((2, 1), (0, 2)), dilation=(2, 3)),
    Geometry(3, 66, (9, 8), (2, 2), stride=(1, 4), padding=((9, 9), (8, 8)), batch=1),
    Geometry(1, 1, (1, 1), (1, 1)),
    Geometry(3, 8, (6, 6), (3, 3), batch=0),
]


def single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def windows(g: Geometry) -> dict[str, object]:
    return {"stride": g.stride, "padding": g.padding, "dilation": g.dilation}


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_both_layouts(any_mode: ModuleType, geometry: Geometry) -> None:
    for exact, a in ((True, geometry.integers), (False, geometry.normal)):
        x, w, b = single(a["input"]), to_nhwc(single(a["weight"])), single(a["bias"])
        out = np.full(to_nhwc(a["output"]).shape, np.nan, np.float32)
        y = cuda.stem_conv2d(x, w, b, **windows(geometry), out=out)
        if exact:
            np.testing.assert_array_equal(to_nchw(y), a["output"])
        assert relative_error(to_nchw(y), a["output"]) < IEEE
        last = cuda.conv2d(to_nhwc(x), w, b, **windows(geometry))
        np.testing.assert_array_equal(y.view(np.uint32), last.view(np.uint32))
    relu = cuda.stem_conv2d(to_nhwc(x), w, **windows(geometry), layout="NHWC", activation="relu")
    truth = reference.conv2d(a["input"], a["weight"], None, **geometry.options)
    assert relative_error(to_nchw(relu), np.maximum(truth, 0)) < IEEE


def test_outputs_that_are_not_aligned_to_16_bytes(emulated: ModuleType) -> None:
    a = CASES[1].normal
    x, w = single(a["input"]), to_nhwc(single(a["weight"]))
    y = cuda.stem_conv2d(x, w, **windows(CASES[1]))
    shifted = np.empty(y.size + 1, np.float32)[1:].reshape(y.shape)
    np.testing.assert_array_equal(y, cuda.stem_conv2d(x, w, **windows(CASES[1]), out=shifted))
    np.testing.assert_array_equal(y[1:], cuda.stem_conv2d(x[1:].copy(), w, **windows(CASES[1])))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight"])
def test_what_is_not_finite(emulated: ModuleType, value: float, where: str) -> None:
    """It reaches what reads it and nothing else; padding does not read weights."""
    geometry = CASES[2]
    a = {name: array.copy() for name, array in geometry.normal.items()}
    a[where][1, 1, 0, 2] = value
    with np.errstate(invalid="ignore"):
        truth = reference.conv2d(a["input"], a["weight"], None, **geometry.options)
    y = to_nchw(cuda.stem_conv2d(single(a["input"]), to_nhwc(single(a["weight"])), **windows(geometry)))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(truth))


def test_the_kind_of_kernel(emulated: ModuleType) -> None:
    def kind(channels: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        shape = emulated.Conv2dShape(
            (1, channels, 900, 900),
            (8, channels // groups, kernel, kernel),
            (stride, stride),
            ((0, 0), (0, 0)),
            (1, 1),
            groups,
        )
        return str(emulated.explain_conv2d_kind(shape)).partition(":")[0]

    assert [kind(c, 7, 2) for c in (1, 3, 4, 5)] == ["stem", "stem", "stem", "general"]
    assert kind(3, 11, 4) == "stem"
    assert kind(3, 16, 16) == "general"  # patches of a transformer: a tile does not fit
    assert kind(1, 800) == "general"
    assert kind(4, 3, groups=4) == "depthwise"


def test_errors(emulated: ModuleType) -> None:
    x = np.zeros((1, 3, 40, 40), np.float32)
    with pytest.raises(ValueError, match="stem_conv2d: input must have 1 to 4 channels in one group, got 5 in 1"):
        cuda.stem_conv2d(np.zeros((1, 5, 9, 9), np.float32), np.zeros((2, 3, 3, 5), np.float32))
    with pytest.raises(ValueError, match="stem_conv2d: the image under a tile must fit 48 KB"):
        cuda.stem_conv2d(x, np.zeros((2, 16, 16, 3), np.float32), stride=16)
    with pytest.raises(ValueError, match="stem_conv2d: weight must have shape"):
        cuda.stem_conv2d(x, np.zeros((2, 3, 3, 40), np.float32))
