"""Shapes, parameters and FLOPs of every network, against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import zoo


def conv(image: tuple[int, int], channels: int, filters: int, kernel: int) -> tuple[int, int]:
    """Parameters, and FLOPs for one output image of this size (a multiply-add counts two)."""
    weights = channels * filters * kernel * kernel
    return weights + filters, 2 * weights * image[0] * image[1]


def dense(features: int, outputs: int) -> tuple[int, int]:
    return features * outputs + outputs, 2 * features * outputs


# name: (shape of the input and behind each layer), (layers with weights), parameters
NETWORKS = {
    "digits_cnn": (
        [(1, 8, 8), (16, 8, 8), (32, 8, 8), (32, 4, 4), (64, 4, 4), (64, 2, 2), (256,), (256,), (64,), (10,)],
        [conv((8, 8), 1, 16, 3), conv((8, 8), 16, 32, 3), conv((4, 4), 32, 64, 3), dense(256, 64), dense(64, 10)],
        40_394,
    ),
    "mlp": ([(1, 28, 28), (784,), (512,), (10,)], [dense(784, 512), dense(512, 10)], 407_050),
    "lenet5": (
        [(1, 28, 28), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,), (120,), (84,), (10,)],
        [conv((28, 28), 1, 6, 5), conv((10, 10), 6, 16, 5), dense(400, 120), dense(120, 84), dense(84, 10)],
        61_706,
    ),
    "cnn_6_12": (
        [(1, 28, 28), (6, 24, 24), (6, 12, 12), (12, 8, 8), (12, 4, 4), (192,), (10,)],
        [conv((24, 24), 1, 6, 5), conv((8, 8), 6, 12, 5), dense(192, 10)],
        3_898,
    ),
    "keras_mnist": (
        [(1, 28, 28), (32, 26, 26), (32, 13, 13), (64, 11, 11), (64, 5, 5), (64, 3, 3), (576,), (64,), (10,)],
        [conv((26, 26), 1, 32, 3), conv((11, 11), 32, 64, 3), conv((3, 3), 64, 64, 3), dense(576, 64), dense(64, 10)],
        93_322,
    ),
    "conv25_50": (
        [(1, 28, 28), (25, 26, 26), (25, 13, 13), (50, 11, 11), (50, 5, 5), (1250,), (100,), (10,)],
        [conv((26, 26), 1, 25, 3), conv((11, 11), 25, 50, 3), dense(1250, 100), dense(100, 10)],
        137_660,
    ),
}


def test_every_network_is_here() -> None:
    assert NETWORKS.keys() <= zoo.MODELS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_parameters_and_flops(name: str) -> None:
    shapes, weighted, total = NETWORKS[name]
    model = zoo.get(name)()
    found = model.graph.infer_shapes([shapes[0]])
    assert [found[node] for node in model.graph.nodes] == shapes
    layers = [(node, node.layer) for node in model.graph.nodes if node.layer is not None and node.layer.parameters()]
    sizes = [sum(parameter.size for parameter in layer.parameters().values()) for _, layer in layers]
    assert sizes == [parameters for parameters, _ in weighted]
    assert sum(sizes) == total
    flops = [layer.flops(*(found[source] for source in node.inputs)) for node, layer in layers]
    assert flops == [count for _, count in weighted]
    assert f"parameters: {total:,}" in model.summary()


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_and_the_seed_decides_the_start(name: str) -> None:
    shape = NETWORKS[name][0][0]
    x = np.random.default_rng(0).random((2, *shape), np.float32)
    outputs = [zoo.get(name)(seed=seed).predict_on_batch(x) for seed in (1, 1, 2)]
    assert outputs[0].shape == (2, 10)
    assert outputs[0].tobytes() == outputs[1].tobytes() != outputs[2].tobytes()


def test_other_images_and_classes() -> None:
    assert zoo.keras_mnist((3, 32, 32), 4).predict_on_batch(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 4)
    original = zoo.lenet5((1, 32, 32), padding=0)
    assert original.predict_on_batch(np.zeros((1, 1, 32, 32), np.float32)).shape == (1, 10)
    assert sum(parameter.size for parameter in original.parameters()) == 61_706


def test_get_names_what_there_is() -> None:
    with pytest.raises(ValueError, match="digits_cnn, mlp, lenet5, cnn_6_12, .*, got 'alexnet2'"):
        zoo.get("alexnet2")
