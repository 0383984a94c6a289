"""Layers that change the size of images, alone and in a U-Net: gradients, bits, memory and errors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from fastconv import _core, nn
from fastconv.nn.steps import Mode
from gradcheck import assert_gradient

ONE: dict[str, Callable[[], nn.Layer]] = {
    "upsample": lambda: nn.Upsample(scale_factor=2),
    "upsample_bilinear": lambda: nn.Upsample((5, 9), mode="bilinear"),
    "upsample_aligned": lambda: nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=True),
    "pixel_shuffle": lambda: nn.PixelShuffle(2),
    "pixel_unshuffle": lambda: nn.PixelUnshuffle(2),
    "pad": lambda: nn.Pad(((1, 2), (0, 3)), value=2.0),
    "pad_reflect": lambda: nn.Pad(2, "reflect"),
    "pad_replicate": lambda: nn.Pad((2, 1), "replicate"),
    "crop": lambda: nn.Crop(((1, 0), (2, 1))),
    "adaptive_avg_pool2d": lambda: nn.AdaptiveAvgPool2d((3, 4)),
    "adaptive_avg_pool2d_even": lambda: nn.AdaptiveAvgPool2d((2, None)),
    "adaptive_max_pool2d": lambda: nn.AdaptiveMaxPool2d((3, 4)),
    "adaptive_max_pool2d_even": lambda: nn.AdaptiveMaxPool2d((2, 3)),
    "lp_pool2d": lambda: nn.LpPool2d(2, 2),
    "lp_pool2d_l1": lambda: nn.LpPool2d(1, 3, 1, padding=1),
    "lp_pool2d_l3": lambda: nn.LpPool2d(3, 2, 1),
    "weighted_pool2d": lambda: nn.WeightedPool2d(3, 1, "same"),
    "weighted_pool2d_given": lambda: nn.WeightedPool2d([[1, 2], [3, 4]]),
    "reshape": lambda: nn.Reshape((2, -1, 3)),
    "reshape_flat": lambda: nn.Reshape((96,)),
    "reshape_same_bytes": lambda: nn.Reshape((96, 1, 1)),
}
SEVERAL: dict[str, tuple[Callable[[], nn.Layer], list[tuple[int, ...]]]] = {
    "crop_like": (lambda: nn.CropLike(), [(2, 5, 6), (3, 2, 3)]),
    "concat_crop": (lambda: nn.Concat(crop="center"), [(2, 5, 6), (3, 4, 7), (1, 5, 5)]),
    "multiply": (lambda: nn.Multiply(), [(2, 3, 4), (2, 3, 4)]),
    "multiply_channels": (lambda: nn.Multiply(), [(2, 3, 4), (2,)]),
    "multiply_vectors": (lambda: nn.Multiply(), [(5,), (5,)]),
    "add_channels": (lambda: nn.AddChannels(), [(2, 3, 4), (2, 1, 1)]),
    "scale_shift": (lambda: nn.ScaleShift(), [(2, 3, 4), (2,), (2, 1, 1)]),
    "max_unpool2d": (lambda: nn.MaxUnpool2d(nn.MaxPool2d(2, ceil_mode=True)), [(2, 2, 3), (2, 4, 5)]),
}


def _array(rng: np.random.Generator, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """Values far from each other and from zero, where maxima and norms have no kinks."""
    size = 2 * int(np.prod(shape))
    values = (rng.permutation(size) + 1.0).reshape(2, *shape) / size * np.where(rng.random((2, *shape)) < 0.5, -1, 1)
    return np.ascontiguousarray(np.moveaxis(values, 1, -1)) if layout == "NHWC" and len(shape) == 3 else values


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ONE)
def test_gradients_of_layers(name: str, layout: str, rng: np.random.Generator) -> None:
    layer, x = ONE[name](), _array(rng, (4, 4, 6), layout)
    y = layer(x, layout=layout)
    grad = rng.normal(size=y.shape)
    kept = grad.copy()
    found = layer.backward(grad)
    np.testing.assert_array_equal(grad, kept)
    assert_gradient(lambda v: layer(v, layout=layout), x, grad, found)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", SEVERAL)
def test_gradients_of_layers_with_several_inputs(name: str, layout: str, rng: np.random.Generator) -> None:
    make, shapes = SEVERAL[name]
    layer, inputs = make(), [_array(rng, shape, layout) for shape in shapes]
    y = layer(*inputs, layout=layout)
    grad = rng.normal(size=y.shape)
    found = layer.backward(grad)
    for at, (x, gradient) in enumerate(zip(inputs, found, strict=True)):

        def function(v: np.ndarray, at: int = at) -> np.ndarray:
            return layer(*inputs[:at], v, *inputs[at + 1 :], layout=layout)

        assert_gradient(function, x, grad, gradient)


def test_gradient_of_the_embedding(rng: np.random.Generator) -> None:
    layer, x = nn.SinusoidalEmbedding(6, 20), rng.normal(size=(3, 1))
    grad = rng.normal(size=layer(x).shape)
    assert_gradient(lambda v: layer(v), x, grad, layer.backward(grad))


@pytest.mark.parametrize("name", ONE)
def test_engine_gives_what_the_layer_gives(name: str, rng: np.random.Generator) -> None:
    layer, x = ONE[name](), _array(rng, (4, 4, 6), "NCHW").astype(np.float32)
    node = nn.Input((4, 4, 6))
    model = nn.Model(node, layer(node))
    np.testing.assert_allclose(model.predict_on_batch(x), layer(x), rtol=1e-6, atol=1e-7)


def _unet(**options: object) -> nn.Model:
    """A diffusion model's U-Net in small: every new kind of layer that a graph wants."""
    x, time = nn.Input((2, 13, 11)), nn.Input((1,))
    embedded = nn.Linear(None, 4, activation="relu")(nn.SinusoidalEmbedding(8, 100)(time))
    first = nn.Conv2d(None, 4, 3, activation="relu")(nn.Pad(1, "reflect")(x))
    first = nn.ScaleShift()(first, nn.Linear(None, 4)(embedded), nn.Linear(None, 4)(embedded))
    pool = nn.MaxPool2d(2)
    low = nn.Conv2d(None, 4, 3, padding=1)(pool(first))
    low = nn.AddChannels()(nn.ReLU()(low), embedded)
    unpooled = nn.MaxUnpool2d(pool)(low, first)
    up = nn.ConvTranspose2d(None, 4, 2, 2, activation="relu")(low)
    joined = nn.Concat(crop="center")(up, unpooled, nn.Upsample(scale_factor=2, mode="bilinear")(low))
    weights = nn.Linear(None, 12)(nn.Flatten()(nn.AdaptiveAvgPool2d(1)(joined)))
    joined = nn.Multiply()(joined, weights)
    joined = nn.Add()(nn.Conv2d(None, 8, 3, padding=1)(joined), nn.Conv2d(None, 8, 1)(nn.CropLike()(first, up)))
    wide = nn.PixelShuffle(2)(nn.WeightedPool2d(3, 1, "same")(joined))
    end = nn.LpPool2d(2, 3, 1, padding=1)(nn.AdaptiveMaxPool2d((5, 4))(wide))
    return nn.Model([x, time], nn.Linear(None, 3)(nn.Flatten()(nn.Reshape((4, 5, 2))(end))), **options)


