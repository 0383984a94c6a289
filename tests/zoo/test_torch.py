"""Whole networks against PyTorch: the same graph, run by it layer by layer, forward and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn, zoo

torch = pytest.importorskip("torch")
F = torch.nn.functional

NETWORKS: dict[str, Callable[[], nn.Model]] = {
    "lenet5": lambda: zoo.lenet5(),
    "keras_mnist": lambda: zoo.keras_mnist(),
    "fashion_cnn": lambda: zoo.fashion_cnn((1, 16, 16)),
    "alexnet": lambda: zoo.alexnet((3, 67, 67), 5),
    "vgg11": lambda: zoo.vgg11((3, 32, 32), 5),
    "googlenet": lambda: zoo.googlenet((3, 64, 64), 5),
    "resnet18": lambda: zoo.resnet18((3, 64, 64), 5),
    "resnet50": lambda: zoo.resnet50((3, 64, 64), 5),
    "resnet20": lambda: zoo.resnet20((3, 16, 16), 5),
    "mobilenet_v2": lambda: zoo.mobilenet_v2((3, 64, 64), 5, width=0.5),
    "all_conv": lambda: zoo.all_conv((3, 16, 16), 5),
    "convnet": lambda: zoo.convnet(2, 2, 1, (3, 16, 16), 5, width=16),
    "go_policy": lambda: zoo.go_policy(filters=32, layers=4),
    "unet": lambda: zoo.unet((3, 32, 32), 4, width=8, depth=2),
    "denoising_unet": lambda: zoo.denoising_unet((1, 16, 16), width=16),
}


def padding_of(geometry: Any) -> list[int]:
    (top, bottom), (left, right) = geometry.padding
    return [left, right, top, bottom]


def run_layer(
    layer: nn.Layer, inputs: list[Any], shapes: list[tuple[int, ...]], p: dict[str, Any], training: bool
) -> Any:
    """What PyTorch calls the layer; dropout is off."""
    x = inputs[0]
    match layer:
        case nn.Conv2d():
            g = layer.geometry(1, shapes[0])
            x = F.conv2d(F.pad(x, padding_of(g)), p["weight"], p.get("bias"), g.stride, 0, g.dilation, g.groups)
            return torch.relu(x) if layer.activation == "relu" else x
        case nn.Linear():
            x = F.linear(x, p["weight"], p.get("bias"))
            return torch.relu(x) if layer.activation == "relu" else x
        case nn.BatchNorm2d():
            running = p["running_mean"].detach().clone(), p["running_var"].detach().clone()
            return F.batch_norm(x, *running, p["weight"], p["bias"], training, eps=layer.eps)
        case nn.GroupNorm():
            return F.group_norm(x, layer.num_groups, p["weight"], p["bias"], layer.eps)
        case nn.LocalResponseNorm():
            return F.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
        case nn.MaxPool2d():
            (pad, _), _ = layer.padding
            return F.max_pool2d(x, layer.kernel_size, layer.stride, pad, layer.dilation, layer.ceil_mode)
        case nn.AvgPool2d():
            return F.avg_pool2d(x, layer.kernel_size, layer.stride)
        case nn.GlobalAvgPool2d():
            return x.mean(dim=(2, 3))
        case nn.ReLU():
            return torch.relu(x)
        case nn.SiLU():
            return F.silu(x)
        case nn.Flatten():
            return x.flatten(1)
        case nn.Dropout():
            return x
        case nn.Add():
            return sum(inputs[1:], x)
        case nn.Concat():
            return torch.cat(inputs, dim=1)
        case nn.Upsample():
            return F.interpolate(x, scale_factor=2, mode="nearest")
        case nn.Bias():
            return x + p["bias"]
        case nn.AddChannels():
            return x + inputs[1][:, :, None, None]
        case nn.SinusoidalEmbedding():
            frequencies = layer.max_period ** (-torch.arange(layer.dim // 2, dtype=x.dtype) / (layer.dim // 2))
            return torch.cat([torch.sin(x * frequencies), torch.cos(x * frequencies)], dim=1)
    raise AssertionError(f"no counterpart of {layer!r}")


class Theirs:
    """The model's graph and weights in PyTorch, in float64."""

    def __init__(self, model: nn.Model, arrays: tuple[np.ndarray, ...], training: bool) -> None:
        self.parameters = {
            name: torch.tensor(parameter.data, dtype=torch.float64, requires_grad=parameter.trainable)
            for name, parameter in model.named_parameters().items()
        }
        self.inputs = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
        values = dict(zip(model.graph.inputs, self.inputs, strict=True))
        shapes = model.graph.infer_shapes([tuple(array.shape[1:]) for array in arrays])
        for node in model.graph.nodes:
            if node.layer is not None:
                name = model.graph.names[node.layer]
                own = {role: self.parameters[f"{name}.{role}"] for role in node.layer.parameters()}
                before = [values[source] for source in node.inputs]
                values[node] = run_layer(node.layer, before, [shapes[n] for n in node.inputs], own, training)
        self.output = values[model.graph.outputs[0]]


