"""After the library has run on several threads, a forked child computes, serially, instead of hanging."""

from __future__ import annotations

import pytest

import fresh_process

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, fastconv
fastconv.set_num_threads(4)
rng = np.random.default_rng(0)
x, w = rng.standard_normal((8, 32, 28, 28), np.float32), rng.standard_normal((48, 32, 3, 3), np.float32)
before = fastconv.ops.conv2d(x, w)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        same = fastconv.ops.conv2d(x, w).tobytes() == before.tobytes()
        gw = fastconv.ops.conv2d_backward_weight(x, w.shape, before)
        os._exit(0 if same and np.isfinite(gw).all() else 3)
    children.append(child)
for child in children:
    _, status = os.waitpid(child, 0)
    if status: sys.exit(status >> 8 or 9)
assert fastconv.ops.conv2d(x, w).tobytes() == before.tobytes()
assert fastconv.get_num_threads() == 4
print("done")
"""

POOL = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
import numpy as np, fastconv
fastconv.set_num_threads(4)
x, w = np.ones((8, 32, 28, 28), np.float32), np.ones((48, 32, 3, 3), np.float32)
def work(i): return float(fastconv.ops.conv2d(x[:i], w).sum())
if __name__ == "__main__":
    first = work(8)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(work, [8, 4, 8, 2]) == [first, first / 2, first, first / 4]
    print("done")
"""

THREADS = """
import concurrent.futures, numpy as np, fastconv
fastconv.set_num_threads(2)
rng = np.random.default_rng(0)
x, w = rng.standard_normal((4, 32, 28, 28), np.float32), rng.standard_normal((48, 32, 3, 3), np.float32)
expected = fastconv.ops.conv2d(x, w).tobytes()
with concurrent.futures.ThreadPoolExecutor(6) as pool:
    results = list(pool.map(lambda _: fastconv.ops.conv2d(x, w).tobytes() == expected, range(60)))
assert all(results)
print("done")
"""


@pytest.mark.parametrize("code", [FORK, POOL, THREADS], ids=["fork", "pool", "python-threads"])
def test_other_processes_and_threads(code: str) -> None:
    done = fresh_process.run(code, timeout=60)
    assert done.stdout.strip() == "done", (done.returncode, done.stderr)
