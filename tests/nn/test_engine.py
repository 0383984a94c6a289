"""The engine against the layers run one by one, and what it promises: bits, memory, no allocation."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastconv
import networks
from fastconv import _core
from fastconv.losses import SoftmaxCrossEntropy
from fastconv.nn import Conv2d, MaxPool2d, Model, Sequential, Softmax
from fastconv.nn.steps import Mode
from networks import CLASSIFIERS


def _eager(model: Model, x: np.ndarray) -> tuple[np.ndarray, list[tuple[object, object]]]:
    """Run the graph's layers one by one; sharing makes their last call the only one that backward knows."""
    values = {model.graph.inputs[0]: x}
    for node in model.graph.nodes:
        if node.layer is not None:
            values[node] = node.layer(*(values[source] for source in node.inputs))
    return values[model.graph.outputs[0]], list(values.items())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_predict_equals_eager_layers(name: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    model = CLASSIFIERS[name](dtype=dtype)
    x = rng.normal(size=(5, 2, 7, 6)).astype(dtype)
    expected, _ = _eager(model, x)
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=tolerance, atol=tolerance)


def test_training_gradients_equal_eager_backward(rng: np.random.Generator) -> None:
    model = networks.chain(dtype="float64")
    model.compile("sgd", "cross_entropy")
    model.optimizer.learning_rate = 0.0
    x, y = rng.normal(size=(5, 2, 7, 6)), rng.integers(0, 3, 5)
    model.train_on_batch(x, y)
    engine = {name: parameter.grad.copy() for name, parameter in model.named_parameters().items()}
    for layer in model.layers.values():
        layer.zero_grad()
    output, _ = _eager(model, x)
    _, grad = SoftmaxCrossEntropy().with_grad(output, y)
    for layer in reversed(model.layers.values()):
        grad = layer.backward(grad)
    assert grad.shape == x.shape
    for name, parameter in model.named_parameters().items():
        np.testing.assert_allclose(engine[name], parameter.grad, rtol=1e-12, atol=1e-14, err_msg=name)


def test_the_layout_of_the_data_changes_no_result(rng: np.random.Generator) -> None:
    first, last = networks.two_by_two(), networks.two_by_two(layout="NHWC")
    x = [rng.normal(size=(3, 2, 7, 6)).astype(np.float32), rng.normal(size=(3, 5)).astype(np.float32)]
    turned = [np.ascontiguousarray(x[0].transpose(0, 2, 3, 1)), x[1]]
    vector, image = first.predict_on_batch(x)
    vector_last, image_last = last.predict_on_batch(turned)
    np.testing.assert_array_equal(vector, vector_last)
    np.testing.assert_array_equal(image, image_last.transpose(0, 3, 1, 2))
    y = [rng.integers(0, 3, 3), rng.normal(size=(3, 2, 4, 3))]
    for model in (first, last):
        model.compile("sgd", ["cross_entropy", "mse"])
    assert first.train_on_batch(x, y) == last.train_on_batch(turned, [y[0], y[1].transpose(0, 2, 3, 1)])


