"""Models on a GPU: after some steps the weights that the CPU has, no memory taken in a step, and a step as a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fake_cupy
import networks
from fastconv import losses, nn, optim, zoo
from fastconv.cli import main
from fastconv.cuda import CudaError, native

Make = Callable[[], nn.Model]


def batches(rng: np.random.Generator, model: nn.Model, count: int, size: int = 4) -> list[tuple[Any, Any]]:
    shapes = [node.shape for node in model.graph.inputs]
    target = model.graph.infer_shapes(shapes)[model.graph.outputs[0]]
    return [
        (
            [rng.random((size, *shape), dtype=np.float32) for shape in shapes],
            rng.integers(0, target[0], (size, *target[1:])),
        )
        for _ in range(count)
    ]


def close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert type(found[name]) is np.ndarray
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * max(1.0, float(np.abs(value).max())))


def transposed() -> nn.Model:
    """Up by a transposed convolution, and by resampling; crops, pads and a softmax over channels."""
    image = nn.Input((3, 6, 6))
    x = nn.Conv2d(None, 8, 3, padding=1, activation="silu")(image)
    down = nn.MaxPool2d(2)(x)
    up = nn.ConvTranspose2d(None, 8, 2, stride=2, activation="relu")(down)
    wide = nn.Upsample(scale_factor=2, mode="bilinear")(nn.AvgPool2d(2)(x))
    joined = nn.Concat(crop="center")(nn.Pad(1)(up), wide, x)
    joined = nn.Crop(1)(nn.LeakyReLU(0.1)(joined))
    scores = nn.Conv2d(None, 4, 1)(nn.ConvTranspose2d(None, 5, 3, activation="elu", bias=False)(joined))
    return nn.Model(image, nn.Softmax()(scores))


def perceptron() -> nn.Model:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(None, 9, activation="tanh"), nn.BatchNorm1d(None), nn.GELU(), nn.Bias(),
        nn.Linear(9, 5), nn.Softplus(), nn.Linear(5, 3), nn.Sigmoid(), nn.Reshape((3, 1, 1)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        input_shape=(2, 5, 3),
    )  # fmt: skip


def modulated() -> nn.Model:
    """What AlexNet and the denoising U-Net have beside: local response and group norms, maps changed by vectors."""
    image, time = nn.Input((3, 6, 6)), nn.Input((1,))
    code = nn.Linear(None, 8, activation="silu")(nn.SinusoidalEmbedding(6)(time))
    x = nn.LocalResponseNorm(3, alpha=0.5)(nn.Conv2d(None, 8, 3, padding=1, activation="relu")(image))
    x = nn.ReLU()(nn.GroupNorm(4, None)(nn.AddChannels()(x, code)))
    x = nn.ScaleShift()(x, nn.Linear(None, 8)(code), code)
    x = nn.Multiply()(nn.Multiply()(x, nn.Sigmoid()(nn.Linear(None, 8)(code))), nn.Conv2d(None, 8, 1)(x))
    return nn.Model([image, time], nn.Linear(None, 5)(nn.GlobalAvgPool2d()(nn.GroupNorm(2, None)(x))))


NETWORKS: dict[str, tuple[Make, Callable[[], optim.Optimizer]]] = {
    "lenet5": (lambda: zoo.lenet5((1, 28, 28)), lambda: optim.SGD(0.05, momentum=0.9)),
    "keras_mnist": (lambda: zoo.keras_mnist((1, 22, 22)), lambda: optim.RMSprop(1e-3)),
    "resnet20": (lambda: zoo.resnet20((3, 8, 8), width=4), lambda: optim.SGD(0.05, 0.9, weight_decay=1e-4)),
    "unet": (lambda: zoo.unet((3, 8, 8), width=4, depth=2), lambda: optim.Adam(1e-3)),
    "transposed": (transposed, lambda: optim.AdamW(1e-3)),
    "modulated": (modulated, lambda: optim.SGD(0.1)),
    "perceptron": (perceptron, lambda: optim.RMSprop(1e-3, momentum=0.5, centered=True)),
    **{name: (make, lambda: optim.SGD(0.1)) for name, make in networks.CLASSIFIERS.items()},
    # Its weights explode with more, and rounding with them.
    "shared": (networks.CLASSIFIERS["shared"], lambda: optim.SGD(0.01)),
}
# A flattened image is in the order (C, H, W), whatever lies before: one turn there and one back, by a kernel.
TURNS = {"lenet5": 2, "keras_mnist": 2, "inception": 2, "shared": 2, "perceptron": 1, "ends_in_softmax": 1}


@pytest.mark.parametrize("name", NETWORKS)
def test_trains_like_the_cpu(gpu: fake_cupy.Counts, rng: np.random.Generator, name: str) -> None:
    make, optimizer = NETWORKS[name]
    here, there = make(), make()
    for model in (here, there):
        model.compile(optimizer(), metrics=["accuracy"] if len(model.graph.outputs[0].shape) == 1 else [])
    assert there.to("cuda") is there
    assert (here.device, there.device) == ("cpu", "cuda:0")
    for step, (x, y) in enumerate(batches(rng, here, 4)):
        expected = here.train_on_batch(x, y)
        gpu.reset()
        found = there.train_on_batch(x, y)
        assert found.keys() == expected.keys()
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        if step:
            assert gpu.allocations == 0
            assert gpu.uploads == len(x) + 1
            assert gpu.kernels["transpose"] == TURNS.get(name, 0)
    close(there.state_dict(), here.state_dict())
    plan = there.plan(4)
    assert plan.arena == there.engine.arena_bytes
    assert plan.scratch == there.engine.device.scratch_bytes  # type: ignore[attr-defined]
    expected_y, found_y = here.predict_on_batch(x), there.predict_on_batch(x)
    assert type(found_y) is np.ndarray
    np.testing.assert_allclose(found_y, expected_y, rtol=1e-4, atol=1e-4)
    assert there.test_on_batch(x, y)["loss"] == pytest.approx(here.test_on_batch(x, y)["loss"], rel=1e-3)
    there.to("cpu")
    np.testing.assert_allclose(there.predict_on_batch(x), found_y, rtol=1e-4, atol=1e-4)


def test_moves_with_its_training(gpu: fake_cupy.Counts, rng: np.random.Generator, tmp_path: Path) -> None:
    """To the GPU, back and there again in the middle of training: state of the optimiser, files, views of all kinds."""
    here, there = (zoo.resnet20((3, 8, 8), width=4) for _ in range(2))
    for model in (here, there):
        model.compile(optim.Adam(1e-3))
    for step, (x, y) in enumerate(batches(rng, here, 4)):
        there.to(("cuda", "cpu", "cuda:0", "cuda")[step])
        here.train_on_batch(x, y)
        there.train_on_batch(x, y)
    close(there.state_dict(), here.state_dict())
    there.save(tmp_path / "weights.safetensors")
    here.load(tmp_path / "weights.safetensors")
    close(there.state_dict(), here.state_dict())
    there.load_state_dict(here.state_dict())
    state, other = here.optimizer.state_dict(), there.optimizer.state_dict()  # type: ignore[union-attr]
    close({k: v for k, v in other.items() if k != "meta"}, {k: v for k, v in state.items() if k != "meta"})
    there.optimizer.load_state_dict(other)  # type: ignore[union-attr]
    here.train_on_batch(x, y)
    there.train_on_batch(x, y)
    close(there.state_dict(), here.state_dict())
    for layout in ("NCHW", "NHWC"):
        here.layout = there.layout = layout  # type: ignore[assignment]
        x = [np.ascontiguousarray(x[0].transpose(0, 2, 3, 1))] if layout == "NHWC" else x
        maps = [model.features(x, ["bn1", "fc"]) for model in (here, there)]
        for first, second in zip(*maps, strict=True):
            np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-4)
        objective: Any = [("fc", 1), ("layer3.0.add", lambda a: (float(a.sum()), np.ones_like(a)))]
        (value, grad), (found, found_grad) = (model.gradients(x, y, of=objective) for model in (here, there))
        assert found == pytest.approx(value, rel=1e-4)
        np.testing.assert_allclose(found_grad, grad, rtol=0, atol=1e-4 * np.abs(grad).max())


def tensors() -> nn.Model:
    """What tensor cores take: 16 channels and more."""
    return nn.Sequential(
        nn.Conv2d(16, 16, 3, activation="relu"), nn.Conv2d(16, 32, 3, stride=2), nn.Flatten(), nn.Linear(None, 16),
        input_shape=(16, 6, 6),
    )  # fmt: skip


def test_precision_of_a_model(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    here = tensors()
    x = rng.random((2, 16, 6, 6), dtype=np.float32)
    expected, errors = here.predict(x), {}
    for precision in (None, "ieee", "tf32x3", "tf32"):
        found = tensors().to("cuda", precision=precision).predict(x)
        errors[precision] = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert errors[None] == errors["ieee"]
    assert max(errors["ieee"], errors["tf32x3"]) < 2e-5 < errors["tf32"] < 2e-2
    here.to("cuda:0").to("cuda:0", precision="tf32")
    np.testing.assert_array_equal(here.predict(x), found)
    models = [tensors().to(device, precision=p) for device, p in (("cpu", None), ("cuda", "tf32x3"))]
    for model in models:
        model.compile(optim.SGD(0.05, 0.9))
    for x, y in batches(rng, here, 2):
        first, second = (model.train_on_batch(x, y)["loss"] for model in models)
        assert second == pytest.approx(first, rel=1e-4)
    close(models[1].state_dict(), models[0].state_dict())
    assert models[1].plan(4).scratch == models[1].engine.device.scratch_bytes  # type: ignore[attr-defined]
    here.to("cpu", precision="ieee")
    with pytest.raises(ValueError, match="Model.to: precision must be None or 'ieee' on the CPU, got 'tf32'"):
        here.to("cpu", precision="tf32")
    with pytest.raises(ValueError, match="Model.to: precision must be None, 'ieee', 'tf32' or 'tf32x3', got"):
        here.to("cuda", precision="half")
    with pytest.raises(TypeError, match="Model.to: precision must be"):
        here.to("cuda", precision=16)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "unet"])
def test_no_samples(gpu: fake_cupy.Counts, name: str) -> None:
    model = NETWORKS[name][0]().to("cuda")
    model.compile("adam")
    (shape,) = (node.shape for node in model.graph.inputs)
    output = model.graph.infer_shapes([shape])[model.graph.outputs[0]]
    before = model.state_dict()
    x, y = np.zeros((0, *shape), np.float32), np.zeros((0, *output[1:]), np.int64)
    assert model.predict(x).shape == (0, *output)
    assert model.train_on_batch(x, y) == model.test_on_batch(x, y) == {"loss": 0.0}
    close(model.state_dict(), before)


def test_unbuilt_models_move_too(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    models = [nn.Sequential(nn.Flatten(), nn.Linear(None, 3), seed=4) for _ in range(2)]
    x = rng.random((2, 1, 3, 3), dtype=np.float32)
    models[1].to("cuda")
    np.testing.assert_allclose(models[1].predict(x), models[0].predict(x), rtol=1e-6)


def test_several_outputs_and_weighted_losses(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    here, there = networks.two_by_two(), networks.two_by_two()
    weights = np.array([1, 2, 0.5], np.float32)
    for model in (here, there):
        chosen = [losses.SoftmaxCrossEntropy(weights, ignore_index=9), losses.SoftmaxCrossEntropy(label_smoothing=0.1)]
        model.compile("sgd", chosen, loss_weights=[0.5, 2])
    there.to("cuda")
    for _ in range(2):
        x = [rng.random((4, 2, 7, 6), dtype=np.float32), rng.random((4, 5), dtype=np.float32)]
        y = (np.array([0, 9, 1, 2]), rng.integers(0, 2, (4, 4, 3)))
        first, second = here.train_on_batch(x, y), there.train_on_batch(x, y)
        assert second == pytest.approx(first, rel=1e-5)
    close(there.state_dict(), here.state_dict())
    with pytest.raises(ValueError, match=r"cross_entropy: labels must be in \[0, 3\), got 3 at index 1"):
        there.train_on_batch(x, (np.array([0, 3, 1, 2]), y[1]))


def dropping() -> nn.Model:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.3), nn.Linear(None, 4), input_shape=(1, 6, 6)
    )
    model.compile("adam")
    return model


def test_dropout_follows_the_generator(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """What falls follows from the model's generator: a run continued from its state has the same bits."""
    model, again = dropping().to("cuda"), dropping().to("cuda")
    data = batches(rng, model, 4)
    lost = [model.train_on_batch(*batch)["loss"] for batch in data]
    assert model.train_on_batch(*data[-1])["loss"] != lost[-1]
    for batch in data[:2]:
        again.train_on_batch(*batch)
    other = dropping().to("cuda")
    other.load_state_dict(again.state_dict())
    other.optimizer.load_state_dict(again.optimizer.state_dict())  # type: ignore[union-attr]
    other.rng.bit_generator.state = again.rng.bit_generator.state
    assert [other.train_on_batch(*batch)["loss"] for batch in data[2:]] == lost[2:]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "unet", "dropping"])
