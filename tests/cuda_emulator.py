"""Builds the module _cuda_emulated from the checkout, once per state of the sources, and loads it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
NAME = "_cuda_emulated"


class CannotBuild(Exception):
    """What is missing on this machine."""


def sources() -> list[Path]:
    """All that the module is made of."""
    folders = (ROOT / "csrc" / "core", ROOT / "csrc" / "cuda", ROOT / "cmake")
    return [ROOT / "CMakeLists.txt", *(p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file())]


def fingerprint() -> str:
    """Of the sources and of what compiles them."""
    digest = hashlib.sha256(f"{sys.version} {sysconfig.get_platform()} {os.environ.get('CXX', '')}".encode())
    for path in sources():
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")


def build(sanitize: bool = False, timed: bool = False) -> Path:
    """Return the path of the module, built first if need be; `timed`: its bindings as those of `_cuda`."""
    folder = ROOT / "build" / ("emulator-asan" if sanitize else "emulator-timed" if timed else "emulator")
    stamp = folder / "fingerprint"
    library = folder / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
    wanted = fingerprint()
    if library.exists() and stamp.exists() and stamp.read_text() == wanted:
        return library
    if importlib.util.find_spec("pybind11") is None:
        raise CannotBuild("needs the package pybind11")
    for tool in ("cmake", "ninja", os.environ.get("CXX", "c++")):
        if shutil.which(tool) is None:
            raise CannotBuild(f"needs {tool}")
    import pybind11

    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "FASTCONV_CUDA_EMULATOR": "ON",
        "FASTCONV_SANITIZE": "ON" if sanitize else "OFF",
        "FASTCONV_EMULATOR_BINDINGS": "-Os" if timed else "-O0",
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "Python_EXECUTABLE": sys.executable,
    }
    _run(["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items())])
    _run(["cmake", "--build", str(folder), "--target", NAME])
    stamp.write_text(wanted)
    return library


def load(library: Path) -> ModuleType:
    """Import the module from where it was built."""
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
