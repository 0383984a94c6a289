"""Rows as lines of text."""

from __future__ import annotations

from typing import Any

SHORT_PASS = {"forward": "forward", "backward_input": "input grad", "backward_weight": "weight grad"}
_SHORT = (
    ("torch ", ""),
    ("channels_last", "cl"),
    (", memory kept", "+"),
    ("onnxruntime", "ort"),
    ("fastconv ", "own "),
)
NOISY = 0.1  # of all processors' time taken by strangers: the row is marked
EVERY = 30  # lines between two headings


def short_name(who: str) -> str:
    for long, short in _SHORT:
        who = who.replace(long, short)
    return who


def columns_of(row: dict[str, Any]) -> list[str]:
    return [who for who in row["times"] if who != "fastconv"]


class Table:
    """Prints rows as they come; ratios are the other's time by ours: above 1 we are faster."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.lines = 0

    def add(self, row: dict[str, Any]) -> None:
        new = [who for who in columns_of(row) if who not in self.columns]
        if new or self.lines % EVERY == 0:
            self.columns += new
            print(self._heading())
        self.lines += 1
        print(self._line(row), flush=True)

    def _heading(self) -> str:
        names = "".join(f"{short_name(who):>{self._width(who)}}" for who in self.columns)
        return (
            f"\n{'layer':<28}{'batch':>6} {'pass':<12}{'isa':<9}{'thr':>3}{'ms':>10} {'±':>5}{'GFLOP/s':>9}{'peak':>6}"
            f"{'GB/s':>7}{'copy':>6} |{names}"
        )

    def _width(self, who: str) -> int:
        return max(7, len(short_name(who)) + 2)

    def _line(self, row: dict[str, Any]) -> str:
        own = row["times"]["fastconv"]
        seconds = own["median_s"]
        ratios = "".join(
            f"{row['times'][who]['median_s'] / seconds:>{self._width(who)}.2f}"
            if who in row["times"]
            else f"{'-':>{self._width(who)}}"
            for who in self.columns
        )
        mark = "!" if row["others_busy"] > NOISY else " "
        return (
            f"{row['layer']:<28}{row['batch']:>6} {SHORT_PASS[row['pass']]:<12}{row['isa']:<9}{row['threads']:>3}"
            f"{seconds * 1e3:>10.3f}{mark}{own['mad_s'] / seconds:>5.0%}{row['flops'] / seconds / 1e9:>9.1f}"
            f"{row['peak_share']:>6.0%}{row['bytes'] / seconds / 1e9:>7.1f}{row['copy_share']:>6.0%} |{ratios}"
        )
