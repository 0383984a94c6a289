"""fastconv.torch against PyTorch's own functions: values, gradients, memory formats, layers, errors."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import fastconv.torch as fct  # noqa: E402  # needs PyTorch

F = torch.nn.functional
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(params=FORMATS, ids=["nchw", "channels-last"])
def memory_format(request: pytest.FixtureRequest) -> Any:
    return request.param


def images(memory_format: Any, *shape: int, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(*shape, dtype=dtype, generator=generator)
    return (x if x.dim() == 3 else x.to(memory_format=memory_format)).requires_grad_()


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("geometry", [{}, {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}])
def test_conv2d(memory_format: Any, geometry: dict[str, Any], activation: str | None) -> None:
    x, b = images(memory_format, 2, 4, 9, 8), images(None, 1, 1, 6).flatten().detach().requires_grad_()
    w = images(memory_format, 6, 4 // geometry.get("groups", 1), 3, 2)
    y = fct.conv2d(x, w, b, **geometry, activation=activation)
    expected = F.conv2d(x, w, b, **geometry)
    expected = expected.relu() if activation else expected
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=memory_format)
    gy = torch.randn_like(expected)
    for got, right in zip(
        torch.autograd.grad(y, (x, w, b), gy), torch.autograd.grad(expected, (x, w, b), gy), strict=True
    ):
        torch.testing.assert_close(got, right)


def test_gradients_by_differences(memory_format: Any) -> None:
    x, w = images(memory_format, 1, 2, 5, 4), images(memory_format, 3, 2, 2, 3)
    assert torch.autograd.gradcheck(lambda x, w: fct.conv2d(x, w, padding=((1, 0), (0, 2))), (x, w))
    assert torch.autograd.gradcheck(lambda x: fct.max_pool2d(x, 2, 1), (x,))
    assert torch.autograd.gradcheck(lambda x: fct.avg_pool2d(x, (2, 3), ceil_mode=True), (x,))


def test_only_the_gradients_that_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for name in ("conv2d_backward_input", "conv2d_backward_weight", "conv2d_backward_bias"):
        real = getattr(fct.ops, name)
        monkeypatch.setattr(fct.ops, name, lambda *a, name=name, real=real, **k: called.append(name) or real(*a, **k))
    x, b = torch.zeros(1, 1, 5, 5), torch.zeros(1)
    w = torch.zeros(1, 1, 3, 3, requires_grad=True)
    fct.conv2d(x, w, b).sum().backward()
    assert called == ["conv2d_backward_weight"]
    assert x.grad is None
    assert b.grad is None


@pytest.mark.parametrize(
    "options", [{}, {"stride": 1, "padding": 1}, {"stride": (2, 3), "padding": (1, 0), "ceil_mode": True}]
)
def test_pooling(memory_format: Any, options: dict[str, Any]) -> None:
    x = images(memory_format, 2, 3, 9, 8)
    for ours, theirs in ((fct.max_pool2d, F.max_pool2d), (fct.avg_pool2d, F.avg_pool2d)):
        y, expected = ours(x, (3, 2), **options), theirs(x, (3, 2), **options)
        torch.testing.assert_close(y, expected)
        gy = torch.randn_like(expected)
        torch.testing.assert_close(torch.autograd.grad(y, x, gy)[0], torch.autograd.grad(expected, x, gy)[0])


def test_places_of_maxima_are_found_for_a_gradient_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real, wanted = fct.ops.max_pool2d, []
    monkeypatch.setattr(
        fct.ops, "max_pool2d", lambda *a, **k: wanted.append(k.get("return_indices", False)) or real(*a, **k)
    )
    x = images(torch.contiguous_format, 1, 2, 4, 6)
    for image in (x, x.detach()):
        torch.testing.assert_close(fct.max_pool2d(image, 2), F.max_pool2d(image, 2))
    assert wanted == [True, False]


def test_one_image_expanded_gradients_and_no_images() -> None:
    x, w = images(None, 3, 6, 5), images(torch.contiguous_format, 2, 3, 3, 3)
    y = fct.conv2d(x, w)
    torch.testing.assert_close(y, F.conv2d(x, w))
    gx, gw = torch.autograd.grad(y.sum(), (x, w))  # a gradient whose strides are 0
    ex, ew = torch.autograd.grad(F.conv2d(x, w).sum(), (x, w))
    torch.testing.assert_close(gx, ex)
    torch.testing.assert_close(gw, ew)
    nothing = torch.zeros(0, 3, 6, 5, dtype=torch.float64)
    assert fct.conv2d(nothing, w).shape == (0, 2, 4, 3)


def network() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, return_indices=False),
        nn.Conv2d(8, 6, 3, padding="same", padding_mode="reflect", groups=2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


def test_a_network_whose_layers_are_replaced(memory_format: Any) -> None:
    torch.manual_seed(0)
    model = network().to(memory_format=memory_format)
    ours = copy.deepcopy(model)
    assert fct.replace(ours) is ours
    assert [type(layer) for layer in ours if type(layer).__module__ == "fastconv.torch"] == [
        fct.Conv2d,
        fct.MaxPool2d,
        fct.Conv2d,
        fct.AvgPool2d,
    ]
    x = images(memory_format, 2, 3, 8, 8, dtype=torch.float32)
    for m in (model, ours):
        m(x).square().sum().backward()
    for (name, expected), (same, got) in zip(model.named_parameters(), ours.named_parameters(), strict=True):
        assert name == same
        torch.testing.assert_close(got.grad, expected.grad)
    ours.load_state_dict(model.state_dict())


def test_indices_come_from_pytorch() -> None:
    layer = fct.replace(torch.nn.MaxPool2d(2, return_indices=True))
    y, indices = layer(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert y.flatten().tolist() == [5, 7, 13, 15]
    assert indices.dtype == torch.int64


@pytest.mark.parametrize("options", [{"count_include_pad": False}, {"divisor_override": 3}, {"ceil_mode": True}])
def test_options_of_average_layers(options: dict[str, Any]) -> None:
    layer = torch.nn.AvgPool2d((3, 2), 2, 1, **options)
    x = images(torch.contiguous_format, 1, 2, 6, 7)
    torch.testing.assert_close(fct.replace(copy.deepcopy(layer))(x), layer(x))


def test_derived_classes_are_left_alone() -> None:
    class Own(torch.nn.Conv2d):
        pass

    assert type(fct.replace(Own(1, 1, 1))) is Own


def test_no_second_gradient() -> None:
    x, w = images(torch.contiguous_format, 1, 1, 3, 3), images(torch.contiguous_format, 1, 1, 2, 2)
    (gx,) = torch.autograd.grad(fct.conv2d(x, w).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gx.sum().backward()


def test_errors() -> None:
    x, w = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3)
    with pytest.raises(TypeError, match=r"conv2d: input must be a torch\.Tensor, got ndarray"):
        fct.conv2d(x.numpy(), w)
    with pytest.raises(TypeError, match=r"conv2d: weight must be float32 or float64 .* got torch\.float16 on cpu"):
        fct.conv2d(x, w.half())
    with pytest.raises(TypeError, match="conv2d: weight must be float32 like the other arrays, got float64"):
        fct.conv2d(x, w.double())
    with pytest.raises(ValueError, match="conv2d: activation must be None or 'relu', got 'tanh'"):
        fct.conv2d(x, w, activation="tanh")
    with pytest.raises(ValueError, match="conv2d: "):
        fct.conv2d(x, torch.zeros(1, 1, 5, 5))
    with pytest.raises(TypeError, match=r"replace: module must be a torch\.nn\.Module, got Tensor"):
        fct.replace(x)
