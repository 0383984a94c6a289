"""Gradients of convolution by wgmma and TMA, in the emulator: against their definition in float64."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

import fastconv
from conv2d_cases import Geometry
from cuda_arrays import GpuArray
from cuda_cases import as_numbers, bits_of, poisoned, relative_error, same_bits, stored
from fastconv import cuda
from fastconv.cuda.conv2d import geometry as judge
from tensor_core_cases import Data

# dtype, and the relative error that the result may have in the 2-norm.
BOUNDS = {"bfloat16": 4e-3, "float16": 1e-3}
dtypes = pytest.mark.parametrize("dtype", BOUNDS)
modes = pytest.mark.parametrize(
    ("late", "backwards"), [(False, False), (False, True), (True, False), (True, True)], ids=str
)

# Tiles are 128 rows by 64, 128 or 256 columns, slabs one tap by 64 output channels, four of them in a ring.
INPUTS = [
    Geometry(40, 72, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2)),
    Geometry(72, 48, (12, 7), (5, 3), stride=(1, 2), padding=((3, 1), (0, 2))),
    Geometry(136, 64, (10, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
]
MORE_INPUTS = [
    Geometry(64, 64, (17, 16), (1, 1), batch=1),
    Geometry(40, 136, (5, 6), (1, 1), stride=(2, 3), padding=((1, 2), (0, 1))),
    Geometry(40, 32, (4, 3), (5, 5), padding=((5, 4), (6, 3)), batch=5),
    Geometry(72, 64, (1, 1), (3, 3), padding=((1, 1), (1, 1)), batch=3),
    Geometry(200, 48, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    Geometry(40, 32, (9, 9), (3, 3), stride=(8, 8), padding=((127, 20), (120, 127)), dilation=(60, 63)),
    Geometry(64, 40, (14, 15), (3, 3), (4, 6), ((4, 3), (2, 5)), (6, 4)),
    Geometry(64, 40, (7, 7), (3, 3), (20, 20), ((1, 1), (1, 1)), batch=3),
    Geometry(64, 40, (7, 7), (7, 7), batch=3),
]
INPUTS += MORE_INPUTS if os.environ.get("FASTCONV_TEST_CUDA") == "all" else []
WIDE = Geometry(136, 40, (31, 28), (3, 2), padding=((0, 1), (1, 1)), dilation=(2, 3), batch=1)  # 256 columns
POINTS = Geometry(40, 40, (7, 6), (1, 1), (2, 2))  # three phases of four have no tap
MANY = Geometry(40, 72, (17, 16), (3, 3), (2, 1), ((1, 1), (1, 1)))  # tiles: 2 phases of 3, slabs: 12 and 6
PLAIN = Geometry(40, 40, (7, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), batch=3)
# Tiles of the weight are 128 rows by 128 columns, or 64 by 128 or 256, columns in blocks of 64 channels of a tap; slabs
# are 64 pixels, slices begin at 256.
SLICED = Geometry(40, 72, (17, 16), (3, 2), padding=((1, 1), (1, 0)))
ONE_SLICE = Geometry(72, 48, (12, 7), (3, 3), stride=(1, 2), padding=((3, 1), (0, 2)))
WEIGHTS = [
    SLICED,
    ONE_SLICE,
    Geometry(40, 136, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2), batch=1),
    Geometry(64, 40, (17, 16), (1, 1), batch=1),
]
MORE_WEIGHTS = [
    Geometry(64, 136, (9, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
    Geometry(40, 136, (5, 6), (1, 1), stride=(2, 3), padding=((1, 2), (0, 1))),
    Geometry(40, 40, (4, 3), (5, 5), padding=((5, 4), (6, 3)), batch=5),
    Geometry(72, 64, (1, 1), (3, 3), padding=((1, 1), (1, 1)), batch=3),
    Geometry(136, 40, (31, 28), (1, 2), padding=((0, 0), (1, 1)), batch=1),
    Geometry(40, 48, (9, 9), (3, 3), stride=(8, 8), padding=((127, 20), (120, 127)), dilation=(60, 63)),
    Geometry(136, 200, (3, 4), (1, 1), batch=60),
]
WEIGHTS += MORE_WEIGHTS if os.environ.get("FASTCONV_TEST_CUDA") == "all" else []


def shape_of(geometry: Geometry) -> object:
    g = geometry
    (n, c, h, w), (o, icg, kh, kw) = g.input_shape, g.weight_shape
    return judge("conv2d", (n, h, w, c), (o, kh, kw, icg), g.stride, g.padding, g.dilation, g.groups)


def kernel(module: ModuleType, of: str, geometry: Geometry, dtype: str, **changed: object) -> str:
    how = {"dtype": dtype, "precision": "", "aligned": True, "compute_capability": 90, **changed}
    return str(getattr(module, f"conv2d_backward_{of}_choice")(shape_of(geometry), **how))


def grad_input(data: Data, **options: object) -> np.ndarray:
    return cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options, **options)


def check_input(module: ModuleType, geometry: Geometry, dtype: str) -> np.ndarray:
    """Twice, into poisoned memory."""
    assert kernel(module, "input", geometry, dtype).startswith("conv2d_backward_input_wgmma 128x")
    data = Data(geometry, dtype)
    out = poisoned(data.x.shape, dtype)
    assert grad_input(data, out=out) is out
    assert relative_error(as_numbers(out, dtype), data.grad_input()) < BOUNDS[dtype]
    assert same_bits(grad_input(data), out)
    return out


@pytest.mark.parametrize("geometry", INPUTS, ids=str)
@dtypes
def test_input(any_mode: ModuleType, dtype: str, geometry: Geometry) -> None:
    check_input(any_mode, geometry, dtype)


@dtypes
def test_input_with_wide_tiles(emulated: ModuleType, dtype: str) -> None:
    assert "128x256" in kernel(emulated, "input", WIDE, dtype)
    check_input(emulated, WIDE, dtype)


@pytest.mark.parametrize("multiprocessors", [1, 2])
@modes
def test_several_tiles_of_a_block(emulated: ModuleType, late: bool, backwards: bool, multiprocessors: int) -> None:
    """The ring goes on from tile to tile and from phase to phase, also over those without a tap."""
    for geometry in (MANY, POINTS):
        alone = check_input(emulated, geometry, "bfloat16")
        emulated.set_emulation(late_landing=late, backwards=backwards, multiprocessors=multiprocessors)
        assert same_bits(grad_input(Data(geometry, "bfloat16")), alone)


@pytest.mark.parametrize("geometry", [PLAIN, POINTS], ids=["taps", "phases without taps"])
@dtypes
def test_relu_before_the_convolution(
    emulated: ModuleType, dtype: str, geometry: Geometry, rng: np.random.Generator
) -> None:
    data = Data(geometry, dtype)
    passes = rng.random(data.x.shape) > 0.4
    whole, masked = grad_input(data), grad_input(data, mask=bits_of(passes), out=poisoned(data.x.shape, dtype))
    assert same_bits(masked, np.where(passes, whole, np.zeros(1, whole.dtype)))


@dtypes
def test_input_of_a_batch_is_that_of_its_images(emulated: ModuleType, dtype: str) -> None:
    data = Data(PLAIN, dtype)
    together = grad_input(data)
    for n in range(3):
        one = cuda.conv2d_backward_input((1, *data.x.shape[1:]), data.w, data.gy[n : n + 1], **data.options)
        assert same_bits(one, together[n])
    none = cuda.conv2d_backward_input((0, *data.x.shape[1:]), data.w, data.gy[:0], **data.options)
    assert none.shape == (0, 7, 8, 40)


def test_results_that_are_not_aligned(emulated: ModuleType, rng: np.random.Generator) -> None:
    data = Data(PLAIN, "float16")
    mask = bits_of(rng.random(data.x.shape) > 0.4)
    there = grad_input(data, mask=mask)
    shifted = np.empty(there.size + 1, there.dtype)[1:].reshape(there.shape)
    assert same_bits(grad_input(data, mask=mask, out=shifted), there)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["weight", "grad_output"])
@dtypes
def test_what_is_not_finite(
    emulated: ModuleType, dtype: str, value: float, where: str, rng: np.random.Generator
) -> None:
    """It reaches what reads it and nothing else; padding does not read weights; what is masked is 0."""
    data = Data(PLAIN, dtype)
    # The tap reaches beyond the last output. The sums of channel 9 are not where they are stored from.
    (data.gy if where == "grad_output" else data.w)[0, 2, 0, 9] = stored(np.array([value]), dtype)[0]
    with np.errstate(invalid="ignore"):
        truth = data.grad_input()
    passes = rng.random(truth.shape) > 0.4
    for mask in (None, bits_of(passes)):
        truth = truth if mask is None else np.where(passes, truth, 0)
        gx = as_numbers(grad_input(data, mask=mask), dtype)
        np.testing.assert_array_equal(np.isnan(gx), np.isnan(truth))
        np.testing.assert_array_equal(np.isinf(gx), np.isinf(truth))
        finite = np.isfinite(truth)
        assert relative_error(gx[finite], truth[finite]) < BOUNDS[dtype]


@dtypes
def test_deep_sums(emulated: ModuleType, dtype: str) -> None:
    """Of numbers above 0: tensor cores cut sums off, which all goes one way then."""
    data = Data(Geometry(40, 256, (3, 3), (3, 3), padding=((1, 1), (1, 1)), batch=1), dtype)
    data.w, data.gy = (stored(np.abs(as_numbers(a, dtype)), dtype) for a in (data.w, data.gy))
    assert relative_error(as_numbers(grad_input(data), dtype), data.grad_input()) < BOUNDS[dtype]
    data = Data(Geometry(64, 40, (40, 41), (1, 1), batch=1), dtype)
    data.x, data.gy = (stored(np.abs(as_numbers(a, dtype)), dtype) for a in (data.x, data.gy))
    assert relative_error(as_numbers(grad_weight(data), dtype), data.grad_weight()) < BOUNDS[dtype]


def grad_weight(data: Data, **options: object) -> np.ndarray:
    return cuda.conv2d_backward_weight(data.x, data.w.shape, data.gy, **data.options, **options)


@pytest.mark.parametrize("geometry", WEIGHTS, ids=str)
@dtypes
def test_weight(any_mode: ModuleType, dtype: str, geometry: Geometry) -> None:
    """Twice, into poisoned memory."""
    assert kernel(any_mode, "weight", geometry, dtype).startswith("conv2d_backward_weight_wgmma ")
    data = Data(geometry, dtype)
    out = poisoned(data.w.shape, dtype)
    size = cuda.conv2d_backward_weight_workspace_bytes(data.x.shape, data.w.shape, **data.options, dtype=dtype)
    assert (size > 0) == (data.gy[..., 0].size >= 512)
    assert grad_weight(data, out=out, workspace=poisoned((size // 4,), "float32")) is out
    assert relative_error(as_numbers(out, dtype), data.grad_weight()) < BOUNDS[dtype]
    assert same_bits(grad_weight(data), out)


@pytest.mark.parametrize("multiprocessors", [1, 3])
@modes
def test_several_slices_of_a_block(emulated: ModuleType, late: bool, backwards: bool, multiprocessors: int) -> None:
    """As many blocks as there are tiles and slices give the same bits."""
    data = Data(SLICED, "float16")
    alone = grad_weight(data)
    emulated.set_emulation(late_landing=late, backwards=backwards, multiprocessors=multiprocessors)
    assert same_bits(grad_weight(data), alone)


@pytest.mark.parametrize("geometry", [SLICED, ONE_SLICE], ids=["slices", "one slice"])
@dtypes
def test_accumulate(emulated: ModuleType, dtype: str, geometry: Geometry) -> None:
    """Into a gradient of the weight's dtype, and into one of float32."""
    data = Data(geometry, dtype)
    truth = data.grad_weight() + 3
    for kind in (dtype, "float32"):
        out = stored(np.full(data.w.shape, 3.0), kind)
        grad_weight(data, accumulate=True, out=out)
        assert relative_error(as_numbers(out, kind), truth) < BOUNDS[dtype]
    assert relative_error(as_numbers(out, "float32"), truth) < 2e-6  # not rounded


