"""Bad input to pooling: every refusal names operation, argument, rule and the value got."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import _core, config, ops

X = np.arange(2 * 3 * 8 * 9, dtype=np.float32).reshape(2, 3, 8, 9)
Y, PLACES = ops.max_pool2d(X, 2, return_indices=True)

OPS: dict[str, Callable[..., Any]] = {
    "max_pool2d": lambda **changes: ops.max_pool2d(**{"input": X, "kernel_size": 2} | changes),
    "avg_pool2d": lambda **changes: ops.avg_pool2d(**{"input": X, "kernel_size": 2} | changes),
    "max_pool2d_backward": lambda **changes: ops.max_pool2d_backward(
        **{"grad_output": Y, "indices": PLACES, "input_shape": X.shape, "kernel_size": 2} | changes
    ),
    "avg_pool2d_backward": lambda **changes: ops.avg_pool2d_backward(
        **{"grad_output": Y, "input_shape": X.shape, "kernel_size": 2} | changes
    ),
}
WINDOWED = pytest.mark.parametrize("op", OPS)


@WINDOWED
@pytest.mark.parametrize("dtype", ["?", "i1", "i4", "i8", "f2", "F", "g", "O"])
def test_other_dtypes_are_refused(op: str, dtype: str) -> None:
    name = "grad_output" if op.endswith("backward") else "input"
    with pytest.raises(TypeError, match=rf"^{op}: {name} must be float32 or float64, got .*astype\(np\.float32\)"):
        OPS[op](**{name: (Y if op.endswith("backward") else X).astype(dtype)})


@WINDOWED
@pytest.mark.parametrize("value", [None, [[1.0]], np.ma.masked_array(X, X > 0), 1.0], ids=lambda v: type(v).__name__)
def test_only_plain_arrays_are_taken(op: str, value: object) -> None:
    name = "grad_output" if op.endswith("backward") else "input"
    with pytest.raises(TypeError, match=f"^{op}: {name} must be a numpy.ndarray"):
        OPS[op](**{name: value})


@WINDOWED
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding"])
@pytest.mark.parametrize("value", [True, 2.0, "2", "same", np.float32(1), [1.0, 1.0]], ids=repr)
def test_sizes_are_integers(op: str, name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{op}: {name}.* must be an integer"):
        OPS[op](**{name: value})


@WINDOWED
@pytest.mark.parametrize("value", [0, 1, None, "yes"], ids=repr)
def test_flags_are_booleans(op: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{op}: ceil_mode must be True or False"):
        OPS[op](ceil_mode=value)


@WINDOWED
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kernel_size": 0}, "kernel size must be at least 1 along height, got 0"),
        ({"kernel_size": (2, -1)}, "kernel size must be at least 1 along width, got -1"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size must be an int or a pair"),
        ({"kernel_size": (9, 2)}, "kernel must fit the padded input along height"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"stride": (1, -3)}, "stride must be at least 1 along width, got -3"),
        ({"padding": -1}, "padding must be >= 0"),
        ({"padding": (0, 2)}, r"padding must be at most half of the kernel size along width.* 2 / 2 = 1, got \(2, 2\)"),
        ({"padding": ((0, 2), (0, 0))}, r"padding must be at most half of the kernel size along height.*got \(0, 2\)"),
        ({"kernel_size": 2**62, "padding": 2**61}, "overflow"),
        ({"kernel_size": 2**40, "padding": 2**39, "stride": 2**20}, "overflow"),
        ({"kernel_size": 2**63}, "kernel_size must fit 64 bits"),
        ({"stride": 2**63 - 1, "padding": 2**62}, "padding|overflow"),
        ({"layout": "NCWH"}, "layout must be one of"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_values(op: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{op}: .*({text})"):
        OPS[op](**changes)


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("shape", [(9,), (8, 9), (1, 2, 3, 8, 9), (2, 0, 8, 9), (2, 3, 0, 9), (2, 3, 8, 0)], ids=str)
def test_bad_shapes(op: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"^{op}: input must have"):
        OPS[op](input=np.ones(shape, np.float32))


def test_every_window_covers_a_pixel() -> None:
    """PyTorch reads beside the image here: taps at -1 and 1 of a single pixel."""
    with pytest.raises(ValueError, match="every window must cover a pixel along height"):
        ops.max_pool2d(X[:, :, :1, :1].copy(), 2, 1, padding=1, dilation=2)
    with pytest.raises(ValueError, match="dilation must be at least 1"):
        ops.max_pool2d(X, 2, dilation=0)
    with pytest.raises(TypeError, match="max_pool2d: dilation must be an integer"):
        ops.max_pool2d(X, 2, dilation=1.0)  # type: ignore[arg-type]


def test_divisor_override_is_a_number_but_zero() -> None:
    for op in ("avg_pool2d", "avg_pool2d_backward"):
        with pytest.raises(ValueError, match=f"{op}: divisor_override must not be zero"):
            OPS[op](divisor_override=0)
        with pytest.raises(TypeError, match=f"{op}: divisor_override must be an integer"):
            OPS[op](divisor_override=2.0)
        with pytest.raises(TypeError, match=f"{op}: count_include_pad must be True or False"):
            OPS[op](count_include_pad=1)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"indices": PLACES.astype(np.int64)}, TypeError, r"indices must be int32, got int64; write .*astype"),
        ({"indices": PLACES.tolist()}, TypeError, "indices must be a numpy.ndarray of int32"),
        ({"indices": PLACES[:1]}, ValueError, "indices must have shape"),
        (
            {"indices": np.where(PLACES[1, 2, 3, 1] == PLACES, -1, PLACES)},
            ValueError,
            r"got -1 at index \(0, 0, 3, 1\)",
        ),
        ({"indices": np.full_like(PLACES, 72)}, ValueError, r"indices must be in \[0, 72\), got 72 at index \(0, 0, 0"),
        ({"grad_output": Y[:, :, :3]}, ValueError, "grad_output must have shape"),
        ({"grad_output": Y[0]}, ValueError, "grad_output must have 4 dimensions"),
        ({"input_shape": X.shape[1:]}, ValueError, "grad_output must have 3 dimensions"),
        ({"input_shape": (2, 3, 8)}, ValueError, "grad_output must have 3 dimensions"),
        ({"input_shape": (3, 8)}, ValueError, "input_shape must have 4 entries"),
        ({"input_shape": (2, 3, 8.0, 9)}, TypeError, r"input_shape\[2\] must be an integer"),
        ({"input_shape": (2, 3, 0, 9)}, ValueError, "input must have H >= 1"),
        ({"out": np.empty((2, 3, 8, 8), np.float32)}, ValueError, "out must have shape"),
        ({"out": np.empty(X.shape)}, TypeError, "out must be float32, got float64"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_to_max_pool2d_backward(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^max_pool2d_backward: .*{text}"):
        OPS["max_pool2d_backward"](**changes)


def test_outputs_that_cannot_be_written() -> None:
    frozen = np.empty_like(Y)
    frozen.flags.writeable = False
    for op in ("max_pool2d", "avg_pool2d"):
        for out, text in (
            (frozen, "out must be writeable"),
            (np.empty((2, 3, 4, 8), np.float32)[..., ::2], "out must be C-contiguous"),
            (np.broadcast_to(np.float32(0), Y.shape), "out must be writeable"),
            (X.reshape(-1)[: Y.size].reshape(Y.shape), "out must not overlap an input"),
            (np.empty(Y.shape), "out must be float32, got float64"),
        ):
            with pytest.raises((TypeError, ValueError), match=f"^{op}: {text}"):
                OPS[op](out=out)
        out = np.empty_like(Y)
        assert OPS[op](out=out) is out


def test_global_pooling_refuses_the_same() -> None:
    with pytest.raises(ValueError, match="global_avg_pool2d: input must have 4 dimensions"):
        ops.global_avg_pool2d(X[0, 0])
    with pytest.raises(ValueError, match="global_max_pool2d: input must have H >= 1"):
        ops.global_max_pool2d(X[:, :, :0])
    with pytest.raises(TypeError, match="global_max_pool2d: return_indices must be True or False"):
        ops.global_max_pool2d(X, 1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="global_avg_pool2d_backward: grad_output must have shape"):
        ops.global_avg_pool2d_backward(Y, X.shape)


def test_strict_refuses_copies(strict: None) -> None:
    with pytest.raises(RuntimeError, match="max_pool2d: .*strict refuses.*input is not C-contiguous"):
        ops.max_pool2d(X[:, :, ::2], 2)
    assert config.strict


# The native module, which trusts nobody


def shape(image: tuple[int, int] = (8, 9)) -> _core.Pool2dShape:
    return _core.Pool2dShape((2, 3, *image), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False)


def test_indices_must_fit_32_bits() -> None:
    huge = shape((2**16, 2**15))
    with pytest.raises(ValueError, match=r"indices must fit 32 bits.*H\*W = 65536 \* 32768"):
        _core.max_pool2d_forward(huge, X, Y.copy(), PLACES.copy(), layout="NCHW")


def test_wrong_indices_do_not_write_beside_the_plane() -> None:
    for kernel in ((2, 2), (5, 5)):  # gathered, and scattered
        case = _core.Pool2dShape((2, 3, 8, 9), kernel, (1, 1), ((0, 0), (0, 0)), (1, 1), False)
        n, c, oh, ow = case.output_shape
        for layout, pooled, whole in (("NCHW", (n, c, oh, ow), X.shape), ("NHWC", (n, oh, ow, c), (2, 8, 9, 3))):
            for index in (-1, 72, -(2**31), 2**31 - 1):
                grad_input = np.ones(whole, np.float32)
                indices = np.full(pooled, index, np.int32)
                _core.max_pool2d_backward(case, np.ones(pooled, np.float32), indices, grad_input, layout=layout)  # type: ignore[arg-type]
                assert not grad_input.any()


def test_the_native_module_checks_memory() -> None:
    y, places = Y.copy(), PLACES.copy()
    for arguments, error, text in (
        ((X[:, :, ::-1], y, places), TypeError, "input must be C-contiguous"),
        ((X.astype(int), y, places), TypeError, "input must be float32 or float64"),
        ((X, y.astype(np.float64), places), TypeError, "output must have the dtype"),
        ((X, y[:1], places), ValueError, "output must have shape"),
        ((X, y, places.astype(np.int64)), TypeError, "indices must be int32"),
        ((X, y, y.view(np.int32)), ValueError, "indices must not share memory with output"),
        ((X, X.reshape(-1)[: y.size].reshape(y.shape), None), ValueError, "output must not share memory with input"),
    ):
        with pytest.raises(error, match=f"max_pool2d_forward: {text}"):
            _core.max_pool2d_forward(shape(), *arguments, layout="NCHW")
    places.flags.writeable = False
    with pytest.raises(ValueError, match="indices must be writeable"):
        _core.max_pool2d_forward(shape(), X, y, places, layout="NCHW")
    dilated = _core.Pool2dShape((2, 3, 8, 9), (2, 2), (2, 2), ((0, 0), (0, 0)), (2, 2), False)
    with pytest.raises(ValueError, match="avg_pool2d_forward: dilation must be"):
        _core.avg_pool2d_forward(dilated, X, y, layout="NCHW")
