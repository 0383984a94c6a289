"""The networks of papers: their tables of shapes, parameters and multiply-adds, and one step of each in small."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastconv import nn, zoo

Shape = tuple[int, ...]

# name: parameters, multiply-adds of convolutions and dense layers, shapes of some layers as in the papers' tables
NETWORKS: dict[str, tuple[int, int, dict[str, Shape]]] = {
    "alexnet": (
        60_965_224,
        724_406_816,  # 105 + 224 + 150 + 112 + 75 M in convolutions, 58.6 M in dense layers
        {"conv1": (96, 55, 55), "conv2": (256, 27, 27), "conv3": (384, 13, 13), "conv5": (256, 13, 13), "fc6": (4096,)},
    ),
    "vgg11": (132_863_336, 7_609_090_048, {"features.0": (64, 224, 224), "pool5": (512, 7, 7)}),
    "vgg16": (138_357_544, 15_470_264_320, {"features.28": (512, 14, 14), "pool5": (512, 7, 7)}),
    "vgg19": (143_667_240, 19_632_062_464, {"features.34": (512, 14, 14), "classifier.6": (1000,)}),
    "googlenet": (
        6_998_552,
        1_582_671_872,
        {
            "pool1": (64, 56, 56),
            "inception3a": (256, 28, 28),
            "inception3b": (480, 28, 28),
            "inception4e": (832, 14, 14),
            "inception5b": (1024, 7, 7),
        },
    ),
    "resnet18": (11_689_512, 1_814_073_344, {"maxpool": (64, 56, 56), "layer4.1.relu": (512, 7, 7)}),
    "resnet34": (21_797_672, 3_663_761_408, {"layer3.5.relu": (256, 14, 14), "layer4.2.relu": (512, 7, 7)}),
    "resnet50": (25_557_032, 4_089_184_256, {"layer1.2.relu": (256, 56, 56), "layer4.2.relu": (2048, 7, 7)}),
    "resnet20": (272_474, 40_813_184, {"layer1.2.relu": (16, 32, 32), "layer3.2.relu": (64, 8, 8)}),
    "mobilenet_v2": (3_504_872, 300_774_272, {"features.1.conv.1": (16, 112, 112), "features.18.0": (1280, 7, 7)}),
    "all_conv": (1_369_738, 270_798_336, {"conv3": (96, 16, 16), "conv6": (192, 8, 8), "conv9": (10, 6, 6)}),
    "go_policy": (3_882_793, 1_400_726_208, {"conv1": (192, 19, 19), "head": (1, 19, 19), "point": (361,)}),
}
SMALL: dict[str, Callable[[], nn.Model]] = {
    "alexnet": lambda: zoo.alexnet((3, 67, 67), 7),
    "vgg11": lambda: zoo.vgg11((3, 32, 32), 7),
    "googlenet": lambda: zoo.googlenet((3, 64, 64), 7),
    "resnet18": lambda: zoo.resnet18((3, 32, 32), 7),
    "resnet50": lambda: zoo.resnet50((3, 32, 32), 7),
    "resnet20": lambda: zoo.resnet20((3, 16, 16), 7),
    "mobilenet_v2": lambda: zoo.mobilenet_v2((3, 32, 32), 7, width=0.25),
    "all_conv": lambda: zoo.all_conv((3, 16, 16), 7),
    "convnet": lambda: zoo.convnet(2, 3, 1, (3, 16, 16), 7, width=4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_multiply_adds_and_shapes(name: str) -> None:
    parameters, multiply_adds, expected = NETWORKS[name]
    model = zoo.get(name)()
    shapes = model.graph.infer_shapes([node.shape or () for node in model.graph.inputs])
    assert {layer: shapes[model.node(layer)] for layer in expected} == expected
    weighted = [node for node in model.graph.nodes if isinstance(node.layer, nn.Conv2d | nn.Linear)]
    flops = [node.layer.flops(*(shapes[source] for source in node.inputs)) for node in weighted if node.layer]
    assert sum(flops) == 2 * multiply_adds
    assert f"{parameters:,} trainable" in model.summary()


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training_lowers_the_loss(name: str) -> None:
    """On one batch, without dropout's noise: the loss after three steps is below that before."""
    model = SMALL[name]()
    rng = np.random.default_rng(0)
    shape = model.graph.inputs[0].shape
    assert shape is not None
    x, y = rng.standard_normal((4, *shape), np.float32), np.arange(4)
    model.compile("adam", "cross_entropy")
    assert model.optimizer is not None
    model.optimizer.learning_rate = 1e-4
    before = model.train_on_batch(x, y)["loss"]
    for _ in range(2):
        after = model.train_on_batch(x, y)["loss"]
    assert np.isfinite(after)
    assert after < before or any("drop" in layer for layer in model.layers)
    assert model.predict_on_batch(x).shape == (4, 7)


