"""From rows to tables for people: every case, every class against its gate, single calls, training steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from gpu.layers import CLASSES

Row: TypeAlias = Mapping[str, Any]
# The matrix product of PyTorch that a precision is held against.
PEAKS = {"ieee": "fp32", "tf32": "tf32", "tf32x3": "tf32", "float16": "bf16", "bfloat16": "bf16"}
RIVALS = ("cudnn nchw", "cudnn channels-last")
DETERMINISTIC = ("cudnn deterministic",)


def best_rival(row: Row, rivals: Iterable[str] = RIVALS) -> tuple[str, float] | None:
    """The fastest of some lanes, and its time."""
    times = {name: row["lanes"][name]["median_s"] for name in rivals if name in row["lanes"]}
    name = min(times, key=times.__getitem__, default="")
    return (name, times[name]) if name else None


def ratio(row: Row, rivals: Iterable[str] = RIVALS, ours: str = "fastconv") -> float | None:
    """time of the best rival / time(ours); above 1 we are faster."""
    rival, own = best_rival(row, rivals), row["lanes"].get(ours)
    return rival[1] / own["median_s"] if rival and own else None


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def case_lines(rows: Sequence[Row], ceilings: Mapping[str, float]) -> list[str]:
    """One line a case."""
    lines = [
        f"{'case':<26} {'op':<9} {'us':>9} {'±':>5} {'TFLOP/s':>8} {'peak':>5} {'GB/s':>6} {'copy':>5} "
        f"{'nchw us':>9} {'cl us':>9} {'ratio':>6} {'det':>6}"
    ]
    for row in rows:
        own, case = row["lanes"].get("fastconv"), row["case"]
        cells = f"{case['name']:<26} {case['op']:<9} "
        peak = ceilings[f"{PEAKS[case['precision']]}_flops_per_s"]
        if own is None:
            lines.append(f"{cells}{row.get('refused', 'not run')}")
            continue
        seconds = own["median_s"]
        flops, moved = row["flops"] / seconds, row["bytes"] / seconds
        times = [row["lanes"].get(name, {}).get("median_s") for name in RIVALS]
        lines.append(
            f"{cells}{seconds * 1e6:>9.1f} {100 * own['mad_s'] / seconds:>4.1f}% {flops / 1e12:>8.2f} "
            f"{100 * flops / peak:>4.0f}% {moved / 1e9:>6.0f} "
            f"{100 * moved / ceilings['copy_bytes_per_s']:>4.0f}% "
            + " ".join(f"{_number(t and t * 1e6, 1):>9}" for t in times)
            + f" {_number(ratio(row)):>6} {_number(ratio(row, DETERMINISTIC)):>6}"
        )
    return lines


def class_lines(rows: Sequence[Row], ceilings: Mapping[str, float]) -> list[str]:
    """One line a class: the geometric mean and the worst of its cases against gate and goal."""
    lines = [
        f"{'class':<24} {'cases':>5} {'mean':>6} {'worst':>6} {'det':>6} {'gate':>6} {'goal':>6} {'copy':>6}  reached"
    ]
    for kind in CLASSES.values():
        own = [row for row in rows if row["case"]["kind"] == kind.name and "fastconv" in row["lanes"]]
        ratios = [r for r in map(ratio, own) if r is not None]
        shares = [row["bytes"] / row["lanes"]["fastconv"]["median_s"] / ceilings["copy_bytes_per_s"] for row in own]
        held = [r for r in (ratio(row, DETERMINISTIC) for row in own) if r is not None]
        mean, share, det = (geometric_mean(each) if each else None for each in (ratios, shares, held))
        demands = [(mean, kind.gate), (share, kind.copy_gate)]
        asked = [(got, least) for got, least in demands if least is not None]
        done = all(got is not None and got >= least for got, least in asked)
        reached = "not run" if not own else "-" if not asked else "yes" if done else "no"
        lines.append(
            f"{kind.name:<24} {len(own):>5} {_number(mean):>6} {_number(min(ratios, default=None)):>6} "
            f"{_number(det):>6} {_number(kind.gate):>6} {_number(kind.goal):>6} {_number(share):>6}  {reached}"
        )
    return lines


class Aim(NamedTuple):
    """A ratio that a release must and should reach, over all rows of a list."""

    name: str
    rows: str  # "calls" or "training" of a report
    kind: str  # of the rows' cases; "": all
    ours: str
    rivals: tuple[str, ...]
    gate: float | None
    goal: float | None


_EAGER = ("pytorch eager nchw", "pytorch eager channels-last")
_GRAPHS = ("pytorch graph nchw", "pytorch graph channels-last")
_CALLS = ("pytorch nchw", "pytorch channels-last")
AIMS = (
    Aim("layer of batch 1 and 8, eager call", "calls", "eager layer", "fastconv", _CALLS, 1.5, 2.5),
    Aim("network of batch 1 and 8, eager call", "calls", "eager network", "fastconv", _CALLS, None, None),
    Aim("training step in a graph, PyTorch eager", "training", "", "fastconv graph", _EAGER, 1.5, 3.0),
    Aim("training step in a graph, PyTorch's too", "training", "", "fastconv graph", _GRAPHS, 0.6, 0.9),
)


def aim_ratios(report: Mapping[str, Any], aim: Aim) -> list[float]:
    """The ratios of all rows that an aim is about."""
    rows = [row for row in report.get(aim.rows, []) if aim.kind in ("", row["case"].get("kind"))]
    return [found for row in rows if (found := ratio(row, aim.rivals, aim.ours)) is not None]


def aim_lines(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{'from the host':<42} {'cases':>5} {'mean':>6} {'worst':>6} {'gate':>6} {'goal':>6}  reached"]
    for aim in AIMS:
        ratios = aim_ratios(report, aim)
        mean = geometric_mean(ratios) if ratios else None
        reached = "not run" if mean is None else "-" if aim.gate is None else "yes" if mean >= aim.gate else "no"
        lines.append(
            f"{aim.name:<42} {len(ratios):>5} {_number(mean):>6} {_number(min(ratios, default=None)):>6} "
            f"{_number(aim.gate):>6} {_number(aim.goal):>6}  {reached}"
        )
    return lines


def lane_lines(title: str, rows: Sequence[Row], lanes: Sequence[str]) -> list[str]:
    """Times of every lane in a column of its own."""
    names = {name: name.replace("fastconv", "ours").replace("channels-last", "cl") for name in lanes}
    lines = [f"{title:<26} " + " ".join(f"{names[name]:>21}" for name in lanes)]
    for row in rows:
        if "refused" in row:
            lines.append(f"{row['case']['name']:<26} {row['refused']}")
            continue
        times = [row["lanes"].get(name) for name in lanes]
        cells = [f"{t['median_s'] * 1e6:.1f} ±{t['mad_s'] / t['median_s']:>3.0%}" if t else "-" for t in times]
        lines.append(f"{row['case']['name']:<26} " + " ".join(f"{cell:>21}" for cell in cells))
    return lines


def _clock_lines(clocks: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [f"{when}: {', '.join(f'{k} {v}' for k, v in values.items())}" for when, values in clocks.items() if values]


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The whole report as text."""
    ceilings = report["ceilings"]
    limits = [
        f"copy {ceilings['copy_bytes_per_s'] / 1e9:.0f} GB/s, fp32 matrix product "
        f"{ceilings['fp32_flops_per_s'] / 1e12:.1f} TFLOP/s, measured in this run"
    ]
    dry = "DRY RUN without a GPU: times, ratios and what they reach mean nothing"
    lines = [dry] * bool(report.get("dry_run")) + [f"{name}: {value}" for name, value in report["machine"].items()]
    lines += [*_clock_lines(report.get("clocks", {})), *limits, ""]
    lines += [*case_lines(report["rows"], ceilings), "", *class_lines(report["rows"], ceilings), ""]
    calls, training = report.get("calls", []), report.get("training", [])
    if calls:
        lines += [*lane_lines("eager call, us", calls, ("fastconv", *_CALLS)), ""]
    if training:
        own = ("fastconv graph", "fastconv train_on_batch")
        lines += [*lane_lines("training step, us", training, (*own, *_EAGER, *_GRAPHS)), ""]
    lines += aim_lines(report)
    return [*lines, *(f"not run: {reason}" for reason in report.get("missing", []))]
