"""Where the number of threads comes from, and that nonsense ends in a sane number and a warning."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import pytest

import fastconv
import fresh_process
from fastconv import _threads

REPORT = "import fastconv; print(fastconv.get_num_threads(), fastconv.info().threads_source, sep='|')"


def count_and_source(**environment: str) -> tuple[int, str]:
    count, source = fresh_process.output(REPORT, "-W", "error", **environment).split("|")
    return int(count), source


def test_the_machine_decides_by_default() -> None:
    count, source = count_and_source()
    assert 1 <= count <= len(os.sched_getaffinity(0))
    assert (count, source) == _threads.machine_count()


def test_environment_variables_in_their_order() -> None:
    assert count_and_source(OMP_NUM_THREADS="3") == (3, "OMP_NUM_THREADS")
    assert count_and_source(OMP_NUM_THREADS="3", FASTCONV_NUM_THREADS="5") == (5, "FASTCONV_NUM_THREADS")
    assert count_and_source(OMP_NUM_THREADS="4,2") == (4, "OMP_NUM_THREADS")
    assert count_and_source(OMP_NUM_THREADS="", FASTCONV_NUM_THREADS=" 2 ") == (2, "FASTCONV_NUM_THREADS")


@pytest.mark.parametrize("name", ["FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("value", ["0", "-1", "abc", "1000000", "1.5", "9" * 400, "٣", "2 3"])
def test_nonsense_is_ignored_with_one_warning(name: str, value: str) -> None:
    done = fresh_process.run(REPORT, "-W", "always", **{name: value})
    assert done.returncode == 0, done.stderr
    count, source = done.stdout.strip().split("|")
    assert (int(count), source) == _threads.machine_count()
    assert done.stderr.count("RuntimeWarning") == 1
    assert name in done.stderr
    assert value[:60] in done.stderr
    with_work = fresh_process.run(
        "import numpy as np, fastconv; x = np.ones((8, 32, 30, 30), np.float32);"
        "print(fastconv.ops.conv2d(x, np.ones((32, 32, 3, 3), np.float32), algo='direct')[0, 0, 0, 0])",
        **{name: value},
    )
    assert with_work.stdout.strip() == "288.0"


def test_one_cpu_in_the_affinity_is_one_thread() -> None:
    code = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {REPORT}"
    assert fresh_process.output(code).split("|")[0] == "1"


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"cpu.max": "50000 100000"}, "0::/", 0.5),
        ({"cpu.max": "max 100000"}, "0::/", math.inf),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "150000 100000"}, "0::/a/b", 1.5),
        ({"a/cpu.max": "300000 100000"}, "0::/a/gone", 3.0),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/", 2.5),
        ({"cpu,cpuacct/x/cpu.cfs_quota_us": "-1"}, "4:cpu,cpuacct:/x", math.inf),
        ({"cpu.max": "garbage"}, "0::/", math.inf),
        ({"cpu.max": "100000 0"}, "0::/", math.inf),
        ({}, "nonsense", math.inf),
    ],
)
def test_container_quota(files: dict[str, str], membership: str, expected: float, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "self").write_text(membership)
    assert _threads.cgroup_quota(str(root), str(tmp_path / "self")) == expected


def test_a_quota_is_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "affinity", lambda: set(range(64)))
    monkeypatch.setattr(_threads, "_physical_cores", lambda cpus: 32)
    for quota, count in ((0.5, 1), (1.5, 2), (4.0, 4), (100.0, 32)):
        monkeypatch.setattr(_threads, "cgroup_quota", lambda quota=quota: quota)
        assert _threads.machine_count()[0] == count


def test_set_and_get() -> None:
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    assert fastconv.info().threads_source == "set_num_threads"


def test_with_threads_is_local_to_the_python_thread() -> None:
    before = fastconv.get_num_threads()
    seen = []
    with fastconv.threads(5):
        assert fastconv.get_num_threads() == 5
        with fastconv.threads(2):
            assert fastconv.get_num_threads() == 2
        assert fastconv.get_num_threads() == 5
        other = threading.Thread(target=lambda: seen.append(fastconv.get_num_threads()))
        other.start()
        other.join()
    assert seen == [before]
    assert fastconv.get_num_threads() == before
    with pytest.raises(RuntimeError, match="inside"), fastconv.threads(7):
        raise RuntimeError("inside")
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_counts_are_integers(value: object) -> None:
    with pytest.raises(TypeError, match="set_num_threads: n must be an integer"):
        fastconv.set_num_threads(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="threads: n must be an integer"), fastconv.threads(value):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("value", [0, -1, 1025, 2**63])
def test_counts_are_sane(value: int) -> None:
    with pytest.raises(ValueError, match=f"set_num_threads: n must be from 1 to 1024, got {value}"):
        fastconv.set_num_threads(value)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_runtime_that_binds_its_threads_does_not_hide_the_cpus() -> None:
    assert fresh_process.output(REPORT, OMP_PROC_BIND="true") == fresh_process.output(REPORT)
