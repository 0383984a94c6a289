"""Run Python code in a new process: for what is decided at import, and for what might hang or crash."""

from __future__ import annotations

import os
import subprocess
import sys

_OURS = ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "FASTCONV_ISA", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def run(code: str, *options: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with only the given ones of our environment variables set; the caller looks at the result."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output(code: str, *options: str, **environment: str) -> str:
    """Run `code`, which must succeed, and return what it printed."""
    done = run(code, *options, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
