"""Depthwise convolution of the CUDA half, in the emulator: all passes against their definitions."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

import conv2d_cases
import reference
from conv2d_cases import Geometry
from cuda_cases import depthwise, relative_error, to_nchw, to_nhwc
from fastconv import cuda

# Tiles are 2 x 4 outputs; a block has up to 32 accesses of 1 or 4 channels.
CHOSEN = [
    depthwise(8, (9, 7), 3, pad=1),
    depthwise(132, (4, 5), 3, padding=((0, 1), (2, 0)), batch=1),
    depthwise(5, (7, 9), 3, pad=3),
    depthwise(12, (11, 10), 3, pad=1, stride=(2, 2)),
    depthwise(4, (9, 13), 5, pad=2),
    depthwise(8, (12, 11), 5, padding=((2, 1), (1, 3)), stride=(2, 2), batch=3),
    depthwise(3, (8, 9), 5, pad=2, multiplier=2),
    depthwise(6, (6, 7), 3, padding=((1, 0), (0, 1)), multiplier=3, stride=(2, 2)),
    depthwise(16, (10, 9), 3, pad=2, dilation=(2, 3)),
    depthwise(4, (9, 12), (2, 7), padding=((1, 0), (3, 4)), stride=(1, 3)),
    depthwise(8, (13, 11), 3, stride=(3, 4), dilation=(2, 1), padding=((4, 1), (0, 2))),
    depthwise(2, (5, 6), (4, 1), multiplier=5, stride=(2, 1), padding=((3, 0), (0, 0))),
    depthwise(128, (10, 11), 10, batch=1),  # weights of a block do not fit shared memory
    depthwise(8, (6, 6), 3, pad=1, batch=0),
]
EXISTING = [
    g for g in conv2d_cases.DEPTHWISE + conv2d_cases.LANES if g.groups == g.channels > 1 and g.channels // g.groups == 1
]
CASES = CHOSEN + EXISTING if os.environ.get("FASTCONV_TEST_CUDA") == "all" else CHOSEN
IEEE = 2e-6  # relative error that float32 may have


def single(array: np.ndarray) -> np.ndarray:
    return to_nhwc(array.astype(np.float32))


def poison(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


def run_all(g: Geometry, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All passes; results come back in the order of the reference."""
    x, w, gy = single(arrays["input"]), single(arrays["weight"]), single(arrays["grad_output"])
    bias = arrays["bias"].astype(np.float32)
    y = cuda.conv2d(x, w, bias, **g.options, out=poison(gy.shape))
    gx = cuda.conv2d_backward_input(x.shape, w, gy, **g.options, out=poison(x.shape))
    needed = cuda.conv2d_backward_weight_workspace_bytes(x.shape, w.shape, **g.options)
    gw = cuda.conv2d_backward_weight(x, w.shape, gy, **g.options, workspace=poison((needed // 4,)), out=poison(w.shape))
    return {"output": to_nchw(y), "grad_input": to_nchw(gx), "grad_weight": to_nchw(gw)}


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_all_passes(any_mode: ModuleType, geometry: Geometry) -> None:
    exact = run_all(geometry, geometry.integers)
    again = run_all(geometry, geometry.integers)
    close = run_all(geometry, geometry.normal)
    for name, array in exact.items():
        np.testing.assert_array_equal(array, geometry.integers[name], name)
        np.testing.assert_array_equal(array.view(np.uint32), again[name].view(np.uint32), name)
        assert relative_error(close[name], geometry.normal[name]) < IEEE, name


def test_many_slices_of_a_weight(any_mode: ModuleType) -> None:
    """Sums of more than one pass, whose slices end in the middle of an image."""
    for kernel, pad in ((3, 1), (5, 2), (2, 0)):
        geometry = depthwise(36, (31, 19), kernel, pad=pad, batch=3)
        x, weight_shape = single(geometry.integers["input"]), single(geometry.integers["weight"]).shape
        assert cuda.conv2d_backward_weight_workspace_bytes(x.shape, weight_shape, **geometry.options) > 0
        gw = cuda.conv2d_backward_weight(x, weight_shape, single(geometry.integers["grad_output"]), **geometry.options)
        np.testing.assert_array_equal(to_nchw(gw), geometry.integers["grad_weight"])


def test_gradients_that_add_up(any_mode: ModuleType) -> None:
    for geometry in (CHOSEN[0], CHOSEN[9], depthwise(36, (31, 19), 3, pad=1, batch=3)):
        a = geometry.integers
        x, w, gy = single(a["input"]), single(a["weight"]), single(a["grad_output"])
        gw = w.copy()
        cuda.conv2d_backward_weight(x, w.shape, gy, **geometry.options, accumulate=True, out=gw)
        np.testing.assert_array_equal(to_nchw(gw), a["weight"] + a["grad_weight"])


def test_the_workspace_is_bounded(emulated: ModuleType) -> None:
    for channels, kernel in ((32, 3), (1024, 3), (4096, 5), (3, 5), (2048, 7), (64, 31)):
        shape = (256, 112, 112, channels)
        needed = cuda.conv2d_backward_weight_workspace_bytes(shape, (channels, kernel, kernel, 1), groups=channels)
        assert needed <= 16 << 20


def test_relu_and_its_mask(any_mode: ModuleType, rng: np.random.Generator) -> None:
    for geometry in (CHOSEN[0], CHOSEN[2], CHOSEN[3]):
        a = geometry.normal
        x, w, gy = single(a["input"]), single(a["weight"]), single(a["grad_output"])
        y = cuda.conv2d(x, w, a["bias"].astype(np.float32), **geometry.options, activation="relu")
        assert relative_error(to_nchw(y), np.maximum(a["output"], 0)) < IEEE
        mask = np.zeros(cuda.elementwise.mask_shape(x.shape), np.uint32)
        passed = cuda.relu(x, mask=mask) > 0
        gx = cuda.conv2d_backward_input(x.shape, w, gy, **geometry.options, mask=mask)
        assert relative_error(to_nchw(gx), np.where(to_nchw(passed), a["grad_input"], 0)) < IEEE


def test_bits_do_not_depend_on_the_address_or_the_batch(emulated: ModuleType) -> None:
    geometry = CHOSEN[0]
    a = geometry.normal
    x, w, gy = single(a["input"]), single(a["weight"]), single(a["grad_output"])
    shifted = {}
    for name, array in (("x", x), ("gy", gy)):
        shifted[name] = np.empty(array.size + 1, np.float32)[1:].reshape(array.shape)
        shifted[name][...] = array
    y = cuda.conv2d(x, w, **geometry.options)
    np.testing.assert_array_equal(y, cuda.conv2d(shifted["x"], w, **geometry.options))
    np.testing.assert_array_equal(y[1:], cuda.conv2d(x[1:].copy(), w, **geometry.options))
    for gradient in (
        lambda x, gy: cuda.conv2d_backward_input(x.shape, w, gy, **geometry.options),
        lambda x, gy: cuda.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
    ):
        np.testing.assert_array_equal(gradient(x, gy), gradient(shifted["x"], shifted["gy"]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight", "grad_output"])
def test_what_is_not_finite(emulated: ModuleType, value: float, where: str) -> None:
    """It reaches what it meets in the definition and nothing else; padding takes no part."""
    for geometry in (CHOSEN[0], CHOSEN[3], CHOSEN[8]):
        arrays = {name: array.copy() for name, array in geometry.normal.items()}
        # A corner of grad_output and the last column of the input are not met by every tap.
        at = {"input": (0, 0, 1, -1), "weight": (0, 0, 1, 2), "grad_output": (0, 0, 0, 0)}[where]
        arrays[where][at] = value
        with np.errstate(invalid="ignore"):
            truth = {
                "output": reference.conv2d(arrays["input"], arrays["weight"], arrays["bias"], **geometry.options),
                "grad_input": reference.conv2d_backward_input(
                    arrays["input"].shape, arrays["weight"], arrays["grad_output"], **geometry.options
                ),
                "grad_weight": reference.conv2d_backward_weight(
                    arrays["input"], arrays["weight"].shape, arrays["grad_output"], **geometry.options
                ),
            }
        for name, array in run_all(geometry, arrays).items():
            np.testing.assert_array_equal(np.isnan(array), np.isnan(truth[name]), name)
            np.testing.assert_array_equal(np.isinf(array), np.isinf(truth[name]), name)


def test_the_kind_of_kernel(emulated: ModuleType) -> None:
    def kind(c: int, o: int, groups: int, kernel: int = 3) -> str:
        shape = emulated.Conv2dShape(
            (1, c, 9, 9), (o, c // groups, kernel, kernel), (1, 1), ((0, 0), (0, 0)), (1, 1), groups
        )
        return str(emulated.explain_conv2d_kind(shape))

    assert kind(8, 8, 8).startswith("depthwise: ")
    assert kind(8, 8, 8).endswith("loops written out for this filter and stride; 4 channels in an access")
    assert "loops for any filter" in kind(8, 8, 8, 4)
    assert "one channel in an access" in kind(8, 16, 8)
    assert kind(8, 8, 4).startswith("general: ")
    assert not kind(1, 8, 1).startswith("depthwise")


def test_errors(emulated: ModuleType) -> None:
    x, w, gy = np.zeros((2, 40, 40, 8), np.float32), np.zeros((8, 3, 3, 1), np.float32), np.zeros((2, 38, 38, 8), "f4")
    with pytest.raises(ValueError, match=r"conv2d_backward_input: grad_output must have shape \(2, 38, 38, 8\)"):
        cuda.conv2d_backward_input(x.shape, w, x, groups=8)
    with pytest.raises(ValueError, match="conv2d_backward_weight: workspace must have at least [0-9]+ elements, got 1"):
        cuda.conv2d_backward_weight(x, w.shape, gy, groups=8, workspace=np.zeros(1, np.float32))