def test_a_graph_computes_the_same(gpu: fake_cupy.Counts, rng: np.random.Generator, name: str) -> None:
    """Replayed steps: the bits of single kernels, one launch, no memory, no waiting, nothing read back."""
    make = dropping if name == "dropping" else NETWORKS[name][0]
    eager, captured = make().to("cuda"), make().to("cuda")
    for model in (eager, captured):
        model.compile(optim.AdamW(1e-2, weight_decay=0.1) if name == "unet" else "adam")
    step = captured.capture()
    with pytest.raises(RuntimeError, match="no step has run"):
        _ = step.loss
    for number, (x, y) in enumerate(batches(rng, eager, 5)):
        for model in (eager, captured):
            assert model.optimizer is not None
            model.optimizer.learning_rate = 0.01 / (number + 1)
        logs = eager.train_on_batch(x, y)
        gpu.reset()
        step(x, y)
        assert (gpu.allocations if number else 0, gpu.downloads) == (0, 0)
        if number > 1:  # the batch before has been read: that is all that is waited for
            assert gpu.waits <= 1
            assert set(gpu.kernels) <= {"fill", "fill_int64"}
        assert step.loss == logs["loss"]
    assert step.recorded == 1
    for key, value in eager.state_dict().items():
        np.testing.assert_array_equal(captured.state_dict()[key], value)


