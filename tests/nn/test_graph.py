"""The symbolic graph: shapes, names, order, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.nn import Add, Concat, Conv2d, Flatten, Graph, Input, Linear, MaxPool2d, Model, ReLU, Sequential


def test_shapes_are_inferred_as_layers_are_called() -> None:
    x = Input((3, 32, 30))
    y = MaxPool2d(2)(Conv2d(None, 8, 5, stride=2, padding=2)(x))
    assert y.shape == (8, 8, 7)
    assert Flatten()(y).shape == (448,)
    assert Conv2d(3, 4, 3)(Input()).shape is None


def test_names_are_kind_and_number_or_the_users() -> None:
    x = Input((3, 8, 8))
    y = Conv2d(3, 3, 1, name="stem")(x)
    y = Add()(Conv2d(3, 3, 1)(y), Conv2d(3, 3, 1, name="conv2d_2")(y), Conv2d(3, 3, 1)(y))
    graph = Graph([x], [y])
    assert list(graph.names.values()) == ["stem", "conv2d_1", "conv2d_2", "conv2d_3", "add_1"]


def test_nodes_come_after_their_inputs_even_in_deep_graphs() -> None:
    x = y = Input((2,))
    relu = ReLU()
    for _ in range(3000):
        y = relu(y)
    graph = Graph([x], [y])
    seen: set[object] = set()
    for node in graph.nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node)
    assert len(graph.nodes) == 3001
    assert len(graph.layers) == 1


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda x: Add()(x, Conv2d(None, 4, 3)(x)),
            ValueError,
            r"add: branches .* \(3, 8, 8\) .* \(4, 6, 6\) .*branch 1",
        ),
        (
            lambda x: Concat(name="skip")(x, Conv2d(None, 4, 3)(x)),
            ValueError,
            r"concat 'skip': .* \(3, 8, 8\) .* \(4, 6, 6\) .* would have to be \(4, 8, 8\)",
        ),
        (lambda x: Linear(None, 4)(x), ValueError, r"linear: .* \(3, 8, 8\); put Flatten\(\) before it"),
        (lambda x: Linear(100, 4)(Flatten()(x)), ValueError, "linear: input must have F=100 features, got 192"),
        (lambda x: Conv2d(4, 4, 3)(x), ValueError, r"conv2d: input must be .* C=4, got a sample of shape \(3, 8, 8\)"),
        (lambda x: Conv2d(None, 4, 9, name="c")(x), ValueError, "conv2d 'c'"),
        (lambda x: MaxPool2d(9)(x), ValueError, "max_pool2d"),
        (lambda x: Add()(x), ValueError, "add: takes two or more inputs, got 1"),
        (lambda x: ReLU()(x, x), ValueError, r"relu: takes 1 input\(s\), got 2"),
        (lambda x: Add()(x, np.zeros((1, 3, 8, 8))), TypeError, "add: inputs must be all arrays or all nodes"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_written(build: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build(Input((3, 8, 8)))


@pytest.mark.parametrize("shape", [(), (3, 8), (1, 3, 8, 8), 5, "abc"])
def test_input_shapes_have_one_or_three_sizes(shape: object) -> None:
    with pytest.raises(ValueError, match=r"Input: shape must be \(C, H, W\) or \(F,\)"):
        Input(shape)


@pytest.mark.parametrize("shape", [(0, 8, 8), (-1,)])
def test_input_sizes_are_positive(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Input: sizes must be positive"):
        Input(shape)


def test_graphs_that_hang_together_badly_are_refused() -> None:
    x, other = Input((4,), name="x"), Input((4,), name="other")
    y = Linear(4, 2)(x)
    with pytest.raises(ValueError, match="no output depends on input 'other'"):
        Model([x, other], y)
    with pytest.raises(ValueError, match="outputs depend on input 'other', which is not among the inputs"):
        Model(x, Add()(y, Linear(4, 2)(other)))
    with pytest.raises(ValueError, match="outputs must hold at least one node"):
        Model(x, [])
    with pytest.raises(ValueError, match=r"inputs must be different nodes made by Input"):
        Model([x, x], y)
    with pytest.raises(ValueError, match=r"inputs must be different nodes made by Input"):
        Model(y, ReLU()(y))
    with pytest.raises(TypeError, match="outputs must be nodes, got"):
        Model(x, [np.zeros(3)])
    with pytest.raises(ValueError, match="two layers are called 'a'"):
        Sequential(Linear(4, 4, name="a"), Linear(4, 4, name="a"))


def test_a_cycle_is_refused() -> None:
    x = Input((4,))
    first = Linear(4, 4)(x)
    last = ReLU()(Linear(4, 4)(first))
    Model(x, Add()(last, first))  # reached twice, but not from itself
    first.inputs = (last,)
    with pytest.raises(ValueError, match="no cycle, got a .* that depends on itself"):
        Model(x, last)


def test_a_model_is_a_layer_of_a_larger_graph(rng: np.random.Generator) -> None:
    inner = Sequential(Linear(4, 4, activation="relu"), Linear(4, 3), input_shape=(4,))
    x = Input((4,))
    outer = Model(x, Add()(inner(x), inner(ReLU()(x))))
    data = rng.normal(size=(5, 4)).astype(np.float32)
    expected = inner.predict_on_batch(data) + inner.predict_on_batch(np.maximum(data, 0))
    np.testing.assert_allclose(outer.predict_on_batch(data), expected, rtol=1e-6)
    assert len(outer.parameters()) == 4
