"""Inner maps, gradients of scalars at inner maps towards inputs, and several inputs, outputs and losses at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import train
from fastconv.nn import Add, Concat, Conv2d, Flatten, Input, Linear, MaxPool2d, Model, ReLU, Sequential, Softmax
from networks import CLASSIFIERS, two_by_two


def _net(**options: Any) -> Sequential:
    return Sequential(
        Conv2d(2, 3, 3, padding=1, activation="relu"), MaxPool2d(2), Conv2d(None, 4, 2), ReLU(), Flatten(),
        Linear(None, 3), Softmax(), input_shape=(2, 6, 7), **{"dtype": "float64", **options},
    )  # fmt: skip


def _image(model: Model, rng: np.random.Generator, count: int = 2) -> np.ndarray:
    return rng.normal(size=(count, 2, 6, 7) if model.layout == "NCHW" else (count, 6, 7, 2))


def _check_gradient(scalar: Callable[[np.ndarray], float], x: np.ndarray, grad: np.ndarray) -> None:
    """Central differences at a dozen places."""
    assert grad.shape == x.shape
    for index in np.random.default_rng(1).choice(x.size, 12, replace=False):
        moved, at = x.copy(), np.unravel_index(index, x.shape)
        moved[at] += 1e-6
        above = scalar(moved)
        moved[at] -= 2e-6
        assert grad[at] == pytest.approx((above - scalar(moved)) / 2e-6, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_features_are_what_shorter_models_put_out(layout: str, rng: np.random.Generator) -> None:
    model = _net(layout=layout)
    x = _image(model, rng, 5)
    names = ["conv2d_1", "max_pool2d_1", "conv2d_2", "linear_1", "softmax_1"]
    found = model.features(x, names)
    shorter = Model(model.graph.inputs, [model.node(name) for name in names], layout=layout, dtype="float64")
    for one, two in zip(found, shorter.predict_on_batch(x), strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.flags.c_contiguous
    np.testing.assert_array_equal(model.features(x, "conv2d_2"), found[2])
    np.testing.assert_array_equal(model.features(x, model.graph.inputs[0]), x)
    for one, two in zip(found, model.features(x, names, batch_size=2), strict=True):
        np.testing.assert_array_equal(one, two)
    assert model.features(x[:0], "linear_1").shape == (0, 3)


def _terms(model: Model, rng: np.random.Generator) -> dict[str, Any]:
    shape = model.features(_image(model, rng), "conv2d_2").shape
    return {
        "sum": "conv2d_1",
        "output": {"linear_1": None},
        "channel": {"conv2d_2": 2},
        "unit": {"conv2d_2": (1, 0, -1)},
        "feature": {"softmax_1": 1},
        "given": {"conv2d_2": rng.normal(size=shape)},
        "loss": {"conv2d_2": ("mse", rng.normal(size=shape), 0.3)},
        "cross entropy": {"softmax_1": ("cross_entropy", np.array([0, 2]))},
        "function": {"max_pool2d_1": lambda a: (float((a**3).sum()), 3 * a**2)},
        "several": [("conv2d_1", 0), ("conv2d_1", lambda a: (float((a**2).sum()), 2 * a)), ("softmax_1", 2)],
    }


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", [
    "sum", "output", "channel", "unit", "feature", "given", "loss", "cross entropy", "function", "several",
])  # fmt: skip
def test_gradients_of_terms(name: str, layout: str, rng: np.random.Generator) -> None:
    model = _net(layout=layout)
    x, of = _image(model, rng), _terms(model, rng)[name]
    value, grad = model.gradients(x, of=of)
    _check_gradient(lambda moved: model.gradients(moved, of=of)[0], x, grad)
    assert not any(parameter.grad is not None for parameter in model.parameters())
    again, pair = model.gradients(x, of=of, wrt=["max_pool2d_1", model.graph.inputs[0]])
    assert again == value
    np.testing.assert_array_equal(pair[1], grad)


def test_the_value_of_a_term(rng: np.random.Generator) -> None:
    model = _net(dtype="float32")
    x = _image(model, rng)
    maps, output = model.features(x, ["conv2d_2", "softmax_1"])
    weights = rng.normal(size=maps.shape).astype(np.float32)
    for of, expected in (
        ("conv2d_2", maps.sum()),
        ({"conv2d_2": 3}, maps[:, 3].sum()),
        ({"conv2d_2": (3, 1)}, maps[:, 3, 1].sum()),
        ({"conv2d_2": (3, 1, 1)}, maps[:, 3, 1, 1].sum()),
        ({"conv2d_2": weights}, (maps * weights).sum()),
        ({"softmax_1": 1}, output[:, 1].sum()),
    ):
        assert model.gradients(x, of=of)[0] == pytest.approx(expected, rel=1e-5)


def _gram(maps: np.ndarray) -> np.ndarray:
    rows = maps.reshape(*maps.shape[:2], -1)
    return rows @ rows.transpose(0, 2, 1) / rows.shape[-1]


def _style(target: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Squared distance of Gram matrices (Gatys, Ecker, Bethge 2015, eq. 4 to 6) and its gradient at the map."""

    def loss(maps: np.ndarray) -> tuple[float, np.ndarray]:
        rows = maps.reshape(*maps.shape[:2], -1)
        difference = _gram(maps) - target
        return float((difference**2).sum()), (4 * difference @ rows / rows.shape[-1]).reshape(maps.shape)

    return loss


