"""A tree of state (nested dicts; arrays, numbers and text as leaves) in one safetensors file.

Arrays become tensors; everything else stands as JSON in the metadata, where ``{"$tensor": name}`` marks the place of
an array. Python writes floats so that they read back bit for bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.io.safetensors import load_file, save_file

__all__ = ["load_tree", "save_tree"]

_KEY = "fastconv.tree"
_MARK = "$tensor"


def save_tree(tree: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write `tree` atomically; `load_tree` gives an equal one back.

    Parameters
    ----------
    tree
        Dicts with text as keys; leaves are arrays, numbers, text, None, or lists of them.
    path
        File to write or replace.
    """
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(_take_arrays(tree, "", arrays))
    save_file(arrays, path, {_KEY: text})


def _take_arrays(node: object, path: str, arrays: dict[str, NDArray[Any]]) -> object:
    if isinstance(node, np.ndarray):
        if path in arrays:
            raise ValueError(f"save_tree: two leaves are called {path!r}")
        arrays[path] = node
        return {_MARK: path}
    if isinstance(node, np.generic):
        return node.item()
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str) or key == _MARK:
                raise ValueError(f"save_tree: a key must be text other than {_MARK!r}, got {key!r} under {path!r}")
        return {key: _take_arrays(child, f"{path}/{key}" if path else key, arrays) for key, child in node.items()}
    if isinstance(node, (list, tuple)):
        return [_take_arrays(child, f"{path}/{k}", arrays) for k, child in enumerate(node)]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"save_tree: {path!r} must be an array, a number, text or None, got {type(node).__name__}")


def load_tree(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_tree` wrote.

    Raises
    ------
    ValueError
        When the file is damaged, or is not one that `save_tree` wrote.
    """
    arrays, metadata = load_file(path)
    if _KEY not in metadata:
        raise ValueError(f"load_tree: {os.fspath(path)} holds weights only, no state of a run")
    try:
        tree = json.loads(metadata[_KEY], object_hook=lambda node: _put_array(node, arrays))
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"load_tree: {os.fspath(path)} holds a damaged tree ({error})") from None
    if not isinstance(tree, dict):
        raise ValueError(f"load_tree: {os.fspath(path)} holds a damaged tree (it is a {type(tree).__name__})")
    return tree


def _put_array(node: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    return arrays[node[_MARK]] if node.keys() == {_MARK} else node
