"""`import fastconv` is small: NumPy, the standard library, one compiled module and a few short files."""

from __future__ import annotations

import pytest

import fastconv
import fresh_process

LOADED = """
import sys, numpy
before = set(sys.modules)
import fastconv
print(*sorted(set(sys.modules) - before))
"""


def test_only_numpy_and_the_standard_library_are_loaded() -> None:
    new = fresh_process.output(LOADED).split()
    ours = [name for name in new if name.split(".")[0] == "fastconv"]
    assert set(ours) == {
        "fastconv",
        "fastconv._config",
        "fastconv._core",
        "fastconv._affinity",
        "fastconv._spin",
        "fastconv._threads",
    }
    names = fresh_process.output("import sys; print(*sys.stdlib_module_names)").split()
    assert {name.split(".")[0] for name in new} - {"fastconv"} <= set(names)
    assert len(new) <= 8, new


def test_submodules_load_at_first_use() -> None:
    code = (
        "import sys, fastconv; assert 'fastconv.ops' not in sys.modules; fastconv.ops.conv2d;"
        "assert 'fastconv.ops' in sys.modules; assert 'fastconv.nn' not in sys.modules; print('done')"
    )
    assert fresh_process.output(code) == "done"


def test_the_optional_packages_are_not_needed() -> None:
    code = """
import sys
for name in ("matplotlib", "tqdm", "pooch", "onnx", "cupy", "torch", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
import fastconv
for name in ("ops", "nn", "optim", "losses", "metrics", "schedules", "data", "io", "train", "zoo", "cli"):
    getattr(fastconv, name)
print(fastconv.info())
"""
    assert "CUDA" in fresh_process.output(code)


def test_names() -> None:
    assert set(fastconv.__all__) <= set(dir(fastconv))
    assert {"ops", "nn", "train", "explain", "info"} <= set(dir(fastconv))
    for name in fastconv.__all__:
        assert getattr(fastconv, name) is not None
    with pytest.raises(AttributeError, match="module 'fastconv' has no attribute 'convolve'"):
        fastconv.convolve  # noqa: B018