def test_style_transfer_content_on_one_map_and_gram_losses_on_five(rng: np.random.Generator) -> None:
    blocks = [Conv2d(None, 4 + k, 3, padding=1, activation="relu", name=f"block_{k}") for k in range(5)]
    model = Sequential(*blocks, input_shape=(3, 8, 8), dtype="float64")
    content, style, x = (rng.normal(size=(1, 3, 8, 8)) for _ in range(3))
    names = [f"block_{k}" for k in range(5)]
    of: list[Any] = [("block_3", ("mse", model.features(content, "block_3"), 2.0))]
    of += [(name, _style(_gram(maps))) for name, maps in zip(names, model.features(style, names), strict=True)]
    start, grad = model.gradients(x, of=of)
    _check_gradient(lambda moved: model.gradients(moved, of=of)[0], x, grad)
    for _ in range(40):
        x = x - 0.1 * model.gradients(x, of=of)[1]
    assert model.gradients(x, of=of)[0] < 0.5 * start


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_style_transfer_with_the_losses_of_the_library(layout: str, rng: np.random.Generator) -> None:
    blocks = [Conv2d(None, 4 + k, 3, padding=1, activation="relu", name=f"block_{k}") for k in range(5)]
    model = Sequential(*blocks, input_shape=(3, 8, 8), dtype="float64", layout=layout)
    content, style, x = (rng.normal(size=(1, 3, 8, 8) if layout == "NCHW" else (1, 8, 8, 3)) for _ in range(3))
    names = [f"block_{k}" for k in range(5)]
    of: list[Any] = [("block_3", ("mse", model.features(content, "block_3")))]
    of += [(name, ("gram", maps, 10.0)) for name, maps in zip(names, model.features(style, names), strict=True)]
    of.append((model.graph.inputs[0], ("total_variation", x, 0.01)))
    _, grad = model.gradients(x, of=of)
    _check_gradient(lambda moved: model.gradients(moved, of=of)[0], x, grad)
    assert model.gradients(style, of=of[1:6])[0] == 0


def test_compiled_losses_and_terms_add_up(rng: np.random.Generator) -> None:
    model = _net()
    model.compile("sgd", "cross_entropy", loss_weights=[0.5])
    x, y = _image(model, rng), np.array([0, 2])
    both, grad = model.gradients(x, y, of={"conv2d_2": 1})
    one, first = model.gradients(x, y)
    two, second = model.gradients(x, of={"conv2d_2": 1})
    assert both == pytest.approx(one + two)
    np.testing.assert_allclose(grad, first + second, rtol=1e-12, atol=1e-14)
    assert one == pytest.approx(0.5 * model.gradients(x, of={"softmax_1": ("cross_entropy", y)})[0])


def test_what_the_scalar_does_not_depend_on_has_zero_gradient(rng: np.random.Generator) -> None:
    model = _net()
    value, (behind, before) = model.gradients(_image(model, rng), of="max_pool2d_1", wrt=["conv2d_2", "conv2d_1"])
    assert value > 0
    assert not behind.any()
    assert before.any()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_node_can_be_asked_for(name: str, rng: np.random.Generator) -> None:
    """Taps everywhere: no fusion and no shared memory is left, the numbers are the same."""
    model = CLASSIFIERS[name](dtype="float64")
    x, nodes = rng.normal(size=(2, 2, 7, 6)), model.graph.nodes
    of = {node: (lambda a: (float((a**2).sum()), 2 * a)) for node in nodes}
    value, grads = model.gradients(x, of=of, wrt=nodes)
    assert len(grads) == len(nodes)
    assert value == pytest.approx(sum(float((maps**2).sum()) for maps in model.features(x, nodes)))
    _check_gradient(lambda moved: model.gradients(moved, of=of)[0], x, grads[nodes.index(model.graph.inputs[0])])