def test_gradients_of_a_unet(rng: np.random.Generator) -> None:
    model = _unet(dtype="float64")
    model.compile("sgd", "cross_entropy")
    model.optimizer.learning_rate = 0.0
    for parameter in model.parameters():
        parameter.data = parameter.data + rng.uniform(-0.1, 0.1, parameter.shape)
    x, y = [rng.normal(size=(2, 2, 13, 11)), rng.normal(size=(2, 1))], rng.integers(0, 3, 2)
    model.train_on_batch(x, y)
    step = 1e-6
    for name, parameter in model.named_parameters().items():
        for index in rng.choice(parameter.size, min(parameter.size, 6), replace=False):
            at = np.unravel_index(index, parameter.shape)
            middle, found = parameter.data[at], []
            for moved in (middle + step, middle - step):
                parameter.data[at] = moved
                parameter.touch()
                found.append(model.test_on_batch(x, y)["loss"])
            parameter.data[at] = middle
            parameter.touch()
            expected = (found[0] - found[1]) / (2 * step)
            assert parameter.grad[at] == pytest.approx(expected, rel=1e-4, abs=1e-7), f"{name}{list(at)}"


def test_a_unet_keeps_its_promises(rng: np.random.Generator) -> None:
    """The same bits for any threads, batch split and kept maps; nothing allocated after the first step."""
    model = _unet()
    model.compile("sgd", "cross_entropy")
    x = [rng.normal(size=(6, 2, 13, 11)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)]
    y = rng.integers(0, 3, 6)
    output = model.predict_on_batch(x)
    for threads in (1, 2, 3, 8):
        with fastconv.threads(threads):
            np.testing.assert_array_equal(model.predict_on_batch(x), output)
    parts = [model.predict_on_batch([a[i : i + 2] for a in x]) for i in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate(parts), output)
    gradients = []
    for keep in ((), model.graph.nodes):
        mode = Mode(training=True, with_backward=True, keep=keep, keep_grad=keep)
        loss = fastconv.losses.SoftmaxCrossEntropy()
        program = model._engine.program([a.shape for a in x], model.dtype, mode, (loss,))
        program.load(x, "NCHW")
        program.load_targets([y], "NCHW")
        program.forward()
        program.losses()
        program.backward()
        gradients.append([parameter.gradient().copy() for parameter in model.parameters()])
    for fused, plain in zip(*gradients, strict=True):
        np.testing.assert_array_equal(fused, plain)
    x, y = [np.tile(a, (8, *[1] * (a.ndim - 1))) for a in x], np.tile(y, 8)
    for _ in range(3):
        model.train_on_batch(x, y)
    scratch, arena = _core.scratch_stats()["allocations"], model._engine.arena_bytes
    tracemalloc.start()
    try:
        model.train_on_batch(x, y)
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        model.train_on_batch(x, y)
        peak = tracemalloc.get_traced_memory()[1] - base
    finally:
        tracemalloc.stop()
    assert (_core.scratch_stats()["allocations"], model._engine.arena_bytes) == (scratch, arena)
    largest = 48 * 24 * 20 * 2 * 4
    assert peak < 60_000 < largest / 2, f"small Python objects and NumPy's buffers of 8192 values, got {peak} bytes"


