"""Trees of state come back equal, and nothing else is taken for one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.io import load_file, save_file
from fastconv.io.tree import load_tree, save_tree


def test_round_trip(tmp_path: Path) -> None:
    tree = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "nested": {"deeper": {"scalar": np.array(2.5), "flags": np.array([True, False])}, "empty": {}},
        "numbers": [1, 2.5, None, True, "text", {"array": np.ones(2)}],
        "big": 2**127 + 1,
        "exact": 0.1 + 0.2,
        "infinite": [math.inf, -math.inf],
        "numpy": np.float64(0.1),
        "rng": np.random.default_rng(0).bit_generator.state,
    }
    save_tree(tree, tmp_path / "t")
    result = load_tree(tmp_path / "t")
    assert result.keys() == tree.keys()
    np.testing.assert_array_equal(result["array"], tree["array"])
    assert result["array"].dtype == np.float32
    assert result["nested"]["deeper"]["scalar"].shape == ()
    assert result["nested"]["empty"] == {}
    np.testing.assert_array_equal(result["numbers"].pop()["array"], np.ones(2))
    assert result["numbers"] == [1, 2.5, None, True, "text"]
    for name in ("big", "exact", "infinite", "numpy", "rng"):
        assert result[name] == tree[name]


def test_a_generator_goes_on_from_its_state(tmp_path: Path) -> None:
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox):
        first, second = np.random.Generator(kind(1)), np.random.Generator(kind(2))
        first.random(3)
        save_tree({"state": first.bit_generator.state}, tmp_path / "t")
        second.bit_generator.state = load_tree(tmp_path / "t")["state"]
        assert second.random(5).tolist() == first.random(5).tolist()


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ({1: 2}, ValueError),
        ({"$tensor": "a"}, ValueError),
        ({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}}, ValueError),
        ({"a": object()}, TypeError),
        ({"a": {1, 2}}, TypeError),
    ],
)
def test_refuses_what_has_no_place(tmp_path: Path, tree: Any, error: Any) -> None:
    with pytest.raises(error, match="save_tree: "):
        save_tree(tree, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_refuses_other_files(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / "t")
    with pytest.raises(ValueError, match="holds weights only"):
        load_tree(tmp_path / "t")
    for text in ("{", "[]", '{"a": {"$tensor": "missing"}}', '{"a":' * 100_000):
        save_file({}, tmp_path / "t", {"fastconv.tree": text})
        with pytest.raises(ValueError, match="damaged tree"):
            load_tree(tmp_path / "t")
    assert load_file(tmp_path / "t")[0] == {}
