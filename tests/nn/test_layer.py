"""Layers run one by one on arrays: results against the reference, gradients against differences, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastconv.nn import (
    ELU,
    GELU,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    Layer,
    LeakyReLU,
    Linear,
    Maxout,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from gradcheck import assert_gradient

IMAGES: dict[str, Callable[[], Layer]] = {
    "conv2d": lambda: Conv2d(2, 4, 3),
    "conv2d_all_options": lambda: Conv2d(2, 4, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, bias=False),
    "conv2d_lazy_same_relu": lambda: Conv2d(None, 3, 3, padding="same", activation="relu"),
    "conv_transpose2d": lambda: ConvTranspose2d(2, 4, 3),
    "conv_transpose2d_all_options": lambda: ConvTranspose2d(2, 4, (3, 2), (2, 3), 1, (1, 2), 2, dilation=(1, 2)),
    "conv_transpose2d_lazy_same_relu": lambda: ConvTranspose2d(None, 3, 2, 2, padding="same", activation="relu"),
    "max_pool2d": lambda: MaxPool2d(2),
    "max_pool2d_all_options": lambda: MaxPool2d((2, 3), (1, 2), ((1, 0), (1, 1)), (2, 1), ceil_mode=True),
    "avg_pool2d": lambda: AvgPool2d(2),
    "avg_pool2d_all_options": lambda: AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "avg_pool2d_divisor": lambda: AvgPool2d(2, divisor_override=3),
    "global_avg_pool2d": lambda: GlobalAvgPool2d(),
    "global_max_pool2d": lambda: GlobalMaxPool2d(keepdims=True),
    "conv2d_tanh": lambda: Conv2d(2, 3, 3, activation="tanh"),
    "conv2d_gelu": lambda: Conv2d(2, 3, 3, activation="gelu"),
    "conv_transpose2d_silu": lambda: ConvTranspose2d(2, 3, 3, activation="silu"),
    "leaky_relu": lambda: LeakyReLU(0.2),
    "elu": lambda: ELU(0.7),
    "gelu_tanh": lambda: GELU("tanh"),
    "maxout": lambda: Maxout(2),
    "softmax_channels": lambda: Softmax(),
    "softmax_width": lambda: Softmax(-1),
    "relu": lambda: ReLU(),
    "flatten": lambda: Flatten(),
    "dropout_off": lambda: Dropout(0.5),
}
VECTORS: dict[str, Callable[[], Layer]] = {
    "linear": lambda: Linear(5, 4),
    "linear_lazy_relu": lambda: Linear(None, 4, bias=False, activation="relu"),
    "linear_softplus": lambda: Linear(None, 4, activation="softplus"),
    "linear_sigmoid": lambda: Linear(None, 4, activation="sigmoid"),
    "sigmoid": lambda: Sigmoid(),
    "tanh": lambda: Tanh(),
    "silu": lambda: SiLU(),
    "gelu": lambda: GELU(),
    "softplus": lambda: Softplus(2.0, 5.0),
    "maxout": lambda: Maxout(5),
    "softmax": lambda: Softmax(),
    "relu": lambda: ReLU(),
    "flatten": lambda: Flatten(),
}


def _double(layer: Layer) -> Layer:
    layer.astype(np.float64)
    return layer


def _check_gradients(layer: Layer, x: np.ndarray, layout: str, rng: np.random.Generator) -> None:
    output = layer(x, layout=layout)
    for parameter in layer.parameters().values():
        parameter.data = parameter.data + rng.uniform(-0.1, 0.1, parameter.shape)
    output = layer(x, layout=layout)
    grad_output = rng.normal(size=output.shape)
    kept = grad_output.copy()
    grad_input = layer.backward(grad_output)
    np.testing.assert_array_equal(grad_output, kept)
    assert grad_input.shape == x.shape
    assert_gradient(lambda at: layer(at, layout=layout), x, grad_output, grad_input)
    for name, parameter in layer.parameters().items():

        def with_values(values: np.ndarray, parameter=parameter) -> np.ndarray:
            before = parameter.data.copy()
            parameter.data = values
            result = layer(x, layout=layout)
            parameter.data = before
            return result

        assert parameter.grad is not None, name
        assert_gradient(with_values, parameter.data, grad_output, parameter.grad)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", IMAGES)
def test_gradients_on_images(name: str, layout: str, rng: np.random.Generator) -> None:
    shape = (2, 2, 5, 6) if layout == "NCHW" else (2, 5, 6, 2)
    _check_gradients(_double(IMAGES[name]()), rng.normal(size=shape), layout, rng)


@pytest.mark.parametrize("name", VECTORS)
def test_gradients_on_vectors(name: str, rng: np.random.Generator) -> None:
    _check_gradients(_double(VECTORS[name]()), rng.normal(size=(3, 5)), "NCHW", rng)


@pytest.mark.parametrize("name", IMAGES)
def test_both_layouts_mean_the_same(name: str, rng: np.random.Generator) -> None:
    layer, x = _double(IMAGES[name]()), rng.normal(size=(2, 2, 5, 6))
    first = layer(x)
    last = layer(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), layout="NHWC")
    np.testing.assert_allclose(last.transpose(0, 3, 1, 2) if last.ndim == 4 else last, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", IMAGES)
def test_infer_shape_and_flops_agree_with_the_output(name: str, rng: np.random.Generator) -> None:
    layer, x = _double(IMAGES[name]()), rng.normal(size=(2, 2, 5, 6))
    assert layer(x).shape[1:] == layer.infer_shape((2, 5, 6))
    assert layer.flops((2, 5, 6)) >= 0


@pytest.mark.parametrize("name", IMAGES)
def test_outputs_never_alias_inputs(name: str, rng: np.random.Generator) -> None:
    layer, x = _double(IMAGES[name]()), rng.normal(size=(2, 2, 5, 6))
    output = layer(x)
    assert not np.shares_memory(output, x)
    assert not np.shares_memory(layer.backward(output), output)


def test_add_and_concat(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3, 4, 4))
    add, concat = Add(), Concat()
    np.testing.assert_array_equal(add(a, b, a), a + b + a)
    assert [grad.tolist() for grad in add.backward(a)] == [a.tolist()] * 3
    np.testing.assert_array_equal(concat(a, b[:, :2]), np.concatenate([a, b[:, :2]], 1))
    grad = rng.normal(size=(2, 5, 4, 4))
    for got, expected in zip(concat.backward(grad), np.split(grad, [3], 1), strict=True):
        np.testing.assert_array_equal(got, expected)
    turned = concat(a, b, layout="NHWC")
    np.testing.assert_array_equal(turned, np.concatenate([a, b], 3))


def test_flatten_has_the_order_of_nchw_whatever_the_layout(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(Flatten()(x), x.reshape(2, -1))
    np.testing.assert_array_equal(Flatten()(x.transpose(0, 2, 3, 1), layout="NHWC"), x.reshape(2, -1))


def test_gradients_of_parameters_add_up_until_zeroed(rng: np.random.Generator) -> None:
    layer, x = Conv2d(1, 2, 3), rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    grad = np.ones_like(layer(x))
    layer.backward(grad)
    once = layer.weight.grad.copy()
    layer.backward(grad)
    np.testing.assert_allclose(layer.weight.grad, 2 * once, rtol=1e-6)
    layer.zero_grad()
    assert not layer.weight.grad.any()


def test_dropout_in_training(rng: np.random.Generator) -> None:
    x = np.ones((50, 400), np.float32)
    layer = Dropout(0.3, seed=4)
    output = layer(x, training=True)
    assert set(np.unique(output)) == {np.float32(0), np.float32(1 / 0.7)}
    assert np.mean(output == 0) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(layer.backward(x), output)
    np.testing.assert_array_equal(Dropout(0.3, seed=4)(x, training=True), output)
    assert not np.array_equal(layer(x, training=True), output)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)


def test_nan_passes_through(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 1, 4, 4)).astype(np.float32)
    x[0, 0, 1, 1] = np.nan
    for layer in (ReLU(), MaxPool2d(2), AvgPool2d(2), Conv2d(1, 1, 1, activation="relu", seed=1)):
        assert np.isnan(layer(x)).sum() == 1


def test_lazy_layers_take_the_channels_and_the_dtype_of_the_first_input(rng: np.random.Generator) -> None:
    conv, linear = Conv2d(None, 4, 3, groups=2), Linear(None, 3)
    with pytest.raises(AttributeError, match="weight exists once in_channels is known"):
        _ = conv.weight
    conv(rng.normal(size=(1, 6, 5, 5)))
    linear(rng.normal(size=(1, 7)))
    assert conv.weight.shape == (4, 3, 3, 3)
    assert linear.weight.shape == (3, 7)
    assert conv.weight.dtype == linear.weight.dtype == np.float64


def test_no_sample_at_all() -> None:
    for name, build in IMAGES.items():
        layer = build()
        output = layer(np.zeros((0, 2, 5, 6), np.float32))
        assert output.shape[0] == 0, name
        assert layer.backward(output).shape == (0, 2, 5, 6)
        assert not any(parameter.grad.any() for parameter in layer.parameters().values())


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: Conv2d(3, 8, 0), ValueError, r"conv2d: kernel_size must be positive, got \(0, 0\)"),
        (lambda: Conv2d(3, 8, 3, stride=0), ValueError, "conv2d: stride must be positive"),
        (lambda: Conv2d(3, 8, 3, dilation=(1, -1)), ValueError, r"conv2d: dilation must be positive, got \(1, -1\)"),
        (lambda: Conv2d(3, 8, 3.0), TypeError, r"conv2d: kernel_size must be an integer, got 3.0 \(float\)"),
        (lambda: Conv2d(3, True, 3), TypeError, "conv2d: out_channels must be an integer"),
        (lambda: Conv2d(3, 8, 3, padding="full"), ValueError, "conv2d: padding must be one of"),
        (lambda: Conv2d(3, 8, 3, groups=3), ValueError, "conv2d: out_channels must be a positive multiple of groups"),
        (lambda: Conv2d(3, 8, 3, groups=2), ValueError, "conv2d: in_channels must be a positive multiple of groups"),
        (lambda: Conv2d(0, 8, 3), ValueError, "conv2d: in_channels must be a positive multiple"),
        (lambda: Conv2d(3, 8, 3, bias=None), TypeError, "conv2d: bias must be True or False"),
        (lambda: Conv2d(3, 8, 3, activation="step"), ValueError, "conv2d: activation must be None or one of 'relu', "),
        (lambda: Linear(3, 8, activation="softmax"), ValueError, r"put nn.Softmax\(\) behind the layer"),
        (lambda: Linear(3, 8, activation=3), TypeError, "linear: activation must be None or one of"),
        (lambda: LeakyReLU(-1), ValueError, "leaky_relu: negative_slope must be finite and at least 0, got -1"),
        (lambda: ELU("a"), TypeError, "elu: alpha must be a number"),
        (lambda: GELU("erf"), ValueError, "gelu: approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: Softplus(0), ValueError, "softplus: beta must be finite and above 0, got 0"),
        (lambda: Maxout(0), ValueError, "maxout: pieces must lie in 1..254, got 0"),
        (lambda: Maxout(2)(np.ones((1, 3))), ValueError, "maxout: input must have a multiple of pieces=2 channels"),
        (lambda: Softmax(0)(np.ones((1, 3))), ValueError, "softmax: axis must lie in 1..1 or -1..-1, got 0"),
        (lambda: Conv2d(3, 8, 3, name=""), ValueError, "conv2d: name must be a non-empty printable str"),
        (lambda: Linear(0, 8), ValueError, "linear: in_features must be positive, got 0"),
        (lambda: Linear(4, -1), ValueError, "linear: out_features must be positive, got -1"),
        (lambda: MaxPool2d(0), ValueError, "max_pool2d: kernel_size must be positive"),
        (lambda: MaxPool2d(2, ceil_mode=1), TypeError, "max_pool2d: ceil_mode must be True or False"),
        (lambda: MaxPool2d(2, 2, "same"), TypeError, "max_pool2d: padding must be an integer"),
        (lambda: AvgPool2d(2, divisor_override=0), ValueError, "avg_pool2d: divisor_override must be positive"),
        (lambda: Dropout(1.0), ValueError, r"dropout: p must lie in \[0, 1\), got 1.0"),
        (lambda: Dropout("half"), TypeError, "dropout: p must be a number"),
        (lambda: Dropout(float("nan")), ValueError, "dropout: p must lie in"),
    ],
)
def test_bad_hyper_parameters_are_refused(build: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build()


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.zeros((2, 3, 8, 8), np.float64), TypeError, "conv2d: input must be float32 like the other arrays"),
        (np.zeros((2, 3, 8, 8), np.int32), TypeError, r"conv2d: input must be float32 or float64, got int32; write"),
        (np.zeros((2, 4, 8, 8), np.float32), ValueError, "conv2d: input must be .* C=3"),
        (np.zeros((3, 8, 8), np.float32), ValueError, r"conv2d: inputs must be \(N, C, H, W\) or \(N, F\)"),
        (np.zeros((2, 3), np.float32), ValueError, "conv2d: input must be"),
        ([[1.0]], TypeError, "conv2d: input must be a numpy.ndarray, got builtins.list"),
        (np.ma.zeros((2, 3, 8, 8)), TypeError, "its mask would be lost"),
    ],
)
def test_bad_inputs_are_refused(x: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Conv2d(3, 8, 3)(x)


def test_backward_is_refused_before_a_call_and_for_other_shapes() -> None:
    layer = Conv2d(3, 8, 3)
    with pytest.raises(RuntimeError, match="conv2d: backward needs a call on an array before it"):
        layer.backward(np.zeros((1, 8, 6, 6), np.float32))
    layer(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"conv2d: grad_output must have shape \(1, 8, 6, 6\), got \(1, 8, 8, 8\)"):
        layer.backward(np.zeros((1, 8, 8, 8), np.float32))