def test_errors_name_the_branches_and_what_would_fit() -> None:
    image, other = nn.Input((3, 8, 9)), nn.Input((4, 6, 9))
    cases: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ValueError, r"\(3, 8, 9\) from branch 0 and \(4, 6, 9\) from branch 1; branch 1 would have to be \(4, 8, 9\); "
         r"crop='center' would take the middle \(6, 9\) of both", lambda: nn.Concat()(image, other)),
        (ValueError, "crop must be None or 'center', got 'left'", lambda: nn.Concat(crop="left")),
        (ValueError, "at most the input's 6 x 9, got 8 x 9", lambda: nn.CropLike()(other, image)),
        (ValueError, r"would|shape that max_pool2d makes of the second, \(3, 4, 4\) of \(3, 8, 9\), got \(4, 6, 9\)",
         lambda: nn.MaxUnpool2d(nn.MaxPool2d(2))(other, image)),
        (TypeError, "pool must be a MaxPool2d, got 2", lambda: nn.MaxUnpool2d(2)),
        (ValueError, r"value for each channel of the first, \(3,\) or \(3, 1, 1\), got \(4, 6, 9\)",
         lambda: nn.Multiply()(image, other)),
        (ValueError, "the third input must have a value", lambda: nn.ScaleShift()(image, nn.Input((3,)), other)),
        (ValueError, r"as many values as the input's \(3, 8, 9\), got \(7, -1, 2\)",
         lambda: nn.Reshape((7, -1, 2))(image)),
        (ValueError, "one of them perhaps -1", lambda: nn.Reshape((-1, -1, 2))),
        (ValueError, r"input must be \(N, 1\)", lambda: nn.SinusoidalEmbedding(4)(image)),
        (ValueError, r"input must be \(N, C, H, W\)", lambda: nn.Upsample(2)(nn.Input((3,)))),
        (ValueError, "padding must not be negative", lambda: nn.Pad(-1)),
        (ValueError, "sigma must be None where the weights are given", lambda: nn.WeightedPool2d([[1, 2]], sigma=1)),
        (ValueError, "output_size must be 15 or 16 along height",
         lambda: nn.ConvTranspose2d(None, 2, 1, 2, output_size=9)(image)),
    ]  # fmt: skip
    for error, text, call in cases:
        with pytest.raises(error, match=text):
            call()
