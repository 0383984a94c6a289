"""Random graphs: fusion, sharing of memory and work in place change no bit, forward or backward."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv.losses import MeanSquaredError
from fastconv.nn import (
    ELU,
    GELU,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalMaxPool2d,
    Input,
    LeakyReLU,
    Linear,
    Maxout,
    MaxPool2d,
    Model,
    Node,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
)
from fastconv.nn.steps import Mode


@st.composite
def _models(draw: st.DrawFn) -> Model:
    """Grow nodes of (channels, 4, 3) from one or two inputs; every output is trained."""
    inputs = [Input((2, 4, 3)) for _ in range(draw(st.integers(1, 2)))]
    nodes: list[Node] = list(inputs)
    shared = Conv2d(None, 2, 3, padding=1)
    shared_norm = BatchNorm2d(2)
    for _ in range(draw(st.integers(1, 12))):
        node = draw(st.sampled_from(nodes))
        equal = [other for other in nodes if other.shape == node.shape]
        kind = draw(
            st.sampled_from(
                [
                    "conv",
                    "conv",
                    "shared",
                    "norm",
                    "norm",
                    "shared norm",
                    "relu",
                    "curve",
                    "max",
                    "avg",
                    "dropout",
                    "add",
                    "concat",
                    "maxout",
                ]
            )
        )
        if kind == "conv":
            activation = draw(st.sampled_from([None, "relu", "relu", "tanh", "gelu"]))
            nodes.append(Conv2d(None, draw(st.integers(1, 3)), 3, padding=1, activation=activation)(node))
        elif kind == "shared" and node.shape == (2, 4, 3):
            nodes.append(shared(node))
        elif kind == "norm":
            nodes.append(BatchNorm2d(None)(node))
        elif kind == "shared norm" and node.shape == (2, 4, 3):
            nodes.append(shared_norm(node))
        elif kind == "relu":
            nodes.append(ReLU()(node))
        elif kind == "curve":
            nodes.append(draw(st.sampled_from([LeakyReLU, ELU, Sigmoid, SiLU, GELU, Softmax]))()(node))
        elif kind == "maxout" and node.shape is not None and node.shape[0] % 2 == 0:
            nodes.append(Maxout(2)(node))
        elif kind in ("max", "avg"):
            nodes.append((MaxPool2d if kind == "max" else AvgPool2d)(3, stride=1, padding=1)(node))
        elif kind == "dropout":
            nodes.append(Dropout(0.4)(node))
        elif kind == "add":
            nodes.append(Add()(node, *draw(st.lists(st.sampled_from(equal), min_size=1, max_size=3))))
        elif kind == "concat":
            nodes.append(Concat()(node, *draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=2))))
    heads = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=2, unique=True))
    outputs = [draw(st.sampled_from([_vector, _image, _pooled]))(node) for node in heads]
    used = [node for node in inputs if _reaches(node, outputs)]
    return Model(used, outputs, dtype=draw(st.sampled_from(["float32", "float64"])))


def _vector(node: Node) -> Node:
    return Linear(None, 2)(Flatten()(node))


def _pooled(node: Node) -> Node:
    return GlobalMaxPool2d()(ReLU()(node))


def _image(node: Node) -> Node:
    return node


def _reaches(start: Node, ends: list[Node]) -> bool:
    return any(end is start or _reaches(start, list(end.inputs)) for end in ends)


def _run(model: Model, mode: Mode, x: list[np.ndarray], y: list[np.ndarray]) -> list[np.ndarray]:
    losses = tuple(MeanSquaredError() for _ in y)
    model.rng.bit_generator.state = np.random.default_rng(1).bit_generator.state
    program = model._engine.program([array.shape for array in x], model.dtype, mode, losses)
    program.load(x, "NCHW")
    program.load_targets(y, "NCHW")
    program.forward()
    found = [np.array(program.losses())]
    found += [output.copy() for output in program.outputs]
    program.backward()
    return found + [parameter.gradient().copy() for parameter in model.parameters()]


@given(_models(), st.integers(0, 5), st.booleans())
@settings(deadline=None, max_examples=150)
def test_programs_agree_bit_for_bit(model: Model, batch: int, training: bool) -> None:
    rng = np.random.default_rng(batch)
    for parameter in model.parameters():
        parameter.data = (
            np.abs(rng.normal(size=parameter.shape)) if parameter.statistic else rng.normal(size=parameter.shape)
        )
    x = [rng.normal(size=(batch, *node.shape)).astype(model.dtype) for node in model.graph.inputs]
    y = [rng.normal(size=(batch, *node.shape)) for node in model.graph.outputs]
    nodes = model.graph.nodes
    fast = Mode(training=training, with_backward=True)
    plain = Mode(training=training, with_backward=True, keep=nodes, keep_grad=nodes)
    expected = _run(model, plain, x, y)
    for _ in range(2):  # the second time the arena is full of old values
        for got, wanted in zip(_run(model, fast, x, y), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