def test_auxiliary_classifiers_are_outputs() -> None:
    model = zoo.googlenet(auxiliary=True)
    assert sum(parameter.size for parameter in model.parameters() if parameter.trainable) == 13_378_280
    assert [node.shape for node in model.graph.outputs] == [(1000,)] * 3
    shapes = model.graph.infer_shapes([(3, 224, 224)])
    assert shapes[model.node("aux1.pool")] == (512, 4, 4)
    assert shapes[model.node("aux2.pool")] == (528, 4, 4)


def test_torchvision_names() -> None:
    """The parameters of torchvision's files; a module with the same names loads without renaming."""
    names = set(zoo.resnet18().state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias", "fc.bias"} <= names
    assert {"features.0.weight", "features.34.bias", "classifier.6.weight"} <= set(zoo.vgg19().state_dict())
    names = set(zoo.mobilenet_v2().state_dict())
    assert {"features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight"} <= names
    assert {"features.2.conv.2.weight", "features.2.conv.3.running_mean", "features.18.1.bias"} <= names
    assert len(names) == 52 * 5 + 2  # a weight and batch norm's four for each convolution, and the dense layer


def test_pattern() -> None:
    model = zoo.convnet(3, 2, 2, width=8, dense=20)
    kinds = [layer.kind for layer in model.layers.values()]
    assert kinds == [*(["conv2d"] * 3 + ["max_pool2d"]) * 2, "flatten", *["linear"] * 3]
    assert [layer.kind for layer in zoo.convnet(1, 1, 0, pool=False).layers.values()] == ["conv2d", "flatten", "linear"]
    with pytest.raises(ValueError, match="convnet: n must be at least 1, got 0"):
        zoo.convnet(0)
    with pytest.raises(TypeError, match="m must be an integer"):
        zoo.convnet(1, 1.5)  # type: ignore[arg-type]


def test_go_head_has_a_bias_at_each_point() -> None:
    model = zoo.go_policy(filters=4, layers=2)
    before = model.predict_on_batch(np.zeros((1, 48, 19, 19), np.float32))
    bias = model.named_parameters()["point.bias"]
    assert bias.shape == (361,)
    bias.data = np.arange(361, dtype=np.float32)
    assert np.array_equal(model.predict_on_batch(np.zeros((1, 48, 19, 19), np.float32)) - before, [np.arange(361)])


def test_unet_gives_a_score_for_each_pixel() -> None:
    model = zoo.unet((3, 32, 48), 4, width=4, depth=3)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 48), np.float32)
    assert model.predict_on_batch(x).shape == (2, 4, 32, 48)
    model.compile("adam", "cross_entropy")
    first = model.train_on_batch(x, np.zeros((2, 32, 48), np.int64))["loss"]
    for _ in range(10):
        last = model.train_on_batch(x, np.zeros((2, 32, 48), np.int64))["loss"]
    assert last < first
    with pytest.raises(ValueError, match=r"multiples of 2\*\*depth = 8, got \(30, 48\); \(32, 48\) would fit"):
        zoo.unet((3, 30, 48))


def test_denoising_unet_takes_image_and_time() -> None:
    model = zoo.denoising_unet((1, 16, 16), width=8)
    rng = np.random.default_rng(0)
    x, time = rng.standard_normal((3, 1, 16, 16), np.float32), np.array([[1.0], [50.0], [999.0]], np.float32)
    out = model.predict_on_batch((x, time))
    assert out.shape == x.shape
    later = model.predict_on_batch((x, time + 100))
    assert not np.allclose(out, later)
    model.compile("adam", "mse")
    losses = [model.train_on_batch((x, time), x)["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]