def test_a_graph_is_recorded_anew(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """A batch of another size, a larger arena, other options, frozen layers, and a model that moved away."""
    eager, captured = (zoo.resnet20((3, 8, 8), width=4).to("cuda") for _ in range(2))
    for model in (eager, captured):
        model.compile(optim.SGD(0.05, 0.9))
    step = captured.capture()

    def both(size: int, steps: int = 3) -> None:
        for x, y in batches(rng, eager, steps, size):
            assert eager.train_on_batch(x, y)["loss"] == (step(x, y), step.loss)[1]

    both(3)
    both(2)
    assert step.recorded == 2
    both(5)
    both(3)
    captured.predict(np.zeros((64, 3, 8, 8), np.float32))
    both(3)
    for model in (eager, captured):
        model.optimizer.momentum = 0.5  # type: ignore[union-attr]
        model.layers["conv1"].trainable = False
    both(3)
    state = {**eager.optimizer.state_dict(), "velocity.0": np.ones((4, 3, 3, 3), np.float32)}  # type: ignore[union-attr]
    for model in (eager, captured):
        model.layers["conv1"].trainable = True
        model.optimizer.load_state_dict(state)  # type: ignore[union-attr]
    both(3)
    for key, value in eager.state_dict().items():
        np.testing.assert_array_equal(captured.state_dict()[key], value)
    captured.to("cpu")
    with pytest.raises(RuntimeError, match=r"the model has moved to cpu; call model.capture\(\) again"):
        step(np.zeros((2, 3, 8, 8), np.float32), np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="Model.capture: a graph needs a GPU"):
        captured.capture()


class Own(optim.Optimizer):
    """Somebody's own, made of NumPy."""

    def slots(self) -> tuple[str, ...]:
        return ()


class OwnLoss(losses.Loss):
    name = "own"


class Doubled(nn.Layer):
    def infer_shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        return shapes[0]


@pytest.mark.parametrize("limits", [{"clip_value": 0.01}, {"clip_norm": 0.1}, {"clip_norm": 0.1, "clip_value": 0.05}])
@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "binary_cross_entropy"])
def test_losses_of_pairs_and_clipped_gradients(
    gpu: fake_cupy.Counts, rng: np.random.Generator, loss: str, limits: dict[str, float]
) -> None:
    here, there = networks.chain(), networks.chain()
    for model in (here, there):
        model.compile(optim.SGD(0.1, 0.9, **limits), loss)
    there.to("cuda")
    for step in range(3):
        x, y = rng.random((4, 2, 7, 6), dtype=np.float32), rng.random((4, 3), dtype=np.float32)
        expected = here.train_on_batch(x, y)
        gpu.reset()
        assert there.train_on_batch(x, y) == pytest.approx(expected, rel=1e-5)
        assert gpu.allocations == 0 or step == 0
    close(there.state_dict(), here.state_dict())
    assert there.plan(4).scratch == there.engine.device.scratch_bytes  # type: ignore[attr-defined]


