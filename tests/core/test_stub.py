"""The stub of the native module, held against the module: same names, same parameters, same kinds, same defaults."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import fastconv
from fastconv import _core

STUB = ast.parse((Path(fastconv.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef) if not node.name.startswith("_")}
VALUES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
VALUES = {name for name in VALUES if not name.startswith("_")}


def stub_parameters(node: ast.FunctionDef) -> list[str]:
    """Parameters in order, "*" before the keyword-only ones, "=" behind those with a default."""
    positional = [a.arg for a in node.args.args]
    optional = len(positional) - len(node.args.defaults)
    names = [name + ("=" if i >= optional else "") for i, name in enumerate(positional)]
    keywords = [
        a.arg + ("=" if default is not None else "")
        for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    return names + (["*", *keywords] if keywords else [])


def native_parameters(doc: str, name: str) -> list[str]:
    """The same list out of the signature that pybind11 writes into the docstring."""
    signature = re.match(rf"{name}\((.*)\) ->", doc)
    assert signature, doc
    names, depth, start = [], 0, 0
    text = signature.group(1) + ","
    for at, char in enumerate(text):
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            part = text[start:at].strip()
            if part:
                names.append(part.split(":")[0].strip() + ("=" if " = " in part else ""))
            start = at + 1
    return names


def test_names_are_the_same() -> None:
    native = {name for name in dir(_core) if not name.startswith("_")}
    assert native == {*FUNCTIONS, *CLASSES, *VALUES}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_the_same(name: str) -> None:
    doc = getattr(_core, name).__doc__
    assert native_parameters(doc, name) == stub_parameters(FUNCTIONS[name])


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_the_same(name: str) -> None:
    cls = getattr(_core, name)
    methods = {node.name: node for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)}
    constructor = methods.pop("__init__")
    native = {key for key in vars(cls) if not key.startswith("_")}
    assert native == set(methods)
    assert native_parameters(cls.__init__.__doc__, "__init__") == stub_parameters(constructor)
    for key in native:
        assert isinstance(vars(cls)[key], property), key


def test_dictionaries_have_the_keys_that_the_stub_names() -> None:
    typed = {
        node.name: {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}  # type: ignore[union-attr]
        for node in STUB.body
        if isinstance(node, ast.ClassDef) and node.name.startswith("_")
    }
    shape = _core.Conv2dShape((1, 3, 8, 8), (4, 3, 3, 3), (1, 1), "same", (1, 1), 1)
    assert set(_core.conv2d_explain(shape, "forward", "float32", layout="NCHW")) == typed["_Conv2dPlan"]
    window = _core.Pool2dShape((1, 3, 8, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False)
    plan = _core.pool2d_explain(window, "max_forward", "float32", layout="NCHW")
    assert set(plan) == typed["_Pool2dPlan"]
    assert set(_core.scratch_stats()) == typed["_ScratchStats"]
    assert set(_core.build_info()) == typed["_BuildInfo"]
