"""Two reports against each other, in figures that a faster or busier machine does not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import summary
from summary import Report, Result


def _key(result: Result) -> tuple[Any, ...]:
    return (result.layer, result.batch, result.pass_name, result.isa, result.threads, result.dtype, result.variant)


def change(before: Result, after: Result) -> float:
    """How many times faster `after` is: by the share of the peak and, where both were measured against the same
    rivals, by the ratio to the best of them. Of the two, the one that shows less change: only what both see counts.
    """
    changes = [after.share / before.share]
    common = [who for who in before.ratios if who in after.ratios and summary.is_rival(who)]
    if common:
        changes.append(min(after.ratios[who] for who in common) / min(before.ratios[who] for who in common))
    if min(changes) < 1 < max(changes):
        return 1.0
    return min(changes, key=lambda value: max(value, 1 / value))


def compare(before: Report, after: Report, threshold: float, show: Callable[[str], None] = print) -> int:
    """Show the rows that changed; 1 where one is slower by more than the threshold."""
    old = {_key(result): result for result in summary.collect([before])}
    new = {_key(result): result for result in summary.collect([after])}
    common = [key for key in old if key in new]
    changes = sorted(((change(old[key], new[key]), key) for key in common), key=lambda pair: pair[0])
    slower = faster = 0
    for value, key in changes:
        is_slower, is_faster = value < 1 - threshold, value > 1 / (1 - threshold)
        slower += is_slower
        faster += is_faster
        if is_slower or is_faster:
            one, two = old[key], new[key]
            word = "slower" if is_slower else "faster"
            show(
                f"{word}  x{value:.2f}  {one.label:<50} {one.isa}, threads {one.threads}: "
                f"{one.share:.0%} -> {two.share:.0%} of peak, {one.seconds * 1e3:.3f} -> {two.seconds * 1e3:.3f} ms"
            )
    show(
        f"{len(common)} rows in both: {slower} slower, {faster} faster by more than {threshold:.0%}; "
        f"{len(old) - len(common)} only before, {len(new) - len(common)} only after"
    )
    return int(slower > 0)
