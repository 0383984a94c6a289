"""The emulator as a fixture, in every mode in which hardware may differ."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cuda_emulator
import fake_cupy
from fastconv.cuda import native

MODES = [(True, True), (False, True), (True, False), (False, False)]  # first the one that finds most bugs


@pytest.fixture(scope="session")
def emulated_module() -> ModuleType:
    """The compiled module; FASTCONV_TEST_EMULATOR may name one that is built already."""
    ready = os.environ.get("FASTCONV_TEST_EMULATOR")
    if ready:
        return cuda_emulator.load(Path(ready))
    try:
        return cuda_emulator.load(cuda_emulator.build())
    except cuda_emulator.CannotBuild as reason:
        pytest.skip(f"the CUDA emulator {reason}")


@pytest.fixture
def emulated(emulated_module: ModuleType) -> Iterator[ModuleType]:
    """`fastconv.cuda` runs in the emulator for the time of the test: copies land early, threads run forwards."""
    emulated_module.set_emulation(late_landing=False, backwards=False)
    emulated_module.emulated_orders()  # those of somebody before are not this test's
    native.use(emulated_module)
    yield emulated_module
    native.use(None)


@pytest.fixture(params=MODES, ids=["late-backwards", "early-backwards", "late", "early"])
def any_mode(emulated: ModuleType, request: pytest.FixtureRequest) -> ModuleType:
    """As `emulated`, once in every mode; on a GPU that wants large tiles, and on one that wants many."""
    late, backwards = request.param
    emulated.set_emulation(late_landing=late, backwards=backwards, multiprocessors=1 if late else 132)
    return emulated


@pytest.fixture
def gpu(emulated: ModuleType) -> Iterator[fake_cupy.Counts]:
    """The same, in one order."""
    with fake_cupy.installed(emulated) as counts:
        yield counts


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def cupy(emulated: ModuleType, request: pytest.FixtureRequest) -> Iterator[fake_cupy.Counts]:
    """A GPU with CuPy, as far as fastconv can tell: the emulator's kernels on a stand-in's memory.

    In both orders of threads; for kernels without asynchronous copies, whose landing makes no difference.
    """
    emulated.set_emulation(late_landing=False, backwards=request.param)
    with fake_cupy.installed(emulated) as counts:
        yield counts
