"""The runtime's threads spin for a short time, unless the user wants otherwise, and nobody else inherits that."""

from __future__ import annotations

import pytest

import fresh_process
from fastconv import _core

SPIN = "import os, fastconv; print(os.environ.get('GOMP_SPINCOUNT'))"


def spin_count(**environment: str) -> str:
    """What GNU's runtime says it took from its environment when it was loaded."""
    done = fresh_process.run(SPIN, OMP_DISPLAY_ENV="VERBOSE", **environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not lines:
        pytest.skip("the OpenMP runtime is not GNU's")
    return lines[0].split("'")[1]


@pytest.mark.skipif(_core.build_info()["openmp"] != "OpenMP", reason="built without OpenMP")
def test_the_runtime_spins_shortly() -> None:
    assert spin_count() == "5000"


@pytest.mark.skipif(_core.build_info()["openmp"] != "OpenMP", reason="built without OpenMP")
def test_the_users_choice_stays() -> None:
    assert spin_count(GOMP_SPINCOUNT="77") == "77"
    assert spin_count(OMP_WAIT_POLICY="passive") == "0"


def test_the_environment_is_left_as_it_was() -> None:
    assert fresh_process.output(SPIN) == "None"
    assert fresh_process.output(SPIN, GOMP_SPINCOUNT="77") == "77"
