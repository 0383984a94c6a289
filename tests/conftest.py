"""What all tests share: the instruction sets of this CPU, thread counts, and where real data lies, if anywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fastconv


def pytest_configure() -> None:
    """A shell lets programs in its background ignore Ctrl-C; tests of Ctrl-C mean the other case."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=fastconv.isa_available())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on every instruction set that this CPU has."""
    before = fastconv.isa_active()
    fastconv.set_isa(request.param)
    yield request.param
    fastconv.set_isa(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261120)


@pytest.fixture
def strict() -> Iterator[None]:
    """Slow paths raise for the time of the test."""
    fastconv.config.strict = True
    yield
    fastconv.config.strict = False


@pytest.fixture(autouse=True)
def _settings_come_back() -> Iterator[None]:
    """A test that changes the process-wide number of threads does not change it for the next."""
    before = fastconv.get_num_threads()
    yield
    if fastconv.get_num_threads() != before:
        fastconv.set_num_threads(before)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with mnist/, fashion-mnist/ and cifar10/; tests that need it skip without."""
    for name in ("FASTCONV_TEST_DATA", "FASTCONV_DATA"):
        if os.environ.get(name):
            folder = Path(os.environ[name])
            if not folder.is_dir():
                pytest.fail(f"{name}={folder} is not a folder")
            return folder
    pytest.skip("real data: set FASTCONV_TEST_DATA to the folder that holds mnist/")
