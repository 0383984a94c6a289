"""The benchmark suite lies beside the package and is imported as its scripts import each other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

SUITE = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the suite by its name."""
    if not SUITE.is_dir():
        pytest.skip("the benchmarks are not part of this copy")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SUITE))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(SUITE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
