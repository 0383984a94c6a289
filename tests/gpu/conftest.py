"""GPU memory for tests that need a device: CuPy's or PyTorch's, whichever is there.

Without a device these tests skip. FASTCONV_REQUIRE_GPU=1 says that there must be one: then they fail instead.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pytest

from fastconv import cuda
from fastconv.cuda import arrays


def missing(reason: str) -> NoReturn:
    """Skip, or fail where a GPU must be there."""
    if os.environ.get("FASTCONV_REQUIRE_GPU") == "1":
        pytest.fail(f"FASTCONV_REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)


@dataclass
class Library:
    """What a test needs of an array library."""

    name: str
    module: Any

    def put(self, a: np.ndarray) -> Any:
        if self.name == "torch":
            return self.module.from_numpy(np.array(a, order="C")).cuda()
        return self.module.asarray(np.array(a, order="C"))

    def get(self, a: Any) -> np.ndarray:
        host = a.cpu().numpy() if self.name == "torch" else self.module.asnumpy(a)
        return np.array(host, order="C")

    def wait(self) -> None:
        """Until the device has done everything."""
        (self.module.cuda if self.name == "torch" else self.module.cuda.Device()).synchronize()

    def poisoned(self, shape: tuple[int, ...]) -> Any:
        return self.put(np.full(shape, np.nan, np.float32))

    def channels_last(self, a: np.ndarray) -> Any:
        """(N, C, H, W) with channels last in memory."""
        return arrays.permute(self.put(a.transpose(0, 2, 3, 1)), (0, 3, 1, 2))


def _load(name: str) -> Library | None:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    there = module.cuda.is_available()
    return Library(name, module) if there else None


@pytest.fixture(params=["torch", "cupy"])
def gpu(request: pytest.FixtureRequest) -> Library:
    """A library with arrays on a device that our kernels run on."""
    if cuda.device_count() == 0:
        missing(f"CUDA is {cuda.status()}")
    library = _load(request.param)
    if library is None:
        if _load("cupy") is None and _load("torch") is None:
            missing("neither CuPy nor PyTorch sees a device")
        pytest.skip(f"{request.param} is not installed or sees no device")
    return library
