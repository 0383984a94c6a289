"""No code of a newer instruction set may leak into what every CPU runs.

If the object file of an instruction set exports an inline function, the linker may keep that copy for everybody, and
an old CPU dies of an illegal instruction. So each exports its table of kernels and nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[2] / "build"
EXPORTED = set("ABCDGIRSTUVWuvwi") - {"U"}  # capital or weak letters of nm: visible to the linker


def newest_objects() -> dict[str, Path]:
    """The object of each instruction set, of the last build."""
    objects: dict[str, Path] = {}
    for path in sorted(BUILD.rglob("kernels_*.cpp.o"), key=lambda found: found.stat().st_mtime):
        objects[path.name.removeprefix("kernels_").removesuffix(".cpp.o")] = path
    return objects


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_an_instruction_set_exports_one_symbol() -> None:
    objects = newest_objects()
    if not objects:
        pytest.skip("needs the build folder with its object files")
    for isa, path in objects.items():
        listing = subprocess.run(["nm", "-C", str(path)], capture_output=True, text=True, check=True).stdout
        symbols = [line[17:] for line in listing.splitlines() if line[17:18] in EXPORTED]
        symbols = [symbol for symbol in symbols if " DW.ref." not in symbol]  # a debug build's pointers, no code
        assert len(symbols) == 1, (isa, symbols)
        kind, name = symbols[0][0], symbols[0][2:]
        assert kind == "T", (isa, symbols)
        assert f"kernel_table_{isa}" in name
