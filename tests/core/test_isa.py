"""The instruction set: chosen once, forced by name, and really the one that runs."""

from __future__ import annotations

import pytest

import fastconv
import fresh_process

ALL = ("baseline", "avx2", "avx512")
AVAILABLE = fastconv.isa_available()

EXPLAIN = (
    "import fastconv; e = fastconv.explain('conv2d', (1, 64, 14, 14), (64, 64, 3, 3));"
    "print(fastconv.isa_active(), fastconv.info().isa_active, e.isa, e.kernel, sep='|')"
)

# FLOPs of one multiply-add chain step: the widest register tells which kernels run.
WIDTH = "from fastconv import _core; print(_core.fma_peak('float32', 100))"


def test_baseline_is_always_there_and_the_best_is_active() -> None:
    assert AVAILABLE[0] == "baseline"
    assert [name for name in ALL if name in AVAILABLE] == AVAILABLE
    assert fresh_process.output("import fastconv; print(fastconv.isa_active())") == AVAILABLE[-1]


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_fresh_process_runs_what_was_forced(name: str) -> None:
    active, told, explained, _ = fresh_process.output(EXPLAIN, FASTCONV_ISA=name).split("|")
    assert active == told == explained == name


def test_each_instruction_set_has_kernels_of_its_own() -> None:
    """The peak loop does one register's worth of work a step, so its FLOPs show which code ran."""
    flops = [float(fresh_process.output(WIDTH, FASTCONV_ISA=name, FASTCONV_NUM_THREADS="1")) for name in AVAILABLE]
    assert flops == sorted(set(flops))


@pytest.mark.parametrize("value", ["sse9", "AVX2", "native", " avx2", "0"])
def test_an_unknown_name_in_the_environment_is_an_error(value: str) -> None:
    done = fresh_process.run("import fastconv", FASTCONV_ISA=value)
    assert done.returncode == 1
    assert f"FASTCONV_ISA: instruction set must be one of {', '.join(AVAILABLE)}, got '{value}'" in done.stderr


def test_an_unknown_name_is_an_error_that_lists_the_available() -> None:
    before = fastconv.isa_active()
    with pytest.raises(ValueError, match=f"set_isa: .*{', '.join(AVAILABLE)}.*'neon'"):
        fastconv.set_isa("neon")
    assert fastconv.isa_active() == before


@pytest.mark.parametrize("name", [name for name in ALL if name not in AVAILABLE])
def test_an_absent_instruction_set_is_an_error(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"set_isa: .*'{name}'.*not available.*{', '.join(AVAILABLE)}"):
        fastconv.set_isa(name)


def test_switching_takes_effect_at_once(isa: str) -> None:
    assert fastconv.isa_active() == isa
    assert fastconv.explain("conv2d", (1, 64, 14, 14), (64, 64, 3, 3)).isa == isa
