"""Transposed convolution: the passes of convolution in other roles, with bias, ReLU and a choice of sizes."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
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
    to_layout,
)
from fastconv import ops

SPARSE = Geometry(3, 4, (11, 13), (2, 1), (4, 3))  # strides beyond the kernel: outputs that no tap reaches


def _options(geometry: Geometry) -> dict[str, object]:
    """Of the transposed convolution, from the convolution's output to its input."""
    return {**geometry.options, "output_size": geometry.image}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [*ALL, SPARSE], ids=str)
def test_whole_numbers_are_exact(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    a = {name: array.astype(dtype) for name, array in geometry.integers.items()}
    options = {**_options(geometry), "layout": layout, "algo": "direct"}
    x, grad = to_layout(a["grad_output"], layout), to_layout(a["input"], layout)
    bias = np.arange(geometry.channels).astype(dtype) - 2
    expected = geometry.integers["grad_input"] + bias[:, None, None]
    for activation, truth in ((None, expected), ("relu", np.maximum(expected, 0))):
        y = ops.conv_transpose2d(x, a["weight"], bias, **options, activation=activation)
        np.testing.assert_array_equal(from_layout(y, layout), truth)
    plain = geometry.integers["output"] - geometry.integers["bias"][:, None, None]
    grad_input = ops.conv_transpose2d_backward_input(x.shape, a["weight"], grad, **options)
    np.testing.assert_array_equal(from_layout(grad_input, layout), plain)
    grad_weight = ops.conv_transpose2d_backward_weight(x, a["weight"].shape, grad, **options)
    np.testing.assert_array_equal(grad_weight, geometry.integers["grad_weight"])


@pytest.mark.parametrize("geometry", [*SMALL, SPARSE], ids=str)
def test_gradients_are_derivatives(geometry: Geometry) -> None:
    a, options = geometry.normal, _options(geometry)
    x, w, grad = a["grad_output"], a["weight"], a["input"]
    grad_input = ops.conv_transpose2d_backward_input(x.shape, w, grad, **options)
    grad_weight = ops.conv_transpose2d_backward_weight(x, w.shape, grad, **options)
    gradcheck.assert_gradient(lambda v: ops.conv_transpose2d(v, w, **options), x, grad, grad_input)
    gradcheck.assert_gradient(lambda v: ops.conv_transpose2d(x, v, **options), w, grad, grad_weight)


@pytest.mark.parametrize("geometry", [SHAPES[3], STRIDES[0], BIG_BLOCKS[0], GROUPS[2], DEPTHWISE[2], SPARSE], ids=str)
def test_bits_do_not_depend_on_threads_or_batch(geometry: Geometry) -> None:
    a = {name: array.astype(np.float32) for name, array in geometry.normal.items()}
    x, bias = a["grad_output"], np.linspace(-1, 1, geometry.channels, dtype=np.float32)
    options = {**_options(geometry), "activation": "relu"}
    y = ops.conv_transpose2d(x, a["weight"], bias, **options)
    assert not np.signbit(y).any()
    for threads in (1, 2, 3, 8):
        with fastconv.threads(threads):
            np.testing.assert_array_equal(ops.conv_transpose2d(x, a["weight"], bias, **options), y)
    for image, expected in zip(x, y, strict=True):
        np.testing.assert_array_equal(ops.conv_transpose2d(image, a["weight"], bias, **options), expected)
    assert ops.conv_transpose2d(x[:0], a["weight"], bias, **options).shape == (0, *y.shape[1:])


def test_winograd_takes_bias_and_relu(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 32, 14, 14)).astype(np.float32)
    w, bias = rng.normal(size=(32, 32, 3, 3)).astype(np.float32), rng.normal(size=32).astype(np.float32)
    y = ops.conv_transpose2d(x, w, bias, padding=1, activation="relu", algo="winograd")
    truth = ops.conv_transpose2d(*(v.astype(np.float64) for v in (x, w, bias)), padding=1, activation="relu")
    np.testing.assert_allclose(y, truth, rtol=0, atol=2e-4)


def test_weights_that_are_not_finite_stay_where_they_are() -> None:
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))
    w[0, 0, 0, 0] = np.inf
    y = ops.conv_transpose2d(x, w, np.zeros(1))
    reached = np.zeros((5, 5), bool)
    reached[:3, :3] = True
    np.testing.assert_array_equal(np.isinf(y[0, 0]), reached)
    assert not np.isnan(y).any()