def test_weight_of_no_images(emulated: ModuleType) -> None:
    data = Data(Geometry(40, 40, (5, 5), (3, 3), batch=0), "float16")
    assert kernel(emulated, "weight", PLAIN, "float16").startswith("conv2d_backward_weight_wgmma ")
    assert not grad_weight(data, out=poisoned(data.w.shape, "float16")).any()


def test_gradients_that_are_not_aligned(emulated: ModuleType) -> None:
    data = Data(ONE_SLICE, "float16")
    there = grad_weight(data)
    shifted = np.empty(there.size + 1, there.dtype)[1:].reshape(there.shape)
    assert same_bits(grad_weight(data, out=shifted), there)
    wide, shifted = np.empty(there.shape, np.float32), np.empty(there.size + 1, np.float32)[1:].reshape(there.shape)
    assert same_bits(grad_weight(data, out=shifted), grad_weight(data, out=wide))
    assert same_bits(wide.astype(np.float16), there)


def test_a_workspace_that_is_not_aligned(emulated: ModuleType) -> None:
    data = Data(SLICED, "float16")
    size = cuda.conv2d_backward_weight_workspace_bytes(data.x.shape, data.w.shape, **data.options, dtype="float16")
    assert same_bits(grad_weight(data, workspace=np.empty(size // 4 + 1, np.float32)[1:]), grad_weight(data))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "grad_output"])
@pytest.mark.parametrize("geometry", [SLICED, ONE_SLICE], ids=["slices", "one slice"])
@dtypes
def test_weight_of_what_is_not_finite(
    emulated: ModuleType, dtype: str, geometry: Geometry, value: float, where: str
) -> None:
    """It reaches what reads it and nothing else; padding does not read gradients."""
    data = Data(geometry, dtype)
    (data.x if where == "input" else data.gy)[0, 0, 0, 9] = stored(np.array([value]), dtype)[0]
    with np.errstate(invalid="ignore"):
        truth = data.grad_weight()
    gw = as_numbers(grad_weight(data), dtype)
    np.testing.assert_array_equal(np.isnan(gw), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(gw), np.isinf(truth))
    finite = np.isfinite(truth)
    assert relative_error(gw[finite], truth[finite]) < BOUNDS[dtype]


def test_choice_of_the_weight(emulated: ModuleType) -> None:
    def taken(dtype: str = "float16", **changed: object) -> str:
        options = {"channels": 64, "outputs": 128, "image": (200, 200), "kernel": (1, 3), **changed}
        how = {name: options.pop(name) for name in ("precision", "aligned", "compute_capability") if name in options}
        name = kernel(emulated, "weight", Geometry(**options, batch=1), dtype, **how)
        return name.removeprefix("conv2d_backward_weight_")

    assert taken() == "wgmma 128x128, boxes by TMA, 4 stages"
    assert taken("bfloat16", outputs=64) == "wgmma 64x256, boxes by TMA, 4 stages"
    assert taken(outputs=64, kernel=(1, 2)).startswith("wgmma 64x128,")
    assert taken(outputs=64, channels=72, kernel=(1, 2)).startswith("wgmma 64x256,")
    assert taken("float32", precision="tf32").startswith("mma 128x128, 16 bytes")
    assert taken(compute_capability=80).startswith("mma")
    assert taken(aligned=False).startswith("mma")
    assert taken(groups=2).startswith("mma")
    assert taken(channels=36).startswith("mma")
    assert taken(channels=32).startswith("wgmma")
    assert taken(channels=24).startswith("mma")
    assert taken(outputs=60).startswith("mma")
    assert taken(outputs=40).startswith("wgmma")
    assert taken(outputs=32).startswith("mma")
    assert taken(stride=(1, 8)).startswith("wgmma")
    assert taken(stride=(9, 1)).startswith("mma")
    assert taken(padding=((0, 0), (129, 0))).startswith("mma")
    assert taken(dilation=(1, 65)).startswith("mma")


def test_choice_of_the_input(emulated: ModuleType) -> None:
    """What wgmma takes, and what it leaves to mma: by the geometry of one image, the type and the GPU."""

    def taken(dtype: str = "float16", of: Geometry | None = None, **changed: object) -> str:
        options = {"channels": 64, "outputs": 64, "image": (200, 200), "kernel": (1, 3), **changed}
        how = {name: options.pop(name) for name in ("precision", "aligned", "compute_capability") if name in options}
        geometry = of or Geometry(**options, batch=1)
        return kernel(emulated, "input", geometry, dtype, **how).removeprefix("conv2d_backward_input_")

    assert taken() == "wgmma 128x64, boxes by TMA, 4 stages"
    assert taken("bfloat16") == "wgmma 128x64, boxes by TMA, 4 stages"
    assert taken(channels=72, image=(8, 8)).startswith("wgmma 128x128,")
    assert taken(channels=136).startswith("wgmma 128x256,")
    assert taken(channels=136, image=(27, 29)).startswith("wgmma 128x128,")
    assert taken("float32", precision="tf32").startswith("mma 128x64, 16 bytes")
    assert taken(compute_capability=80).startswith("mma")
    assert taken(compute_capability=100).startswith("mma")
    assert taken(aligned=False).startswith("mma")
    assert taken(groups=2).startswith("mma")
    assert taken(channels=36).startswith("mma")
    assert taken(channels=40).startswith("wgmma")
    assert taken(channels=32).startswith("mma")
    assert taken(outputs=60).startswith("mma")
    assert taken(outputs=32).startswith("wgmma")
    assert taken(outputs=24).startswith("mma")
    assert taken(stride=(9, 20)).startswith("wgmma")
    assert taken(padding=((0, 0), (127, 0))).startswith("wgmma")
    assert taken(dilation=(1, 64)).startswith("wgmma")  # the last tap lies 128 output pixels before the first
    assert taken(dilation=(1, 65)).startswith("mma")
    assert taken(dilation=(1, 65), stride=(1, 2)).startswith("wgmma")  # 65 then
    assert taken(padding=((0, 0), (129, 0))).startswith("wgmma")  # the last tap is the first that is met
    assert taken(padding=((0, 0), (130, 0))).startswith("mma")
    emulated.set_emulation(late_landing=False, backwards=False, tensor_maps=False)
    assert taken().startswith("mma")


def test_explain(emulated: ModuleType) -> None:
    """Names the kernel, and what stands in the way of it."""

    def explain(of: str, channels: int) -> fastconv.Explanation:
        x, w = np.zeros((1, 9, 9, channels), np.float16), np.zeros((96, 3, 3, channels), np.float16)
        there = GpuArray(x), GpuArray(w.transpose(0, 3, 1, 2))
        return fastconv.explain(f"conv2d_backward_{of}", *there, layout="NHWC")

    for of, tile in (("input", "128x64"), ("weight", "128x128")):
        assert explain(of, 64).kernel == f"conv2d_backward_{of}_wgmma {tile}, boxes by TMA, 4 stages"
        assert explain(of, 64).rejected == []
        assert explain(of, 60).kernel.startswith(f"conv2d_backward_{of}_mma ")
        assert explain(of, 60).rejected == ["wgmma: TMA needs channels in whole 16 bytes"]


def test_errors(emulated: ModuleType) -> None:
    how = {"dtype": "float16", "precision": "", "aligned": True, "compute_capability": 90}
    with pytest.raises(ValueError, match="conv2d_wgmma_refusal: of must be 'conv2d', .* got 'linear'"):
        emulated.conv2d_wgmma_refusal(shape_of(PLAIN), **how, of="linear")


def test_without_tensor_maps(emulated: ModuleType) -> None:
    """An old driver: mma computes the same."""
    emulated.set_emulation(late_landing=False, backwards=False, tensor_maps=False)
    data = Data(PLAIN, "bfloat16")
    assert relative_error(as_numbers(grad_input(data), "bfloat16"), data.grad_input()) < 4e-3
    assert relative_error(as_numbers(grad_weight(data), "bfloat16"), data.grad_weight()) < 4e-3