def distance(ours: np.ndarray, theirs: Any, floor: float = 1e-30) -> float:
    """Relative error in the 2-norm."""
    expected = theirs.detach().numpy()
    return float(np.linalg.norm((ours - expected).ravel()) / max(np.linalg.norm(expected.ravel()), floor))


def prepared(name: str, dtype: Any) -> tuple[nn.Model, tuple[np.ndarray, ...]]:
    """The model without dropout, with biases and statistics that are no special values, and inputs."""
    model = NETWORKS[name]()
    model.astype(dtype)
    rng = np.random.default_rng(5)
    for layer in model.layers.values():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    for role, parameter in model.named_parameters().items():
        if role.endswith(("bias", "running_mean")):
            parameter.data = 0.1 * rng.standard_normal(parameter.shape).astype(dtype)
        elif role.endswith("running_var"):
            parameter.data = rng.uniform(0.5, 2, parameter.shape).astype(dtype)
    arrays = [rng.standard_normal((6, *(node.shape or ()))).astype(dtype) for node in model.graph.inputs]
    if name == "denoising_unet":
        arrays[1] = np.array([[0], [1], [7], [50], [100], [199]], dtype)
    return model, tuple(arrays)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_step(name: str) -> None:
    """Output and every parameter's gradient, in float64, where nothing hides a wrong formula."""
    model, arrays = prepared(name, np.float64)
    outputs: list[np.ndarray] = []

    def keep(output: np.ndarray, target: np.ndarray) -> float:
        outputs.append(output.copy())
        return 0.0

    theirs = Theirs(model, arrays, training=True)
    target = np.random.default_rng(1).standard_normal(tuple(theirs.output.shape))
    model.compile("sgd", "mse", [keep])
    model.train_on_batch(arrays if len(arrays) > 1 else arrays[0], target)
    ((theirs.output - torch.tensor(target)) ** 2).mean().backward()
    assert distance(outputs[0], theirs.output) < 1e-12
    trained = {role: parameter for role, parameter in model.named_parameters().items() if parameter.trainable}
    floor = 1e-6 * max(float(theirs.parameters[role].grad.norm()) for role in trained)  # before a norm they vanish
    for role, parameter in trained.items():
        assert distance(parameter.grad, theirs.parameters[role].grad, floor) < 1e-8, role


def gradient_of_the_input(name: str, dtype: Any, algo: str) -> tuple[float, float]:
    """Run with running statistics; return the errors of the output and of the inputs' gradients."""
    model, arrays = prepared(name, dtype)
    model.algo = algo
    model.rng = np.random.default_rng(0)  # makes a new engine, of this algorithm
    theirs = Theirs(model, arrays, training=False)
    x = arrays if len(arrays) > 1 else arrays[0]
    output = model.predict_on_batch(x)
    grad = np.random.default_rng(1).standard_normal(theirs.output.shape).astype(dtype)
    _, found = model.gradients(x, of=[(model.graph.outputs[0], grad)])
    theirs.output.backward(torch.tensor(grad, dtype=torch.float64))
    pairs = zip(found if len(arrays) > 1 else [found], theirs.inputs, strict=True)
    return distance(output, theirs.output), max(distance(ours, other.grad) for ours, other in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_and_gradient_of_the_input(name: str) -> None:
    output, gradient = gradient_of_the_input(name, np.float64, "auto")
    assert output < 1e-12
    assert gradient < 1e-8


# In float32 some of a deep network's many values lie on the other side of a ReLU, or another value of a window is the
# largest: the gradient of another, neighbouring function.
JUMPS = ("alexnet", "googlenet", "resnet50")


@pytest.mark.parametrize(("algo", "bound"), [("direct", 1e-5), ("auto", 4e-5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_errors_of_float32(name: str, algo: str, bound: float) -> None:
    """Those of rounding, and of Winograd where it is chosen."""
    output, gradient = gradient_of_the_input(name, np.float32, algo)
    assert output < bound
    assert gradient < (0.05 if name in JUMPS else bound)
