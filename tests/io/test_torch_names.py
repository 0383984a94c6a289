"""Weights under other names: renamed by a mapping, a function, or by the order of the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.io import save_file, torch_names
from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def _model(**options: Any) -> Sequential:
    return Sequential(
        Conv2d(2, 3, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(None, 3, 3, padding=1, bias=False, activation="relu"),
        Flatten(), Linear(None, 4, activation="relu"), Linear(None, 4, name="head"), input_shape=(2, 6, 6), **options,
    )  # fmt: skip


def _torch_state(seed: int = 5) -> dict[str, np.ndarray]:
    """What PyTorch would call them, in its order."""
    state = _model(seed=seed).state_dict()
    names = ("features.0.weight", "features.0.bias", "features.3.weight",
             "classifier.0.weight", "classifier.0.bias", "classifier.2.weight", "classifier.2.bias")  # fmt: skip
    return dict(zip(names, state.values(), strict=True)) | {"features.4.num_batches_tracked": np.array(7)}


LAYERS = {"features.0": "conv2d_1", "features.3": "conv2d_2", "classifier.0": "linear_1", "classifier.2": "head"}


def _check(model: Sequential, seed: int = 5) -> None:
    for name, value in _model(seed=seed).state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)


@pytest.mark.parametrize("rename", [
    LAYERS,
    {name: LAYERS[name.rpartition(".")[0]] + "." + name.rpartition(".")[2] for name in list(_torch_state())[:-1]},
    lambda name: LAYERS[name.rpartition(".")[0]] + "." + name.rpartition(".")[2],
    "order",
], ids=["layers", "names", "function", "order"])  # fmt: skip
def test_names_are_put_right(rename: Any) -> None:
    model = _model()
    model.load_state_dict(_torch_state(), rename=rename)
    _check(model)


def test_order_of_a_state_and_of_a_file(tmp_path: Path) -> None:
    model = _model()
    assert torch_names(model, _torch_state()) == LAYERS
    deep = Sequential(*(Linear(3, 3, name=f"layer_{k}") for k in range(12)), input_shape=(3,), seed=1)
    state = {f"net.{2 * k}.{role}": value for k in range(12) for role, value in _entry(deep, k)}
    save_file(state, tmp_path / "deep.safetensors")  # written in the alphabet's order: net.0, net.10, net.12, ... net.2
    other = Sequential(*(Linear(3, 3, name=f"layer_{k}") for k in range(12)), input_shape=(3,), seed=2)
    other.load(tmp_path / "deep.safetensors", rename="order")
    for name, value in deep.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)


def _entry(model: Sequential, k: int) -> list[tuple[str, np.ndarray]]:
    return [(role, model.state_dict()[f"layer_{k}.{role}"]) for role in ("weight", "bias")]


def test_a_file_with_names_put_right(tmp_path: Path) -> None:
    save_file(_torch_state(), tmp_path / "theirs.safetensors")
    model = _model(dtype="float64")
    model.load(tmp_path / "theirs.safetensors", rename=LAYERS)
    np.testing.assert_array_equal(model.state_dict()["head.weight"], _torch_state()["classifier.2.weight"])


def test_entries_can_be_left_out() -> None:
    model, state = _model(), _torch_state() | {"aux.weight": np.zeros(3), "aux.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"unexpected: aux.bias, aux.weight"):
        model.load_state_dict(state, rename=LAYERS)
    model.load_state_dict(state, rename=LAYERS | {"aux": None})
    _check(model)


def test_all_that_is_wrong_is_listed_under_both_names_and_nothing_changes() -> None:
    model, state = _model(), _torch_state()
    before = model.state_dict()
    state["features.0.weight"] = state["features.0.weight"].transpose(2, 3, 1, 0)
    state["classifier.0.bias"] = np.zeros(4, np.int32)
    state["classifier.2.weight"] = object()
    del state["features.3.weight"]
    state["head.bias"] = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="the state does not fit") as caught:
        model.load_state_dict(state, rename=LAYERS)
    for text in (
        "classifier.2.bias and head.bias are both renamed to head.bias",
        "missing: conv2d_2.weight",
        "conv2d_1.weight (from features.0.weight) must have shape (3, 2, 3, 3), got (3, 3, 2, 3)",
        "linear_1.bias (from classifier.0.bias) must be floating point, got int32",
        "head.weight (from classifier.2.weight) must have shape (4, 4), got ()",
    ):
        assert text in str(caught.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_layers_that_do_not_match_in_order_are_listed() -> None:
    model, state = _model(), _torch_state()
    with pytest.raises(ValueError, match=r"must hold 4 modules .*conv2d_1, .* head.*got 3 .*features.0"):
        torch_names(model, {name: value for name, value in state.items() if not name.startswith("classifier.2")})
    state["features.3.bias"] = np.zeros(3)
    text = r"features.3 with weight \(3, 3, 3, 3\), bias \(3,\) for conv2d_2 with weight \(3, 3, 3, 3\)"
    with pytest.raises(ValueError, match=text):
        model.load_state_dict(state, rename="order")


@pytest.mark.parametrize(
    ("state", "rename", "error", "text"),
    [
        ([1, 2], "order", TypeError, "torch_names: state must be a mapping of names to arrays, got"),
        ([1, 2], None, TypeError, "state must be a mapping of names to arrays, got"),
        ({}, 5, TypeError, "rename must be a mapping, a function of a name, or 'order', got 5"),
        ({}, "name", ValueError, "rename must be a mapping, a function or 'order', got 'name'"),
    ],
)
def test_bad_arguments(state: Any, rename: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        _model().load_state_dict(state, rename=rename)
