"""Knowledge points one way: which part of the package may import which (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastconv

ROOT = Path(fastconv.__file__).parent
ABOVE = {
    "cli",
    "keras",
    "zoo",
    "train",
    "io",
    "viz",
    "nn",
    "losses",
    "optim",
    "ops",
    "data",
    "metrics",
    "schedules",
    "torch",
}
MAY_NOT_KNOW = {  # folder: parts of the package that lie above it
    "_checks": ABOVE | {"cuda"},
    "cuda": ABOVE,
    "ops": ABOVE - {"ops"},
}


def imported(path: Path) -> set[str]:
    """Modules of this package that a file names, at its top, inside a function or as a text to import later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return {name for name in found if name.startswith("fastconv.")}


@pytest.mark.parametrize("folder", MAY_NOT_KNOW)
def test_a_part_does_not_know_what_lies_above_it(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        above = {name for name in imported(path) if name.split(".")[1] in MAY_NOT_KNOW[folder]}
        assert not above, f"{path} imports {above}"


def test_ops_has_one_door_to_cuda() -> None:
    for path in sorted((ROOT / "ops").glob("*.py")):
        gpu = {name for name in imported(path) if name.startswith(("fastconv.cuda", "fastconv.ops.gpu"))}
        assert gpu == ({"fastconv.ops.gpu"} if path.name == "device.py" else set()), path
