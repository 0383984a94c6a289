"""Bad input to convolution: every refusal names operation, argument, rule and the value got."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import config, cuda, ops

X = np.ones((2, 6, 8, 9), np.float32)
W = np.ones((4, 6, 3, 3), np.float32)
B = np.ones(4, np.float32)
Y = np.ones((2, 4, 6, 7), np.float32)


def call(**changes: Any) -> np.ndarray:
    return ops.conv2d(**{"input": X, "weight": W, "bias": B} | changes)


# Types


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "i8", "f2", "F", "D", "g", "O", "U1", "M8[s]"])
def test_other_dtypes_are_refused_with_the_cast_to_write(name: str, dtype: str) -> None:
    shape = {"input": X, "weight": W, "bias": B}[name].shape
    with pytest.raises(
        TypeError, match=rf"conv2d: {name} must be float32 or float64, got .*{name}\.astype\(np\.float32\)"
    ):
        call(**{name: np.zeros(shape, dtype)})


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_mixed_dtypes_are_refused(name: str) -> None:
    value = {"weight": W, "bias": B}[name].astype(np.float64)
    with pytest.raises(
        TypeError, match=rf"conv2d: {name} must be float32 like .*got float64.*{name}\.astype\(np\.float32\)"
    ):
        call(**{name: value})


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
def test_swapped_byte_order_is_refused(name: str) -> None:
    value = {"input": X, "weight": W, "bias": B}[name]
    with pytest.raises(
        ValueError, match=rf"conv2d: {name} must be in native byte order.*{name}\.astype\(np\.float32\)"
    ):
        call(**{name: value.astype(value.dtype.newbyteorder())})


class Device:
    """What a CUDA array looks like from outside."""

    __cuda_array_interface__ = {"shape": (1,), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (X.tolist(), r"builtins\.list; pass np\.asarray\(input, dtype=np\.float32\)"),
        (1.5, "builtins.float"),
        (None, "NoneType"),
        ("image.png", "builtins.str"),
        (memoryview(b"1234"), "memoryview"),
        (np.float32(1), "numpy.float32"),
        (np.ma.masked_array(X, X > 0), r"mask would be lost.*filled"),
        (np.ones((3, 3), np.float32).view(np.matrix), r"matrix; pass np\.asarray"),
        (X.view(type("Sub", (np.ndarray,), {})), r"Sub; pass np\.asarray"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_plain_arrays_are_taken(value: object, text: str) -> None:
    with pytest.raises(TypeError, match=rf"conv2d: input .*{text}"):
        call(input=value)


def test_an_array_on_a_gpu_goes_there() -> None:
    """Without kernels or a driver that is said; where there is both, the array is looked at."""
    with pytest.raises((cuda.CudaError, ValueError), match="conv2d: "):
        call(input=Device())
    with pytest.raises(TypeError, match="conv2d: weight .*on a GPU"):
        call(weight=Device())


def test_memory_mapped_files_are_arrays(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(call(input=mapped), call())


@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "groups"])
@pytest.mark.parametrize("value", [True, 1.0, "1", np.float32(1), np.True_, None, b"1", [1.0, 1.0], {1: 1}], ids=repr)
def test_sizes_are_integers(name: str, value: object) -> None:
    error = ValueError if name == "padding" and value == "1" else TypeError
    with pytest.raises(error, match=rf"conv2d: {name}"):
        call(**{name: value})


@pytest.mark.parametrize("kind", [np.int8, np.uint64, int, np.array])
def test_every_integer_type_is_taken(kind: Any) -> None:
    options = {"stride": kind(2), "padding": (kind(1), kind(1)), "dilation": kind(1), "groups": kind(1)}
    np.testing.assert_array_equal(call(**options), call(stride=2, padding=1))


@pytest.mark.parametrize("axes", [(2, 3, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3)], ids=["HWIO", "OHWI", "IOHW"])
def test_a_weight_of_another_order_gets_the_transpose_to_write(axes: tuple[int, ...]) -> None:
    back = tuple(int(axis) for axis in np.argsort(axes))
    with pytest.raises(ValueError, match="this looks like") as error:
        call(weight=W.transpose(axes).copy())
    assert f"transpose({', '.join(map(str, back))})" in str(error.value)


def test_a_weight_of_no_known_order_gets_no_hint() -> None:
    with pytest.raises(ValueError, match="weight must have shape") as error:
        call(weight=np.ones((4, 5, 6, 7), np.float32))
    assert "looks like" not in str(error.value)


# Values


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stride": 0}, "stride"),
        ({"stride": -1}, "stride"),
        ({"stride": (1, 0)}, "stride"),
        ({"stride": (1, 2, 3)}, "stride"),
        ({"stride": ()}, "stride"),
        ({"dilation": 0}, "dilation"),
        ({"dilation": (-2, 1)}, "dilation"),
        ({"padding": -1}, "padding"),
        ({"padding": ((0, 0), (0, -1))}, "padding"),
        ({"padding": (1, 2, 3)}, "padding"),
        ({"padding": ((1, 2), (3, 4, 5))}, "padding"),
        ({"padding": "SAME"}, "padding must be one of 'valid', 'same', 'same_lower', got 'SAME'"),
        ({"groups": 0}, "groups"),
        ({"groups": -1}, "groups"),
        ({"groups": 4}, "groups"),
        ({"stride": 2**63}, "stride must fit 64 bits"),
        ({"padding": 2**64}, "padding must fit 64 bits"),
        ({"dilation": 2**63 - 1}, "conv2d"),
        ({"padding": 2**63 - 1}, "conv2d"),
        ({"dilation": 4}, "kernel"),
        ({"layout": "nchw"}, "layout must be one of 'NCHW', 'NHWC', got 'nchw'"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"algo": "fastest"}, "algo must be one of"),
        ({"bias": np.ones(5, np.float32)}, r"bias must have shape \(4,\), got \(5,\)"),
        ({"bias": np.ones((4, 1), np.float32)}, "bias must have 1 dimension"),
        ({"bias": np.ones((), np.float32)}, "bias must have 1 dimension"),
        ({"input": X[0, 0]}, r"input must have 4 dimensions, or 3 .*got shape \(8, 9\)"),
        ({"input": X[None]}, "input must have 4 dimensions"),
        ({"weight": W[0]}, "weight must have 4 dimensions"),
        ({"weight": W[:, :5]}, r"conv2d: weight must have shape .*IC=6.*groups=1.*\(4, 5, 3, 3\)"),
        ({"weight": np.ones((4, 3, 3, 3), np.float32), "groups": 3}, "conv2d: weight|groups"),
        ({"weight": np.ones((4, 6, 9, 3), np.float32)}, "kernel"),
        ({"weight": np.ones((4, 6, 3, 10), np.float32)}, "kernel"),
        ({"weight": np.ones((0, 6, 3, 3), np.float32), "bias": None}, "weight"),
        ({"weight": np.ones((4, 6, 0, 3), np.float32)}, "weight"),
        ({"weight": np.ones((4, 0, 3, 3), np.float32), "input": X[:, :0]}, "conv2d"),
        ({"input": X[:, :, :0]}, "input"),
        ({"input": X[:, :, :, :0], "padding": 3}, "input"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_do_not_fit(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        call(**changes)
    assert str(caught.value).startswith("conv2d: ")


def test_weights_in_keras_order_are_recognised() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 3, 6, 4\).*transpose\(3, 2, 0, 1\)"):
        call(weight=np.ones((3, 3, 6, 4), np.float32))


def test_too_large_a_kernel_names_the_formula() -> None:
    with pytest.raises(ValueError, match=r"padding.*dilation|dilation.*padding"):
        call(dilation=5)


@pytest.mark.parametrize(
    "padding", [2**40, ((2**40, 0), (0, 0)), (2**31, 2**31), (2**62, 0), 2**62, ((2**62, 2**62), (0, 0))], ids=str
)
def test_results_beyond_memory_are_refused_before_allocation(padding: Any) -> None:
    with pytest.raises((MemoryError, ValueError), match="^conv2d: "):
        call(padding=padding)


def test_huge_views_are_refused_before_they_are_copied() -> None:
    x = np.broadcast_to(np.float32(0), (1, 2**14, 2**15, 2**15))
    with pytest.raises(ValueError, match="conv2d: weight"):
        ops.conv2d(x, W)
    with pytest.raises((ValueError, MemoryError), match="conv2d: "):
        ops.conv2d(np.broadcast_to(np.float32(0), (1, 6, 2**23, 2**23)), W)


# out=


@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        (np.empty((2, 4, 6, 6), np.float32), ValueError, r"must have shape \(2, 4, 6, 7\), got \(2, 4, 6, 6\)"),
        (np.empty((4, 6, 7), np.float32), ValueError, "must have shape"),
        (np.empty(Y.shape, np.float64), TypeError, "must be float32, got float64"),
        (np.empty(Y.shape, ">f4"), TypeError, "must be float32"),
        (np.empty(Y.shape, np.float32, order="F"), ValueError, "must be C-contiguous"),
        (np.empty((2, 4, 6, 14), np.float32)[..., ::2], ValueError, "must be C-contiguous"),
        (np.broadcast_to(np.float32(0), Y.shape), ValueError, "must be writeable"),
        (np.frombuffer(bytes(Y.nbytes), np.float32).reshape(Y.shape), ValueError, "must be writeable"),
        (Y.tolist(), TypeError, "must be a numpy.ndarray"),
        (
            np.empty(Y.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(Y.shape),
            ValueError,
            "must be C-contiguous and aligned",
        ),
    ],
)
def test_out_must_be_able_to_take_the_result(out: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"conv2d: out {text}"):
        call(out=out)


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
def test_out_must_not_overlap_an_input(name: str) -> None:
    memory = np.zeros(4096, np.float32)
    out = memory[: Y.size].reshape(Y.shape)
    value = {"input": X, "weight": W, "bias": B}[name]
    overlapping = memory[Y.size - 1 : Y.size - 1 + value.size].reshape(value.shape)
    with pytest.raises(ValueError, match="conv2d: out must not overlap an input"):
        call(**{name: overlapping}, out=out)


# The backward passes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"grad_output": Y[..., :6]}, r"grad_output must have shape \(2, 4, 6, 7\), got \(2, 4, 6, 6\)"),
        ({"grad_output": Y[0]}, "grad_output must have 4 dimensions"),
        ({"input_shape": (2, 6, 8)}, "grad_output must have 3 dimensions"),
        ({"input_shape": (2, 6)}, "input_shape must have 4 entries"),
        ({"input_shape": (2, 5, 8, 9)}, "weight"),
        ({"input_shape": (2, 6, -8, 9)}, "input"),
        ({"stride": 0}, "stride"),
        ({"padding": -1}, "padding"),
        ({"out": np.empty((2, 6, 8, 8), np.float32)}, "out must have shape"),
    ],
)
def test_backward_input_refuses(changes: dict[str, Any], text: str) -> None:
    arguments = {"input_shape": X.shape, "weight": W, "grad_output": Y} | changes
    with pytest.raises(ValueError, match=f"conv2d_backward_input: .*{text}"):
        ops.conv2d_backward_input(**arguments)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"grad_output": Y[:1]}, r"grad_output must have shape \(2, 4, 6, 7\), got \(1, 4, 6, 7\)"),
        ({"input": X[0]}, "grad_output must have 3 dimensions"),
        ({"weight_shape": (4, 6, 3)}, "weight_shape must have 4 entries"),
        ({"weight_shape": (4, 5, 3, 3)}, "weight"),
        ({"weight_shape": (4, 6, 30, 3)}, "kernel"),
        ({"dilation": 0}, "dilation"),
        ({"out": np.empty((4, 6, 3, 2), np.float32)}, "out must have shape"),
    ],
)
def test_backward_weight_refuses(changes: dict[str, Any], text: str) -> None:
    arguments = {"input": X, "weight_shape": W.shape, "grad_output": Y} | changes
    with pytest.raises(ValueError, match=f"conv2d_backward_weight: .*{text}"):
        ops.conv2d_backward_weight(**arguments)


def test_backward_passes_refuse_other_types() -> None:
    with pytest.raises(TypeError, match="conv2d_backward_input: grad_output must be float32 like"):
        ops.conv2d_backward_input(X.shape, W, Y.astype(np.float64))
    with pytest.raises(TypeError, match=r"conv2d_backward_input: input_shape\[0\] must be an integer"):
        ops.conv2d_backward_input((2.0, 6, 8, 9), W, Y)
    with pytest.raises(TypeError, match="conv2d_backward_input: input_shape must be a tuple"):
        ops.conv2d_backward_input(X, W, Y)
    with pytest.raises(TypeError, match="conv2d_backward_weight: grad_output must be float32 or float64"):
        ops.conv2d_backward_weight(X, W.shape, Y.astype(int))
    with pytest.raises(TypeError, match="conv2d_backward_bias: grad_output"):
        ops.conv2d_backward_bias(Y.tolist())
    with pytest.raises(ValueError, match="conv2d_backward_bias: grad_output must have 4 dimensions"):
        ops.conv2d_backward_bias(Y[0, 0])


# Strict


@pytest.mark.usefixtures("strict")
def test_strict_refuses_a_forced_copy() -> None:
    x, w = np.ones((2, 8, 9, 16), np.float32), np.ones((16, 16, 3, 3), np.float32)
    gy = ops.conv2d(x, w, layout="NHWC")
    text = "refuses a slow path: input is not C-contiguous"
    with pytest.raises(RuntimeError, match=f"conv2d: fastconv.config.strict {text}"):
        ops.conv2d(x[:, ::-1], w, layout="NHWC")
    with pytest.raises(RuntimeError, match="conv2d_backward_weight: .*grad_output is not C-contiguous"):
        ops.conv2d_backward_weight(x, w.shape, np.asfortranarray(gy), layout="NHWC")
    with pytest.raises(RuntimeError, match="conv2d_backward_input: .*weight is not C-contiguous"):
        ops.conv2d_backward_input(x.shape, np.asfortranarray(w), gy, layout="NHWC")
    with pytest.raises(RuntimeError, match="linear: .*weight is not C-contiguous"):
        ops.linear(np.ones((3, 5), np.float32), np.ones((5, 4), np.float32).T)


def test_config_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="strict must be True or False"):
        config.strict = 1  # type: ignore[assignment]
    with pytest.raises(ValueError, match="algo must be one of"):
        config.algo = "fast"
    with pytest.raises(AttributeError):
        config.stirct = True  # type: ignore[attr-defined]
