"""What many rows say together: ratios and shares by family, the worst rows, gains by threads and instruction sets."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from arrays import PASSES
from shapes import FAMILIES
from table import NOISY, SHORT_PASS, short_name

Report: TypeAlias = dict[str, Any]
WORST = 12
SCALING_MIN_S = 1e-3  # shorter layers are not worth a second thread's start


@dataclass(frozen=True)
class Result:
    """One layer in one pass on one setting; medians where several files measured it."""

    layer: str
    batch: int
    family: str
    pass_name: str
    isa: str
    threads: int
    dtype: str
    variant: str  # layout, weights prepared or not, algorithm asked for
    seconds: float
    spread: float  # median absolute deviation by median
    flops: int
    bytes: int
    peak_flops_per_s: float
    copy_bytes_per_s: float
    algorithm: str
    others_busy: float  # the part of all processors' time that strangers took meanwhile
    ratios: dict[str, float]  # the other's time by ours, measured in the same run

    @property
    def share(self) -> float:
        return self.flops / self.seconds / self.peak_flops_per_s

    @property
    def label(self) -> str:
        return f"{self.layer} x{self.batch}, {SHORT_PASS[self.pass_name]}"

    def best(self, prefix: str = "") -> float | None:
        """The ratio to the fastest rival whose name begins so; NumPy counts only when asked for."""
        found = [
            ratio
            for who, ratio in self.ratios.items()
            if who.startswith(prefix) and is_rival(who) and (prefix or not who.startswith("numpy"))
        ]
        return min(found, default=None)

    def best_name(self) -> str:
        return min((who for who in self.ratios if is_rival(who)), key=lambda who: self.ratios[who], default="")


def is_rival(who: str) -> bool:
    return not who.startswith("fastconv") and not who.endswith(" again")


def collect(reports: Iterable[Report]) -> list[Result]:
    """Rows of all files; the same row in several becomes one, by medians of times and of ratios."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    names = ("layer", "batch", "family", "pass", "isa", "threads", "dtype", "layout", "packed", "algo")
    for report in reports:
        for row in report["rows"]:
            groups[tuple(row[name] for name in names)].append(row)
    return [_merged(rows) for rows in groups.values()]


def _merged(rows: Sequence[dict[str, Any]]) -> Result:
    ratios: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        own = row["times"]["fastconv"]["median_s"]
        for who, time in row["times"].items():
            if who != "fastconv":
                ratios[who].append(time["median_s"] / own)

    def median(value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(value, rows))

    first = rows[0]
    return Result(
        first["layer"],
        first["batch"],
        first["family"],
        first["pass"],
        first["isa"],
        first["threads"],
        first["dtype"],
        f"{first['layout']}, {'packed' if first['packed'] else 'plain'} weights, {first['algo']}",
        median(lambda row: row["times"]["fastconv"]["median_s"]),
        median(lambda row: row["times"]["fastconv"]["mad_s"] / row["times"]["fastconv"]["median_s"]),
        first["flops"],
        first["bytes"],
        median(lambda row: row["peak_flops_per_s"]),
        median(lambda row: row["copy_bytes_per_s"]),
        first["algorithm"],
        statistics.median(row["others_busy"] for row in rows),
        {who: statistics.median(values) for who, values in ratios.items()},
    )


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def spread_text(values: Sequence[float], form: str) -> str:
    """Smallest, geometric mean, largest."""
    parts = (min(values), geometric_mean(values), max(values)) if values else ()
    return "".join(f"{format(part, form):>8}" for part in parts) or " " * 24


def text(results: Sequence[Result]) -> str:
    """The whole summary."""
    lines: list[str] = []
    settings = sorted({(r.isa, r.threads, r.dtype, r.variant) for r in results})
    for isa, threads, dtype, variant in settings:
        chosen = [r for r in results if (r.isa, r.threads, r.dtype, r.variant) == (isa, threads, dtype, variant)]
        lines += ["", f"=== {isa}, {threads} thread{'s' * (threads > 1)}, {dtype}, {variant}: {len(chosen)} rows"]
        noisy = sum(r.others_busy > NOISY for r in chosen)
        if noisy:
            lines.append(f"other processes worked during {noisy} of them: measure these again on a quiet machine")
        prefixes = [prefix for prefix in ("torch", "") if any(r.best(prefix) for r in chosen)]
        if len(prefixes) == 2 and all(r.best("torch") == r.best() for r in chosen):
            prefixes.pop()
        for prefix in prefixes or ["numpy"]:
            lines += _means(chosen, prefix) + _worst(chosen, prefix)
        lines += _families(chosen, (prefixes or ["numpy"])[0])
    return "\n".join(lines + _scaling(results) + _instruction_sets(results))


