"""A network in a file comes back whole, and a file that lies is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import zoo
from fastconv.io import load_file, save_file

DESCRIPTION = zoo.Description("digits_cnn", "digits", (1, 8, 8), tuple("0123456789"), 16.0)


def test_round_trip(tmp_path: Path) -> None:
    network = zoo.digits_cnn(seed=3)
    zoo.save_network(network, tmp_path / "w", DESCRIPTION)
    again, description = zoo.load_network(tmp_path / "w")
    assert description == DESCRIPTION
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))


def test_refuses_weights_without_a_description(tmp_path: Path) -> None:
    zoo.digits_cnn().save(tmp_path / "w")
    with pytest.raises(ValueError, match="holds no description"):
        zoo.load_network(tmp_path / "w")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": "alexnet2"}, "got 'alexnet2'"),
        ({"model": "mlp"}, "unexpected: conv1"),
        ({"classes": ["a"]}, "must have shape"),
        ({"classes": []}, "classes must number"),
        ({"input_shape": [1, 8]}, "damaged description"),
        ({"input_shape": [1, 0, 8]}, "input_shape must be"),
        ({"input_shape": [1, 10**9, 10**9]}, "input_shape must be"),
        ({"scale": "much"}, "damaged description"),
        ({"offset": None}, "damaged description"),
    ],
)
def test_refuses_a_description_that_does_not_fit(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    zoo.save_network(zoo.digits_cnn(), tmp_path / "w", DESCRIPTION)
    tensors, _ = load_file(tmp_path / "w")
    save_file(tensors, tmp_path / "w", {"fastconv.network": json.dumps(asdict(DESCRIPTION) | change)})
    with pytest.raises(ValueError, match=text):
        zoo.load_network(tmp_path / "w")


def test_refuses_damaged_json(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w", {"fastconv.network": "{"})
    with pytest.raises(ValueError, match="damaged description"):
        zoo.load_network(tmp_path / "w")