@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_same_multiplies_the_size_by_the_stride(padding: str, rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(3, 2, 4, 3))
    y = ops.conv_transpose2d(x, w, None, 3, padding)
    assert y.shape == (2, 2, 15, 18)
    sizes = [reference.same_padding(n, k, 3, 1, padding == "same_lower") for n, k in ((15, 4), (18, 3))]
    truth = reference.conv2d_backward_input((2, 2, 15, 18), w, x, (3, 3), tuple(sizes), (1, 1), 1)
    np.testing.assert_allclose(y, truth, rtol=1e-13, atol=1e-13)


def test_errors_name_what_is_wrong_and_the_sizes_that_fit() -> None:
    x, w = np.ones((1, 4, 5, 6), np.float32), np.ones((4, 3, 3, 3), np.float32)
    cases: list[tuple[str, dict[str, object]]] = [
        (r"output_size must be 9 or 10 along height.*got 12", {"stride": 2, "padding": 1, "output_size": 12}),
        (r"output_size must be 45 to 55 along height", {"stride": 11, "padding": 1, "output_size": (9, 1)}),
        (r"output_padding must be at least 0 and less than the stride .* 2, got 2", {"stride": 2, "output_padding": 2}),
        (r"output_padding must be 0 where output_size is given", {"stride": 2, "output_padding": 1, "output_size": 11}),
        (r"output_padding must be 0 where padding is 'same'", {"stride": 2, "output_padding": 1, "padding": "same"}),
        (r"output must have a positive height, got .* = -11", {"padding": 9}),
        (r"padding must be >= 0 along height, got \(-1, -1\)", {"padding": -1}),
        (r"stride must be at least 1 along width, got 0", {"stride": (1, 0)}),
        (r"dilation must be at least 1 along height, got -3", {"dilation": -3}),
        (r"groups must divide the input channels, got C=4, groups=3", {"groups": 3}),
        (r"groups must be >= 1, got 0", {"groups": 0}),
        (r"overflow 64-bit", {"stride": 2**62}),
        (r"bias must have shape \(3,\), got \(4,\)", {"bias": np.ones(4, np.float32)}),
    ]
    for text, options in cases:
        with pytest.raises(ValueError, match=f"conv_transpose2d: {text}|conv_transpose2d.*{text}"):
            ops.conv_transpose2d(x, w, **options)
    with pytest.raises(ValueError, match=r"weight must have shape \(C, OC/groups, KH, KW\) with C=4, got .*transpose"):
        ops.conv_transpose2d(x, w.transpose(1, 0, 2, 3))
    with pytest.raises(TypeError, match="output_padding must be an integer, got True"):
        ops.conv_transpose2d(x, w, output_padding=True)


def test_explain_tells_the_passes() -> None:
    e = fastconv.explain("conv_transpose2d", (8, 64, 28, 28), (64, 32, 2, 2), 2)
    assert e.output_shape == (8, 32, 56, 56)
    assert e.flops == 2 * 8 * 64 * 28 * 28 * 32 * 4
    assert fastconv.explain("conv_transpose2d_backward_input", (8, 64, 28, 28), (64, 32, 2, 2), 2).threads > 0


@pytest.mark.parametrize("options", [(2, 1, 1, 2, 1), ((3, 2), (0, 2), (2, 1), 1, (1, 2)), (1, 0, 0, 4, 3)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_agrees(options: tuple[object, ...], layout: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    stride, padding, output_padding, groups, dilation = options
    x, bias = rng.normal(size=(2, 8, 5, 6)), rng.normal(size=4)
    w = rng.normal(size=(8, 4 // groups, 3, 4))
    tensors = [torch.tensor(value, requires_grad=True) for value in (x, w, bias)]
    theirs = torch.nn.functional.conv_transpose2d(*tensors, stride, padding, output_padding, groups, dilation)
    grad = rng.normal(size=theirs.shape)
    theirs.backward(torch.tensor(grad))
    y = ops.conv_transpose2d(to_layout(x, layout), w, bias, *options, layout=layout)
    np.testing.assert_allclose(from_layout(y, layout), theirs.detach().numpy(), atol=1e-12)
    moved = to_layout(grad, layout)
    grad_input = ops.conv_transpose2d_backward_input(to_layout(x, layout).shape, w, moved, *options, layout=layout)
    np.testing.assert_allclose(from_layout(grad_input, layout), tensors[0].grad.numpy(), atol=1e-12)
    grad_weight = ops.conv_transpose2d_backward_weight(to_layout(x, layout), w.shape, moved, *options, layout=layout)
    np.testing.assert_allclose(grad_weight, tensors[1].grad.numpy(), atol=1e-12)