def test_a_function_must_not_run_the_model_that_runs_it(rng: np.random.Generator) -> None:
    model = _net()
    model.compile("sgd", "cross_entropy", [lambda output, target: model.predict(x).sum()])
    x = _image(model, rng)
    with pytest.raises(RuntimeError, match="must not run the model that runs it; compute what it needs before"):
        model.gradients(x, of={"relu_1": lambda a: (float(model.features(x, "relu_1").sum()), a)})
    with pytest.raises(RuntimeError, match="must not run the model that runs it"):
        model.train_on_batch(x, np.array([0, 1]))
    assert np.isfinite(model.predict(x)).all()


def test_an_empty_batch_has_an_empty_gradient(rng: np.random.Generator) -> None:
    model = _net()
    model.compile("sgd", "cross_entropy")
    x = _image(model, rng)[:0]
    value, grad = model.gradients(x, np.zeros(0, int), of=[("relu_1", 1), ("conv2d_1", lambda a: (float(a.sum()), a))])
    assert (value, grad.shape) == (0.0, x.shape)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m, x: m.features(x, "conv"), ValueError, "Model.node: name must be one of conv2d_1, .* got 'conv'"),
        (lambda m, x: m.features(x, []), ValueError, "features: of must be at least one name or node, got none"),
        (lambda m, x: m.features(x, "relu_1", batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda m, x: m.features(x, Input((3,))), ValueError, "features: of must be names or nodes of this model"),
        (lambda m, x: m.gradients(x), ValueError, r"y .* or of .* must be given, got neither"),
        (lambda m, x: m.gradients(x, of={}), ValueError, "of must hold at least one term"),
        (lambda m, x: m.gradients(x, of=[("relu_1",)]), TypeError, "a list of .name, term., got"),
        (lambda m, x: m.gradients(x, of={"conv2d_2": 4}), ValueError, r"at 'conv2d_2': index must lie inside .*\(4,\)"),
        (lambda m, x: m.gradients(x, of={"linear_1": (1, 1)}), ValueError, r"index must have 1 to 1 numbers, got"),
        (lambda m, x: m.gradients(x, of={"relu_1": ()}), ValueError, r"at 'relu_1' must be None .*; got \(\)"),
        (lambda m, x: m.gradients(x, of={"relu_1": 0.5}), TypeError, "at 'relu_1' must be None .the sum.*got 0.5"),
        (lambda m, x: m.gradients(x, of={"relu_1": True}), TypeError, "at 'relu_1' must be None .the sum.*got"),
        (lambda m, x: m.gradients(x, of={"relu_1": np.ones(3)}), ValueError, r"the map's shape \(2, 4, 2, 2\), got"),
        (lambda m, x: m.gradients(x, of={"relu_1": lambda a: a}), TypeError, r"must return \(value, gradient\)"),
        (lambda m, x: m.gradients(x, of={"relu_1": lambda a: (1.0, 2.0)}), TypeError, "must be an array of numbers"),
        (lambda m, x: m.gradients(x, of={"relu_1": ("mse",)}), ValueError, r"or \(loss, target, weight\), got 1"),
        (lambda m, x: m.gradients(x, of={"relu_1": ("mse", x)}), ValueError, "target must have the output's shape"),
        (lambda m, x: m.gradients(x, of={"relu_1": ("mse", x, np.nan)}), ValueError, "weight must be finite, got nan"),
        (lambda m, x: m.gradients(x, np.zeros(2, int)), RuntimeError, r"call model.compile\(optimizer, loss\) first"),
    ],
)
def test_bad_questions_are_refused(call: Any, error: type[Exception], text: str, rng: np.random.Generator) -> None:
    model = _net()
    x = _image(model, rng)
    with pytest.raises(error, match=text):
        call(model, x)
    assert np.isfinite(model.gradients(x, of="relu_1")[0])


# Several inputs, outputs and losses


def _data(rng: np.random.Generator, count: int = 9) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    x = rng.normal(size=(count, 2, 7, 6)), rng.normal(size=(count, 5))
    return x, (rng.integers(0, 3, count), rng.normal(size=(count, 2, 4, 3)))


def _grads(model: Model) -> dict[str, np.ndarray]:
    return {name: parameter.grad.copy() for name, parameter in model.named_parameters().items()}


