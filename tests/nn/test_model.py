"""Model: state dicts, tables, memory plans, and what it refuses."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastconv
import networks
from fastconv import _core
from fastconv.losses import SoftmaxCrossEntropy
from fastconv.nn import Conv2d, Flatten, Linear, Model, ReLU, Sequential
from fastconv.optim import SGD


def test_state_dict_round_trip_gives_the_same_bits(rng: np.random.Generator) -> None:
    first, second = networks.residual(seed=1), networks.residual(seed=2)
    x = rng.normal(size=(3, 2, 7, 6)).astype(np.float32)
    assert not np.array_equal(first.predict_on_batch(x), second.predict_on_batch(x))
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.predict_on_batch(x), second.predict_on_batch(x))


def test_state_dict_holds_copies() -> None:
    model = networks.chain()
    state = model.state_dict()
    assert list(state) == [
        f"{layer}.{role}" for layer in ("conv2d_1", "conv2d_2", "linear_1", "linear_2") for role in ("weight", "bias")
    ]
    state["conv2d_1.weight"][...] = 0
    assert model.state_dict()["conv2d_1.weight"].any()


def test_load_state_dict_lists_all_that_is_wrong_and_changes_nothing() -> None:
    model = networks.chain()
    before = model.state_dict()
    state = {**{name: value + 1 for name, value in before.items()}, "extra.weight": np.zeros(3)}
    del state["linear_2.bias"]
    state["conv2d_2.weight"] = np.zeros((4, 3, 3, 3), np.float32)
    state["linear_1.bias"] = np.zeros(6, np.int64)
    with pytest.raises(ValueError, match="the state does not fit") as caught:
        model.load_state_dict(state)
    for text in (
        "missing: linear_2.bias",
        "unexpected: extra.weight",
        "conv2d_2.weight must have shape (4, 3, 2, 2), got (4, 3, 3, 3)",
        "linear_1.bias must be floating point, got int64",
    ):
        assert text in str(caught.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    model.load_state_dict({"linear_2.bias": np.ones(3)}, strict=False)
    assert model.state_dict()["linear_2.bias"].tolist() == [1, 1, 1]


def test_save_and_load(tmp_path: object, rng: np.random.Generator) -> None:
    model, other = networks.inception(seed=1), networks.inception(seed=2)
    model.save(tmp_path / "weights.safetensors")
    other.load(tmp_path / "weights.safetensors")
    x = rng.normal(size=(3, 2, 7, 6)).astype(np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(x), other.predict_on_batch(x))


def test_astype_casts_weights_and_arithmetic(rng: np.random.Generator) -> None:
    model = networks.chain()
    x = rng.normal(size=(3, 2, 7, 6))
    single = model.predict_on_batch(x)
    model.astype("float64")
    double = model.predict_on_batch(x)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)


def test_summary_counts_parameters_and_flops() -> None:
    model = Sequential(
        Conv2d(3, 10, 5, padding=2, name="conv"), Flatten(), Linear(None, 10), input_shape=(3, 32, 32)
    )  # fmt: skip
    lines = model.summary().splitlines()
    conv = next(line for line in lines if line.startswith("conv"))
    assert conv.split() == ["conv", "(10,", "32,", "32)", "760", f"{2 * 10 * 32 * 32 * 75:,}"]
    assert "parameters: 103,170 (103,170 trainable, 0 frozen)" in lines
    model.layers["conv"].trainable = False
    assert "parameters: 103,170 (102,410 trainable, 760 frozen)" in model.summary()


def test_summary_counts_shared_weights_once() -> None:
    table = networks.shared().summary()
    assert table.count("again (shared)") == 2
    assert f"parameters: {38 + 3 * 84 + 3:,} (" in table


def test_summary_and_plan_of_an_unbuilt_model_ask_for_the_shape() -> None:
    model = Sequential(Conv2d(None, 4, 3), Flatten(), Linear(None, 2))
    with pytest.raises(ValueError, match=r"Model.summary: pass input_shapes=\[\(C, H, W\)\]"):
        model.summary()
    with pytest.raises(RuntimeError, match="Model.state_dict: the input's shape is not known yet"):
        model.state_dict()
    assert "(4, 6, 6)" in model.summary([(1, 8, 8)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", networks.CLASSIFIERS)
def test_scratch_is_taken_once(name: str, training: bool, rng: np.random.Generator) -> None:
    """It does not grow from layer to layer: malloc would keep what was given back."""
    model = networks.CLASSIFIERS[name]()
    model.compile("adam", "cross_entropy")
    x, y = rng.normal(size=(8, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 8)
    _core.release_scratch()
    before = _core.scratch_stats()["allocations"]
    for _ in range(2):
        if training:
            model.train_on_batch(x, y)
        else:
            model.predict_on_batch(x)
    assert _core.scratch_stats()["allocations"] - before <= 2  # the second keeps what the first has found room for


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", networks.CLASSIFIERS)
def test_plan_is_what_is_allocated(name: str, training: bool, rng: np.random.Generator) -> None:
    model = networks.CLASSIFIERS[name]()
    model.compile("adam", "cross_entropy")
    plan = model.plan(8, training=training)
    assert model._engine.arena_bytes == 0, "planning allocates nothing"
    _core.release_scratch()
    before = _core.scratch_stats()["bytes_reserved"]
    x, y = rng.normal(size=(8, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 8)
    if training:
        model.train_on_batch(x, y)
    else:
        model.predict_on_batch(x)
    parameters = model.parameters()
    assert plan.arena == model._engine.arena_bytes
    assert plan.scratch == _core.scratch_stats()["bytes_reserved"] - before
    assert plan.parameters == sum(parameter.data.nbytes for parameter in parameters)
    assert plan.parameter_gradients == sum(p.grad.nbytes for p in parameters if p.grad is not None)
    state = model.optimizer.state_dict()
    assert plan.optimizer_state == sum(array.nbytes for key, array in state.items() if key != "meta")
    assert plan.packed_weights == sum(layer.packed_bytes for layer in model.layers.values())
    assert plan.total == sum(
        (plan.parameters, plan.parameter_gradients, plan.optimizer_state, plan.packed_weights, plan.arena, plan.scratch)
    )
    assert str(plan).splitlines()[-1].split() == ["total", f"{plan.total:,}", "bytes"]


def test_training_memory_is_shared() -> None:
    model = networks.residual()
    model.compile("sgd", "cross_entropy")
    plan = model.plan(64)
    assert plan.arena < 0.8 * sum(plan.arena_by_kind.values())


def test_logs_are_those_before_the_step(rng: np.random.Generator) -> None:
    model = networks.chain()
    model.compile(SGD(0.1), SoftmaxCrossEntropy(), ["accuracy"])
    x, y = rng.normal(size=(16, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 16)
    expected = model.test_on_batch(x, y)
    logs = model.train_on_batch(x, y)
    assert logs == pytest.approx(expected, rel=1e-6)
    assert model.test_on_batch(x, y)["loss"] < expected["loss"]
    for _ in range(60):
        last = model.train_on_batch(x, y)
    assert last["loss"] < 0.5 * logs["loss"]


def test_several_losses_are_added_and_named(rng: np.random.Generator) -> None:
    model = networks.two_by_two()
    model.compile("sgd", ["cross_entropy", "mse"], [_largest])
    x = [rng.normal(size=(3, 2, 7, 6)), rng.normal(size=(3, 5))]
    logs = model.test_on_batch(x, [rng.integers(0, 3, 3), rng.normal(size=(3, 2, 4, 3))])
    assert logs.keys() == {"loss", "output_0_loss", "output_0__largest", "output_1_loss", "output_1__largest"}
    assert logs["loss"] == logs["output_0_loss"] + logs["output_1_loss"]


def _largest(output: np.ndarray, target: np.ndarray) -> float:
    return float(output.max())


def test_threads_take_turns(rng: np.random.Generator) -> None:
    model = networks.chain()
    batches = [rng.normal(size=(size, 2, 7, 6)).astype(np.float32) for size in (3, 8, 5, 1)]
    expected = [model.predict_on_batch(x) for x in batches]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if not np.array_equal(model.predict_on_batch(batches[index]), expected[index]):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _image() -> np.ndarray:
    return np.zeros((4, 2, 7, 6), np.float32)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda m: m.predict_on_batch([[1.0]]), TypeError, "predict_on_batch: x must be a numpy.ndarray"),
        (
            lambda m: m.predict_on_batch(np.zeros((4, 3, 7, 6))),
            ValueError,
            r"input 0 must have shape \(N, 2, 7, 6\), got",
        ),
        (lambda m: m.predict_on_batch(np.zeros((2, 7, 6))), ValueError, r"input 0 must have shape \(N, 2, 7, 6\)"),
        (
            lambda m: m.predict_on_batch(_image().astype(complex)),
            TypeError,
            "input 0 must hold numbers, got complex128",
        ),
        (lambda m: m.predict_on_batch(_image().astype(object)), TypeError, "input 0 must hold numbers, got object"),
        (lambda m: m.predict_on_batch([_image(), _image()]), ValueError, "x must hold 1 arrays, got 2"),
        (lambda m: m.train_on_batch(_image(), np.zeros(3, int)), ValueError, "x and y must have one N, got 4 and"),
        (lambda m: m.train_on_batch(_image(), np.zeros(4)), TypeError, "labels must be integers, got float64"),
        (lambda m: m.train_on_batch(_image(), [0, 1, 2, 0]), TypeError, "target must be a numpy.ndarray"),
        (lambda m: m.train_on_batch(_image(), np.array([0, 1, 3, 0])), ValueError, "3"),
        (lambda m: m.plan(-1), ValueError, "Model.plan: batch must be at least 0, got -1"),
        (lambda m: m.plan(2.5), TypeError, "Model.plan: batch must be an integer"),
        (lambda m: m.compile("sgd", ["mse", "mse"]), ValueError, "loss must name one for each of 1 outputs"),
        (lambda m: m.compile("sgd", [None]), ValueError, "at least one output must have a loss"),
        (lambda m: m.compile("lbfgs"), ValueError, "optimizer must be an Optimizer or one of"),
        (lambda m: m.compile("sgd", "hinge"), ValueError, "loss must be a Loss or one of"),
        (lambda m: m.compile("sgd", "mse", "accuracy"), TypeError, r"metrics must be a sequence, got 'accuracy'"),
        (lambda m: setattr(m, "rng", 3), TypeError, "rng must be a numpy.random.Generator"),
    ],
)
def test_bad_calls_are_refused_and_the_model_goes_on(act: object, error: type[Exception], text: str) -> None:
    model = networks.chain()
    model.compile("sgd", "cross_entropy")
    before = model.state_dict()
    with pytest.raises(error, match=text):
        act(model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert np.isfinite(model.train_on_batch(_image(), np.zeros(4, int))["loss"])


def test_a_model_that_is_not_compiled_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"Model.train_on_batch: call model.compile\(optimizer, loss\) first"):
        networks.chain().train_on_batch(_image(), np.zeros(4, int))


@pytest.mark.parametrize("dtype", ["float16", "int32", object])
def test_models_compute_in_float32_or_float64(dtype: object) -> None:
    with pytest.raises(TypeError, match="Model: dtype must be float32 or float64"):
        networks.chain(dtype=dtype)


def test_sequential_takes_layers_only() -> None:
    with pytest.raises(TypeError, match="Sequential: layers must be Layers, got 3 .* at place 1"):
        Sequential(Flatten(), 3)
    with pytest.raises(ValueError, match="Sequential: needs at least one layer"):
        Sequential()
    assert isinstance(Sequential([Flatten(), Linear(None, 2)]), Model)


def test_the_algorithm_is_chosen_per_layer_model_and_process(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 16, 12, 12)).astype(np.float32)

    def predict(model_algo: str = "auto", layer_algo: str = "auto") -> bytes:
        layer = Conv2d(16, 16, 3, algo=layer_algo)
        return Sequential(layer, input_shape=(16, 12, 12), seed=1, algo=model_algo).predict(x).tobytes()

    automatic, direct = predict(), predict("direct")
    assert automatic != direct
    assert predict("auto", "direct") == direct
    assert predict("winograd", "direct") == direct
    assert predict("direct", "winograd") == automatic
    model = Sequential(Conv2d(16, 16, 3), input_shape=(16, 12, 12), seed=1)
    assert model.predict(x).tobytes() == automatic
    fastconv.config.algo = "direct"
    try:
        assert model.predict(x).tobytes() == direct  # the programs of another choice are not reused
        assert predict("winograd") == automatic
    finally:
        fastconv.config.algo = "auto"
    assert model.predict(x).tobytes() == automatic
    for wrong, error in (("fast", ValueError), (1, TypeError)):
        with pytest.raises(error, match="algo must be one of"):
            Conv2d(16, 16, 3, algo=wrong)
        with pytest.raises(error, match="Model: algo must be one of"):
            Sequential(ReLU(), input_shape=(3,), algo=wrong)