def test_what_a_gpu_lacks_is_told_at_once(gpu: fake_cupy.Counts) -> None:
    """Every layer, loss and option without kernels, when the model is moved or compiled there."""
    image = nn.Input((4, 8, 8))
    x = Doubled(name="twice")(nn.Conv2d(None, 4, 3, algo="winograd", name="conv")(image))
    model = nn.Model(image, x)
    with pytest.raises(RuntimeError, match="Model.to: cannot run on cuda:0") as error:
        model.to("cuda")
    for part in ("'conv' has algo='winograd'", "'twice' has no CUDA kernels yet"):
        assert part in str(error.value)
    assert model.device == "cpu"
    simple = nn.Sequential(nn.Linear(3, 2), input_shape=(3,))
    simple.compile(Own(0.1), OwnLoss())
    with pytest.raises(RuntimeError, match="loss 'own' has no CUDA kernels.*optimizer Own has no CUDA"):
        simple.to("cuda")
    simple.compile("sgd", "cross_entropy")
    simple.to("cuda")
    with pytest.raises(RuntimeError, match="Model.compile: cannot train on cuda:0: optimizer Own has"):
        simple.compile(Own(0.1), "cross_entropy")
    with pytest.raises(RuntimeError, match="linear: on cuda:0 a layer runs in its model only"):
        simple.layers["linear_1"](np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="Model.astype: dtype must be float32 on cuda:0, got float64"):
        simple.astype("float64")
    with pytest.raises(ValueError, match="Model.to: dtype must be float32 on a GPU, got float64"):
        nn.Sequential(nn.Linear(3, 2), input_shape=(3,), dtype="float64").to("cuda")
    layer = nn.Linear(3, 2)
    first, second = (nn.Sequential(layer, input_shape=(3,)) for _ in range(2))
    second.to("cuda")
    with pytest.raises(RuntimeError, match="lies on cuda:0 and the model on cpu"):
        first.predict(np.zeros((1, 3), np.float32))
    for wrong in ("gpu", "cuda:", "cuda:x", ""):
        with pytest.raises(ValueError, match="Model.to: device must be 'cpu', 'cuda' or"):
            simple.to(wrong)
    with pytest.raises(TypeError, match="Model.to: device must be"):
        simple.to(0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Model.to: device must be one of cuda:0 to cuda:0, got 'cuda:3'"):
        simple.to("cuda:3")


def test_without_cupy_or_a_gpu(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(3, 2), input_shape=(3,))
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"Model.to: device 'cuda' needs CuPy .*install fastconv\[cuda\]"):
        model.to("cuda")
    monkeypatch.undo()
    with fake_cupy.installed(emulated, devices=0), pytest.raises(CudaError, match="Model.to: CuPy sees no GPU"):
        model.to("cuda")
    with fake_cupy.installed(emulated):
        native.use(None)
        if native.device_count() == 0:
            with pytest.raises(CudaError, match="Model.to: CUDA is "):
                model.to("cuda")
    assert model.device == "cpu"


def test_the_command_line(gpu: fake_cupy.Counts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--model", "mlp", "--epochs", "1", "--batch-size", "1500", "--device", "cuda"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert ", cuda:0\n" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "run"), "--device", "cuda"]) == 0
    on_gpu = capsys.readouterr().out
    assert main(["predict", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == on_gpu