def test_loss_weights_weigh_the_sum_and_the_gradients(rng: np.random.Generator) -> None:
    x, y = _data(rng)
    found = []
    for loss, weights in ((["cross_entropy", None], None), ([None, "mse"], None), (["cross_entropy", "mse"], [0.5, 3])):
        model = two_by_two(dtype="float64")
        model.compile("sgd", loss, loss_weights=weights)
        targets = tuple(target for target, one in zip(y, loss, strict=True) if one)
        found.append((model.train_on_batch(x, targets), _grads(model)))
    (one, first), (two, second), (both, grads) = found
    assert both["loss"] == pytest.approx(0.5 * one["loss"] + 3 * two["loss"], rel=1e-14)
    assert (both["output_0_loss"], both["output_1_loss"]) == (one["loss"], two["loss"])
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, 0.5 * first[name] + 3 * second[name], rtol=1e-12, atol=1e-15)


def test_fit_evaluate_and_predict_take_tuples_and_names(rng: np.random.Generator, tmp_path: object) -> None:
    x, y = _data(rng, 21)
    named_x, named_y = dict(zip(("image", "vector"), x, strict=True)), {"linear_2": y[0], "conv2d_2": y[1]}
    results = []
    for inputs, targets, names in ((x, y, False), (list(x), list(y), False), (named_x, named_y, True)):
        model = two_by_two()
        model.compile(
            "sgd",
            {"linear_2": "cross_entropy", "conv2d_2": "mse"} if names else ["cross_entropy", "mse"],
            {"linear_2": ["accuracy"]},
            {"conv2d_2": 0.25} if names else [1, 0.25],
        )
        history = model.fit(
            inputs, targets, epochs=3, batch_size=4, seed=5, verbose=False, validation_data=(inputs, targets)
        )
        figures, outputs = model.evaluate(inputs, targets), model.predict(inputs, batch_size=5)
        results.append((history.history, figures, outputs))
        assert [output.shape for output in outputs] == [(21, 3), (21, 2, 4, 3)]
        assert figures.keys() == {"loss", "output_0_loss", "output_0_accuracy", "output_1_loss"}
        assert figures["loss"] == pytest.approx(history.history["val_loss"][-1], rel=1e-6)
    for history, figures, outputs in results[1:]:
        assert (history, figures) == results[0][:2]
        for one, two in zip(outputs, results[0][2], strict=True):
            np.testing.assert_array_equal(one, two)
    assert results[0][0]["loss"][-1] < results[0][0]["loss"][0]
    split = train.fit(model, x, y, validation_split=0.5, verbose=False, checkpoint=tmp_path)
    assert "val_output_1_loss" in split.history


def test_layers_that_have_names_name_the_figures(rng: np.random.Generator) -> None:
    x = Input((4,))
    model = Model(x, [Linear(None, 3, name="species")(x), Linear(None, 1)(x)])
    model.compile("sgd", {"species": "cross_entropy", "linear_1": "mse"})
    logs = model.test_on_batch(rng.normal(size=(2, 4)), (np.array([0, 1]), np.zeros((2, 1))))
    assert logs.keys() == {"loss", "species_loss", "output_1_loss"}


