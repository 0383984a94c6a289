"""The calls that layers make, on a real GPU: the cases of tests/cuda/test_bound.py, in CuPy's memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastconv.cuda.device import CudaDevice

pytestmark = pytest.mark.gpu


def _cases() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[1] / "cuda" / "test_bound.py"
    spec = importlib.util.spec_from_file_location("emulated_layers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


globals().update(_cases())


@pytest.fixture
def device(gpu: Any) -> Iterator[CudaDevice]:
    """In the place of the emulator's."""
    if gpu.name != "cupy":
        pytest.skip("models take their memory from CuPy")
    found = CudaDevice("test", None)
    with found.active():
        yield found