@pytest.mark.parametrize("given", ["uint8", "float64", "strided"])
def test_batches_are_cast_to_the_dtype_of_the_parameters(given: str, rng: np.random.Generator) -> None:
    model = networks.chain()
    x = rng.integers(0, 256, (4, 2, 7, 6))
    expected = model.predict_on_batch(x.astype(np.float32))
    strided = np.asfortranarray(x[:, ::-1].astype(np.float32))[:, ::-1]
    other = strided if given == "strided" else x.astype(given)
    np.testing.assert_array_equal(model.predict_on_batch(other), expected)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_predict_has_the_same_bits_for_every_split(name: str, isa: str, rng: np.random.Generator) -> None:
    model = CLASSIFIERS[name]()
    x = rng.normal(size=(13, 2, 7, 6)).astype(np.float32)
    whole = model.predict_on_batch(x)
    for cuts in ([1], [5, 10], list(range(1, 13))):
        parts = [model.predict_on_batch(part) for part in np.split(x, cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_training_has_the_same_bits_for_every_thread_count(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(16, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 16)
    states = []
    for threads in (1, 2, 3, 8):
        with fastconv.threads(threads):
            model = networks.with_dropout(seed=3)
            model.compile("rmsprop", "cross_entropy")
            losses = [model.train_on_batch(x, y)["loss"] for _ in range(4)]
            states.append((losses, model.state_dict()))
    for losses, state in states[1:]:
        assert losses == states[0][0]
        for name, value in state.items():
            np.testing.assert_array_equal(value, states[0][1][name], err_msg=name)


def test_batch_sizes_may_change_at_any_time(rng: np.random.Generator) -> None:
    """A model that has seen other batch sizes, and a validation between, trains like one that hasn't."""
    x, y = rng.normal(size=(12, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 12)
    plain, busy = networks.residual(), networks.residual()
    for model in (plain, busy):
        model.compile("adam", "cross_entropy")
    for size in (5, 12, 1, 5, 12):
        expected = plain.train_on_batch(x[:size], y[:size])
        assert busy.train_on_batch(x[:size], y[:size]) == expected
        for other in (1, 2, 3, 7, 8, 9, 10, 11):
            busy.predict_on_batch(x[:other])
            busy.test_on_batch(x[:other], y[:other])


def test_no_batch_at_all(rng: np.random.Generator) -> None:
    x, y = np.zeros((0, 2, 7, 6), np.float32), np.zeros(0, np.int64)
    for build in CLASSIFIERS.values():
        model = build()
        assert model.predict_on_batch(x).shape == (0, 3)
        model.compile("sgd", "cross_entropy")
        before = model.state_dict()
        assert model.plan(0).total >= model.plan(0, training=False).parameters > 0
        assert model.train_on_batch(x, y)["loss"] == 0
        for name, parameter in model.named_parameters().items():
            assert not np.any(parameter.grad), name
            np.testing.assert_array_equal(parameter.data, before[name])


@pytest.mark.parametrize("build", [networks.chain, networks.residual, networks.inception, networks.with_dropout])
def test_a_training_step_allocates_nothing(build: object, rng: np.random.Generator) -> None:
    """After the first steps no array appears: neither in NumPy nor in the kernels' scratch."""
    model = build()
    model.compile("adam", "cross_entropy")
    x, y = rng.normal(size=(64, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 64)
    for _ in range(3):
        model.train_on_batch(x, y)
    scratch, arena = _core.scratch_stats()["allocations"], model._engine.arena_bytes
    numpy_domain = np.lib.tracemalloc_domain
    tracemalloc.start()
    try:
        tracemalloc.clear_traces()
        start = _traced(numpy_domain)
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            model.train_on_batch(x, y)
        peak = tracemalloc.get_traced_memory()[1] - base
        assert _traced(numpy_domain) == start
    finally:
        tracemalloc.stop()
    assert peak < 16_000, f"the smallest activation is larger than what Python objects took: {peak} bytes"
    assert _core.scratch_stats()["allocations"] == scratch
    assert model._engine.arena_bytes == arena


def _traced(domain: int) -> int:
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, domain)])
    return sum(trace.size for trace in snapshot.traces)


def test_weights_are_packed_once_per_change(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    calls = []
    pack = _core.linear_pack_weight
    monkeypatch.setattr(_core, "linear_pack_weight", lambda *args: calls.append(1) or pack(*args))
    model = networks.ends_in_softmax()
    x, y = rng.normal(size=(4, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 4)
    for size in (4, 2, 4):
        model.predict_on_batch(x[:size])
    assert len(calls) == 2, "two dense layers"
    model.compile("sgd", "cross_entropy")
    model.train_on_batch(x, y)
    assert len(calls) == 2, "training packs nothing ahead"
    after_step = model.predict_on_batch(x)
    assert len(calls) == 4
    model.layers["linear_1"].weight.data = np.zeros((5, 84), np.float32)
    assert not np.array_equal(model.predict_on_batch(x), after_step)
    assert len(calls) == 5


def test_no_gradient_of_the_input_is_computed_unless_asked(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    calls = []
    backward = _core.conv2d_backward_input
    monkeypatch.setattr(_core, "conv2d_backward_input", lambda *a, **k: calls.append(1) or backward(*a, **k))
    model = networks.chain()
    model.compile("sgd", "cross_entropy")
    model.train_on_batch(rng.normal(size=(4, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 4))
    assert len(calls) == 1, "two convolutions, the first one skips it"


def test_fusion_leaves_one_call_for_conv_relu(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """conv, relu, max pool: no pass over the large image for the ReLU, neither forward nor backward."""
    calls = []
    for name in ("relu_forward", "relu_backward"):
        function = getattr(_core, name)
        monkeypatch.setattr(
            _core, name, lambda *args, function=function: calls.append(args[0].shape) or function(*args)
        )
    model = networks.chain()
    model.compile("sgd", "cross_entropy")
    model.train_on_batch(rng.normal(size=(4, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 4))
    assert calls == [(4, 6), (4, 2, 2, 4)], "masks of the dense layer and of the convolution before the average pool"


def test_a_model_that_ends_in_softmax_is_not_softmaxed_twice(rng: np.random.Generator) -> None:
    model = networks.ends_in_softmax()
    logits = Sequential([*list(model.layers.values())[:-1]], input_shape=(2, 7, 6))
    x, y = rng.normal(size=(4, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 4)
    model.compile("sgd", "categorical_crossentropy", ["accuracy"])
    expected = SoftmaxCrossEntropy()(logits.predict_on_batch(x), y)
    assert model.test_on_batch(x, y)["loss"] == pytest.approx(expected, rel=1e-6)
    probabilities = model.predict_on_batch(x)
    np.testing.assert_allclose(probabilities, Softmax()(logits.predict_on_batch(x)), rtol=1e-6)
    assert model.train_on_batch(x, np.eye(3)[y])["loss"] == pytest.approx(expected, rel=1e-6)


def test_dropout_is_reproducible_and_off_in_inference(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 8)
    losses = []
    for seed in (1, 1, 2):
        model = networks.with_dropout(seed=seed)
        model.load_state_dict(networks.with_dropout(seed=0).state_dict())
        model.compile("sgd", "cross_entropy")
        np.testing.assert_array_equal(model.predict_on_batch(x), model.predict_on_batch(x))
        losses.append([model.train_on_batch(x, y)["loss"] for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_state_of_rng_brings_the_same_masks_back(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 8)
    model = networks.with_dropout()
    model.compile("sgd", "cross_entropy")
    model.optimizer.learning_rate = 0.0
    state = model.rng.bit_generator.state
    first = [model.train_on_batch(x, y)["loss"] for _ in range(3)]
    model.rng.bit_generator.state = state
    assert [model.train_on_batch(x, y)["loss"] for _ in range(3)] == first
    assert len(set(first)) == 3


def test_any_image_size_goes_through_a_convolutional_model(rng: np.random.Generator) -> None:
    from fastconv.nn import Conv2d, GlobalAvgPool2d, Linear

    model = Sequential(Conv2d(1, 4, 3, activation="relu"), GlobalAvgPool2d(), Linear(4, 2))
    for size in ((8, 8), (5, 9), (8, 8)):
        assert model.predict_on_batch(rng.normal(size=(2, 1, *size))).shape == (2, 2)


def test_results_are_the_callers_own(rng: np.random.Generator) -> None:
    model = networks.chain()
    x = rng.normal(size=(4, 2, 7, 6)).astype(np.float32)
    before = x.copy()
    first = model.predict_on_batch(x)
    kept = first.copy()
    model.predict_on_batch(-x)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, before)


def test_a_batch_that_memory_cannot_hold_is_refused_and_the_model_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(nbytes: int) -> np.ndarray:
        raise MemoryError

    model = networks.chain()
    x = np.zeros((8, 2, 7, 6), np.float32)
    model.predict_on_batch(x[:2])
    with monkeypatch.context() as patch:
        patch.setattr(_core, "empty_aligned", refuse)
        with pytest.raises(MemoryError, match=r"Model: no memory for an arena of [\d,]+ bytes; model.plan"):
            model.predict_on_batch(x)
    assert model.predict_on_batch(x).shape == (8, 3)


@pytest.mark.parametrize("size", [(22, 26), (23, 25), (4, 5), (2, 2)])
@pytest.mark.parametrize("poison", [None, np.nan, np.inf])
def test_a_max_pool_is_fused_into_winograd(
    size: tuple[int, int], poison: float | None, rng: np.random.Generator, isa: str
) -> None:
    """The same bits as the layers one by one, without the map between them in memory."""
    conv = Conv2d(16, 40, 3, padding=1, activation="relu", algo="winograd")
    model = Sequential(conv, MaxPool2d(2), input_shape=(16, *size), seed=3)
    x = rng.standard_normal((3, 16, *size)).astype(np.float32)
    if poison is not None:
        x[1, 5, 1, 1] = x[2, 7, size[0] - 1, 0] = poison
    expected = MaxPool2d(2)(conv(x))
    got = model.predict(x)
    np.testing.assert_array_equal(got, expected)
    assert np.isfinite(got).all() == (poison is None)
    program = model._engine.plan([x.shape], np.dtype(np.float32), Mode(), ())
    assert len(program.steps) == 1
    assert program.steps[0].frame.max_pool


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        (MaxPool2d(3, 2), {}),
        (MaxPool2d(2, 1), {}),
        (MaxPool2d(2, padding=1), {}),
        (MaxPool2d(2, ceil_mode=True), {}),
        (MaxPool2d(2), {"algo": "direct"}),
        (MaxPool2d(2), {"dilation": 2}),
        (MaxPool2d(2), {"stride": 2}),
    ],
)
def test_other_pools_are_not_fused(pool: MaxPool2d, options: dict[str, object], rng: np.random.Generator) -> None:
    conv = Conv2d(16, 16, 3, **options)
    model = Sequential(conv, pool, input_shape=(16, 15, 14), seed=3)
    x = rng.standard_normal((2, 16, 15, 14)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x), pool(conv(x)))
    assert len(model._engine.plan([x.shape], np.dtype(np.float32), Mode(), ()).steps) == 2
