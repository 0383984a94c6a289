"""Learning rate schedules: their formulas at the points that matter."""

from __future__ import annotations

import math

import pytest

from fastconv import schedules


def test_constant() -> None:
    assert [schedules.Constant(0.1)(step) for step in (0, 5, 10**6)] == [0.1] * 3


def test_step() -> None:
    rates = [schedules.Step(1.0, every=2, factor=0.5)(step) for step in range(5)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_exponential() -> None:
    assert schedules.Exponential(2.0, 0.9)(3) == pytest.approx(2.0 * 0.9**3)


def test_cosine_falls_from_the_rate_to_the_end() -> None:
    schedule = schedules.Cosine(0.4, total=10, final=0.1)
    assert schedule(0) == pytest.approx(0.4)
    assert schedule(5) == pytest.approx(0.25)
    assert schedule(10) == pytest.approx(0.1)
    assert schedule(99) == pytest.approx(0.1)


def test_cosine_warms_up_in_a_straight_line() -> None:
    schedule = schedules.Cosine(1.0, total=20, warmup=4)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_one_cycle() -> None:
    schedule = schedules.OneCycle(1.0, total=100, rise=0.25)
    assert schedule(0) == pytest.approx(1 / 25)
    assert schedule(25) == pytest.approx(1.0)
    assert schedule(100) == pytest.approx(1 / 25 / 1e4)
    rates = [schedule(step) for step in range(101)]
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


@pytest.mark.parametrize("name", ["constant", "step", "exponential", "cosine", "one_cycle"])
@pytest.mark.parametrize("total", [1, 2, 100])
def test_get_gives_finite_rates_up_to_the_largest(name: str, total: int) -> None:
    schedule = schedules.get(name, 0.1, total)
    rates = [schedule(step) for step in range(total + 1)]
    assert all(math.isfinite(rate) and 0 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert max(rates[:total]) > 0


def test_get_names_what_it_knows() -> None:
    with pytest.raises(ValueError, match="constant, step, exponential, cosine, one_cycle, got 'linear'"):
        schedules.get("linear", 0.1, 10)
    with pytest.raises(ValueError, match="total must be at least 1, got 0"):
        schedules.get("cosine", 0.1, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.Constant(0.0),
        lambda: schedules.Constant(float("nan")),
        lambda: schedules.Step(0.1, 0),
        lambda: schedules.Exponential(0.1, -1.0),
        lambda: schedules.Cosine(0.1, 10, warmup=10),
        lambda: schedules.OneCycle(0.1, 10, rise=1.0),
    ],
)
def test_bad_parameters(make) -> None:
    with pytest.raises(ValueError, match="must"):
        make()
