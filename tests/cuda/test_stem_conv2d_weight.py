"""The gradient of a first layer's weight on CUDA, in the emulator: images of 1 to 4 channels, from either layout."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import poisoned, relative_error, same_bits, to_nchw, to_nhwc
from fastconv import cuda

IEEE = 2e-6  # relative error that float32 may have

# A thread owns 5, 7 or 9 taps of a row and 8 channels; a block at most 64 channels; a strip has 4 pixels. Windows that
# move by 1 or 3 numbers, and any other; several slices, parts, blocks beside each other.
CASES = [
    Geometry(1, 6, (14, 13), (5, 5), padding=((2, 2), (2, 2)), batch=9),
    Geometry(3, 64, (11, 18), (3, 3), padding=((1, 1), (1, 1)), batch=3),
    Geometry(3, 20, (19, 37), (7, 7), stride=(2, 2), padding=((3, 3), (3, 3))),
    Geometry(3, 35, (10, 9), (3, 3), stride=(2, 1), padding=((1, 0), (2, 1))),
    Geometry(4, 70, (9, 17), (1, 1)),
    Geometry(2, 5, (23, 14), (4, 3), stride=(3, 1), padding=((2, 1), (0, 2)), dilation=(2, 3)),
    Geometry(3, 72, (26, 9), (13, 7), padding=((9, 2), (5, 1)), dilation=(1, 2), batch=1),
    Geometry(4, 12, (12, 50), (4, 4), stride=(4, 5), dilation=(1, 4)),
    Geometry(1, 1, (1, 1), (1, 1)),
    Geometry(3, 8, (6, 6), (3, 3), batch=0),
]
SLICED = CASES[0]


def run(g: Geometry, data: dict[str, np.ndarray], layout: str = "NHWC", **options: object) -> np.ndarray:
    """The gradient as NCHW; result and workspace hold NaN before."""
    x, gy = data["input"].astype(np.float32), to_nhwc(data["grad_output"].astype(np.float32))
    last = to_nhwc(x)
    o, c, kh, kw = g.weight_shape
    window = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation}
    size = cuda.conv2d_backward_weight_workspace_bytes(last.shape, (o, kh, kw, c), **window)
    return to_nchw(
        cuda.stem_conv2d_backward_weight(
            x if layout == "NCHW" else last,
            (o, kh, kw, c),
            gy,
            **window,
            layout=layout,
            workspace=poisoned((size // 4,), "float32"),
            **{"out": poisoned((o, kh, kw, c), "float32"), **options},
        )
    )


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_exact_on_whole_numbers(any_mode: ModuleType, geometry: Geometry) -> None:
    for layout in ("NHWC", "NCHW"):
        np.testing.assert_array_equal(run(geometry, geometry.integers, layout), geometry.integers["grad_weight"])


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_real_numbers(emulated: ModuleType, geometry: Geometry) -> None:
    """Close to the truth, with the same bits twice, from either layout, and where conv2d takes the kernel by itself."""
    data = geometry.normal
    gw = run(geometry, data)
    assert relative_error(gw, data["grad_weight"]) < IEEE
    assert same_bits(gw, run(geometry, data, "NCHW"))
    x, gy = (to_nhwc(data[name].astype(np.float32)) for name in ("input", "grad_output"))
    w_shape = to_nhwc(np.empty(geometry.weight_shape)).shape
    assert same_bits(gw, to_nchw(cuda.conv2d_backward_weight(x, w_shape, gy, **geometry.options)))


def test_accumulate(emulated: ModuleType) -> None:
    truth = SLICED.integers["grad_weight"]
    out = np.full(to_nhwc(truth).shape, 3, np.float32)
    run(SLICED, SLICED.integers, out=out, accumulate=True)
    np.testing.assert_array_equal(to_nchw(out), truth + 3)


def test_addresses_that_are_not_aligned_to_16_bytes(emulated: ModuleType) -> None:
    g, data = CASES[1], CASES[1].integers
    memory = np.empty(data["grad_output"].size + 1, np.float32)
    gy = memory[1:].reshape(to_nhwc(data["grad_output"]).shape)
    gy[...] = to_nhwc(data["grad_output"])
    gw = cuda.stem_conv2d_backward_weight(
        data["input"].astype(np.float32), (64, 3, 3, 3), gy, padding=g.padding, layout="NCHW"
    )
    np.testing.assert_array_equal(to_nchw(gw), data["grad_weight"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "grad_output"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_is_not_finite(emulated: ModuleType, value: float, where: str, layout: str) -> None:
    """It reaches what reads it and nothing else; padding reads no gradients."""
    geometry = CASES[3]
    data = {name: array.copy() for name, array in geometry.normal.items()}
    data[where][1, 1, 0, 1] = value
    with np.errstate(invalid="ignore"):
        truth = reference.conv2d_backward_weight(
            data["input"], geometry.weight_shape, data["grad_output"], **geometry.options
        )
    gw = run(geometry, data, layout)
    np.testing.assert_array_equal(np.isnan(gw), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(gw), np.isinf(truth))
    finite = np.isfinite(truth)
    assert relative_error(gw[finite], truth[finite]) < IEEE


def test_what_takes_it(emulated: ModuleType) -> None:
    def choice(channels: int, kernel: int, stride: int = 1, groups: int = 1, precision: str = "ieee") -> str:
        shape = emulated.Conv2dShape(
            (64, channels, 256, 256),
            (64, channels // groups, kernel, kernel),
            (stride, stride),
            ((0, 0), (0, 0)),
            (1, 1),
            groups,
        )
        options = {"dtype": "float32", "precision": precision, "aligned": True, "compute_capability": 90}
        size = emulated.conv2d_backward_weight_workspace_bytes(shape, precision=precision)
        assert size <= 264 * 128 * 128 * 4
        return str(emulated.conv2d_backward_weight_choice(shape, **options)).partition(" ")[0]

    assert {choice(c, 7, 2) for c in (1, 2, 3, 4)} == {"stem_conv2d_backward_weight"}
    assert choice(3, 16, 16) == "stem_conv2d_backward_weight"  # patches of a transformer
    assert choice(5, 7, 2) == choice(4, 4, groups=2) == "conv2d_backward_weight_simt"
    assert choice(3, 200) == "conv2d_backward_weight_simt"  # the image under 4 outputs does not fit
    assert choice(3, 7, 2, precision="tf32") == "conv2d_backward_weight_mma"
    assert choice(4, 3, groups=4) == "depthwise_conv2d_backward_weight"


def test_errors(emulated: ModuleType) -> None:
    x, gy = np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 6, 6, 4), np.float32)
    call = cuda.stem_conv2d_backward_weight
    with pytest.raises(ValueError, match=r"stem_conv2d_backward_weight: grad_output must have shape \(1, 6, 6, 4\)"):
        call(x, (4, 3, 3, 3), gy[:, :1].copy())
    with pytest.raises(ValueError, match="stem_conv2d_backward_weight: input must have 1 to 4 channels in one group"):
        call(np.zeros((1, 5, 8, 8), np.float32), (4, 3, 3, 5), gy)
    with pytest.raises(ValueError, match="stem_conv2d_backward_weight: accumulate=True needs out"):
        call(x, (4, 3, 3, 3), gy, accumulate=True)
    with pytest.raises(ValueError, match="stem_conv2d_backward_weight: workspace must have at least 108 elements"):
        call(x, (4, 3, 3, 3), gy, workspace=np.zeros(9, np.float32))
    with pytest.raises(TypeError, match="stem_conv2d_backward_weight: grad_output must be float32, got float16"):
        call(x, (4, 3, 3, 3), gy.astype(np.float16))