def _title(prefix: str) -> str:
    return {"torch": "best PyTorch time / ours", "numpy": "best NumPy time / ours"}.get(
        prefix, "best rival's time / ours"
    )


def _means(results: Sequence[Result], prefix: str) -> list[str]:
    lines = [f"{_title(prefix)}:"]
    for name, passes in (("forward", PASSES[:1]), ("backward", PASSES[1:])):
        ratios = [ratio for r in results if r.pass_name in passes and (ratio := r.best(prefix))]
        if ratios:
            ahead = sum(ratio >= 1 for ratio in ratios)
            lines.append(
                f"  {name:<9} geometric mean {geometric_mean(ratios):.2f} over {len(ratios)} rows, "
                f"at least 1 in {ahead}, smallest {min(ratios):.2f}"
            )
    return lines if len(lines) > 1 else []


def _worst(results: Sequence[Result], prefix: str) -> list[str]:
    rated = sorted(((ratio, r) for r in results if (ratio := r.best(prefix))), key=lambda pair: pair[0])[:WORST]
    lines = ["  worst rows:"] if rated else []
    for ratio, r in rated:
        who = min((w for w in r.ratios if is_rival(w) and w.startswith(prefix)), key=lambda w: r.ratios[w])
        lines.append(
            f"    {ratio:>5.2f}  {r.label:<50} {r.seconds * 1e3:>9.3f} ms ±{r.spread:.0%}, "
            f"{r.share:.0%} of peak, {r.algorithm}; {short_name(who)}"
        )
    return lines


def _families(results: Sequence[Result], prefix: str) -> list[str]:
    heading = f"{'family':<20}{'pass':<13}{'rows':>5} |{_title(prefix):^24}|{'share of peak':^24}|{'GB/s by copy':^24}"
    names = "".join(f"{name:>8}" for name in ("min", "geo", "max"))
    lines = [heading, f"{'':<38} |{names}|{names}|{names}"]
    for family in FAMILIES:
        for pass_name in PASSES:
            rows = [r for r in results if r.family == family and r.pass_name == pass_name]
            if rows:
                ratios = [ratio for r in rows if (ratio := r.best(prefix))]
                copies = [r.bytes / r.seconds / r.copy_bytes_per_s for r in rows]
                lines.append(
                    f"{family:<20}{SHORT_PASS[pass_name]:<13}{len(rows):>5} |{spread_text(ratios, '.2f')}|"
                    f"{spread_text([r.share for r in rows], '.0%')}|{spread_text(copies, '.0%')}"
                )
    return lines


def _pairs(results: Sequence[Result], one: dict[str, Any], other: dict[str, Any]) -> list[tuple[Result, Result]]:
    """Rows that differ only by the setting."""

    def matches(result: Result, wanted: dict[str, Any]) -> bool:
        return all(getattr(result, name) == value for name, value in wanted.items())

    def key(result: Result) -> tuple[Any, ...]:
        names = ("layer", "batch", "pass_name", "isa", "threads", "dtype", "variant")
        return tuple(getattr(result, name) for name in names if name not in one)

    others = {key(r): r for r in results if matches(r, other)}
    return [(r, others[key(r)]) for r in results if matches(r, one) and key(r) in others]


def _scaling(results: Sequence[Result]) -> list[str]:
    lines = []
    for isa in sorted({r.isa for r in results}):
        for threads in sorted({r.threads for r in results} - {1}):
            pairs = _pairs(results, {"isa": isa, "threads": 1}, {"isa": isa, "threads": threads})
            gains = sorted(
                ((one.seconds / many.seconds, one) for one, many in pairs if one.seconds >= SCALING_MIN_S),
                key=lambda pair: pair[0],
            )
            lines += _gains(f"{isa}: {threads} threads over 1, layers above {SCALING_MIN_S * 1e3:.0f} ms", gains)
    return lines


def _instruction_sets(results: Sequence[Result]) -> list[str]:
    lines = []
    for threads in sorted({r.threads for r in results}):
        pairs = _pairs(results, {"isa": "avx512", "threads": threads}, {"isa": "avx2", "threads": threads})
        gains = sorted(((avx2.seconds / avx512.seconds, avx2) for avx512, avx2 in pairs), key=lambda pair: pair[0])
        lines += _gains(f"AVX2 time over AVX-512 time, {threads} thread{'s' * (threads > 1)}", gains)
    return lines


def _gains(title: str, gains: Sequence[tuple[float, Result]]) -> list[str]:
    if not gains:
        return []
    values = [gain for gain, _ in gains]
    lines = ["", f"{title}: geometric mean {geometric_mean(values):.2f} over {len(values)} rows; smallest and largest:"]
    ends = gains if len(gains) <= 8 else [*gains[:4], *gains[-4:]]
    return lines + [f"    {gain:>5.2f}  {result.label}" for gain, result in ends]
