"""What belongs to the package, and that its version stands in one place."""

from __future__ import annotations

import re
import sys
import sysconfig
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import fastconv
import fresh_process

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_stands_in_one_place() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert fastconv.__version__ == metadata.version("fastconv") == version
    sources = [
        p for folder in ("python", "csrc") for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".cpp", ".h"}
    ]
    for path in [*sources, ROOT / "CMakeLists.txt"]:
        assert not re.search(rf"[\"']{re.escape(version)}[\"']", path.read_text(encoding="utf-8")), path


def test_numpy_is_the_only_requirement() -> None:
    required = [r for r in metadata.requires("fastconv") or [] if "extra ==" not in r]
    assert [re.split(r"[<>=]", r)[0] for r in required] == ["numpy"]
    extras = set(metadata.metadata("fastconv").get_all("Provides-Extra") or [])
    assert extras == {"test", "viz", "data", "onnx", "bench", "rivals", "cuda", "dev"}


def test_types_and_data_are_shipped() -> None:
    package = resources.files("fastconv")
    for name in ("py.typed", "_core.pyi", "data"):
        assert (package / name).is_file() or (package / name).is_dir(), name
    scripts = metadata.entry_points(group="console_scripts", name="fastconv")
    assert {script.value for script in scripts} == {"fastconv.cli:main"}


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python")
def test_the_gil_stays_off() -> None:
    assert fresh_process.output("import sys, fastconv; print(sys._is_gil_enabled())") == "False"


def test_the_module_declares_that_it_needs_no_gil() -> None:
    """On every Python: the declaration is in the source of the module."""
    source = (ROOT / "csrc" / "bindings" / "module.cpp").read_text()
    assert "mod_gil_not_used()" in source
    assert sys.version_info >= (3, 11)
