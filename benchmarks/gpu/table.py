"""From rows to a table for people: every case, then every class against its gate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from gpu.layers import CLASSES

Row: TypeAlias = Mapping[str, Any]
# The matrix product of PyTorch that a precision is held against.
PEAKS = {"ieee": "fp32", "tf32": "tf32", "tf32x3": "tf32", "float16": "bf16", "bfloat16": "bf16"}
RIVALS = ("cudnn nchw", "cudnn channels-last")


def best_rival(row: Row) -> tuple[str, float] | None:
    """The faster of cuDNN's layouts, and its time."""
    times = {name: row["lanes"][name]["median_s"] for name in RIVALS if name in row["lanes"]}
    name = min(times, key=times.__getitem__, default="")
    return (name, times[name]) if name else None


def ratio(row: Row) -> float | None:
    """time(cuDNN) / time(ours); above 1 we are faster."""
    rival, own = best_rival(row), row["lanes"].get("fastconv")
    return rival[1] / own["median_s"] if rival and own else None


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def case_lines(rows: Sequence[Row], ceilings: Mapping[str, float]) -> list[str]:
    """One line a case."""
    lines = [
        f"{'case':<26} {'op':<9} {'us':>9} {'±':>5} {'TFLOP/s':>8} {'peak':>5} {'GB/s':>6} {'copy':>5} "
        f"{'nchw us':>9} {'cl us':>9} {'ratio':>6}"
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
            + f" {_number(ratio(row)):>6}"
        )
    return lines


def class_lines(rows: Sequence[Row], ceilings: Mapping[str, float]) -> list[str]:
    """One line a class: the geometric mean and the worst of its cases against gate and goal."""
    lines = [f"{'class':<24} {'cases':>5} {'mean':>6} {'worst':>6} {'gate':>6} {'goal':>6} {'copy':>6}  reached"]
    for kind in CLASSES.values():
        own = [row for row in rows if row["case"]["kind"] == kind.name and "fastconv" in row["lanes"]]
        ratios = [r for r in map(ratio, own) if r is not None]
        shares = [row["bytes"] / row["lanes"]["fastconv"]["median_s"] / ceilings["copy_bytes_per_s"] for row in own]
        mean, share = geometric_mean(ratios) if ratios else None, geometric_mean(shares) if shares else None
        demands = [(mean, kind.gate), (share, kind.copy_gate)]
        asked = [(got, least) for got, least in demands if least is not None]
        done = all(got is not None and got >= least for got, least in asked)
        reached = "not run" if not own else "yes" if done else "no"
        lines.append(
            f"{kind.name:<24} {len(own):>5} {_number(mean):>6} {_number(min(ratios, default=None)):>6} "
            f"{_number(kind.gate):>6} {_number(kind.goal):>6} {_number(share):>6}  {reached}"
        )
    return lines


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The whole report as text."""
    ceilings = report["ceilings"]
    head = [f"{name}: {value}" for name, value in report["machine"].items()]
    limits = [
        f"copy {ceilings['copy_bytes_per_s'] / 1e9:.0f} GB/s, fp32 matrix product "
        f"{ceilings['fp32_flops_per_s'] / 1e12:.1f} TFLOP/s, measured in this run"
    ]
    return [
        *head, *limits, "", *case_lines(report["rows"], ceilings), "", *class_lines(report["rows"], ceilings)
    ]  # fmt: skip