def test_a_layer_used_twice_adds_its_gradients(rng: np.random.Generator) -> None:
    """Two branches through one layer: the gradient is the sum of those of two layers with the same weights."""
    found = []
    for shared in (True, False):
        one, two = Input((5,)), Input((5,))
        first = Linear(5, 4, name="first")
        second = first if shared else Linear(5, 4, name="second")
        model = Model([one, two], [first(one), second(two)], dtype="float64")
        weight, bias = np.linspace(-1, 1, 20).reshape(4, 5), np.linspace(0, 1, 4)
        for layer in (first, second):
            layer.weight.data, layer.bias.data = weight, bias
        model.compile("sgd", ["mse", "cross_entropy"], loss_weights=[2, 1])
        data = np.random.default_rng(3)
        x, y = (data.normal(size=(6, 5)), data.normal(size=(6, 5))), (data.normal(size=(6, 4)), data.integers(0, 4, 6))
        model.train_on_batch(x, y)
        found.append(_grads(model))
    once, apart = found
    for role in ("weight", "bias"):
        expected = apart[f"first.{role}"] + apart[f"second.{role}"]
        np.testing.assert_allclose(once[f"first.{role}"], expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m, x, y: m.fit({"image": x[0]}, y), ValueError, "x must hold an array for each input, it lacks vector"),
        (lambda m, x, y: m.fit({"imag": x[0]}, y), ValueError, "x must name inputs among image, vector, got imag"),
        (lambda m, x, y: m.fit(x, {"linear_2": y[0]}), ValueError, "an array for each output with a loss .* conv2d_2"),
        (lambda m, x, y: m.fit(x, {"linear": y[0]}), ValueError, "y must name outputs among linear_2, conv2d_2, got"),
        (lambda m, x, y: m.fit(x, (y[0],)), ValueError, "y must hold 2 arrays, one for each loss, got 1"),
        (lambda m, x, y: m.fit(x, (y[0], y[1][:3])), ValueError, r"arrays of y must hold the same number .* 9 and 3"),
        (lambda m, x, y: m.fit((x[0],), y), ValueError, "x must hold 2 arrays, got 1"),
        (lambda m, x, y: m.fit((x[0], [1.0]), y), TypeError, "x must be a numpy.ndarray|x must be a numpy array"),
        (lambda m, x, y: m.fit(x, (y[0] * 0.5, y[1])), TypeError, "labels must be integers, got float32"),
        (lambda m, x, y: m.fit(x, (y[0].astype("U"), y[1])), TypeError, r"y\[0\] must hold numbers"),
        (lambda m, x, y: m.fit(tuple(a[:0] for a in x), tuple(a[:0] for a in y)), ValueError, "at least one sample"),
        (lambda m, x, y: m.evaluate(tuple(a[:0] for a in x), tuple(a[:0] for a in y)), ValueError, "at least one s"),
        (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "fit: epochs must be at least 1, got 0"),
        (lambda m, x, y: m.fit(x, y, epochs=1.5), TypeError, "fit: epochs must be an integer"),
        (lambda m, x, y: m.train_on_batch(x, 3), TypeError, "y must be a tuple of arrays, one for each loss, got 3"),
        (lambda m, x, y: m.compile("sgd", {"linear": "mse"}), ValueError, "loss must name outputs among linear_2,"),
        (lambda m, x, y: m.compile("sgd", None), TypeError, "loss must be a name, a Loss, or one for each output"),
        (lambda m, x, y: m.compile("sgd", ["mse", "mse"], 5), TypeError, "metrics must be a sequence, got 5"),
        (
            lambda m, x, y: m.compile("sgd", {"linear_2": "mse"}, {"conv2d_2": ["mae"]}),
            ValueError,
            "metrics must name outputs that have a loss, 'conv2d_2' has none",
        ),
        (lambda m, x, y: m.compile("sgd", ["mse", "mse"], loss_weights=[1]), ValueError, "one for each of 2 outputs"),
        (lambda m, x, y: m.compile("sgd", ["mse", "mse"], loss_weights=[1, "2"]), TypeError, "must be numbers"),
        (lambda m, x, y: m.compile("sgd", ["mse", "mse"], loss_weights=[1, np.inf]), ValueError, "must be finite"),
    ],
)
def test_bad_tuples_and_names_are_refused(
    call: Any, error: type[Exception], text: str, rng: np.random.Generator
) -> None:
    model = two_by_two()
    model.compile("sgd", ["cross_entropy", "mse"])
    x, y = _data(rng)
    before = model.state_dict()
    with pytest.raises(error, match=text):
        call(model, x, y)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_outputs_and_inputs_without_a_name_cannot_be_named() -> None:
    x = Input((4,))
    again = Linear(4, 4)
    model = Model(x, [again(x), again(again(x))])
    with pytest.raises(ValueError, match=r"output 0 has no name \(its layer is used several times\), so loss must be"):
        model.compile("sgd", {"linear_1": "mse"})
    with pytest.raises(ValueError, match=r"input 0 has no name \(an input is named by Input"):
        model.predict({"x": np.zeros((1, 4))})


def test_branches_that_do_not_meet_are_named_with_what_would_fit() -> None:
    x = Input((3, 8, 8), name="photo")
    short = Conv2d(None, 4, 3, name="short")(x)
    text = r"\(3, 8, 8\) .* \(4, 6, 6\) .* branch 1 would have to be \(3, 8, 8\) .branch 0 is input 'photo', "
    with pytest.raises(ValueError, match=text + "branch 1 is conv2d 'short'"):
        Add()(x, short)
    later = Input(name="later")
    model = Model(later, Concat()(Conv2d(None, 2, 3)(later), MaxPool2d(2)(later)))
    text = (
        r"branch 1 would have to be \(3, 6, 6\); crop='center' .* .branch 0 is 'conv2d_1', branch 1 is 'max_pool2d_1'"
    )
    with pytest.raises(ValueError, match=text):
        model.predict(np.zeros((1, 3, 8, 8), np.float32))
