"""Where a GPU must be there, its absence is a failure; this runs anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv import cuda


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "error")])
def test_without_a_gpu(required: str, outcome: str) -> None:
    if cuda.device_count():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "usable_after_errors and torch",
         str(Path(__file__).parent / "test_device.py")],
        env={**os.environ, "FASTCONV_REQUIRE_GPU": required},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert f"1 {outcome}" in done.stdout, done.stdout[-2000:]
    assert "CUDA is off" in done.stdout
