"""What makes a call slower than it need be, for `fastconv.explain` and `fastconv.config.strict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from fastconv import _core
from fastconv._checks.arguments import Array, Layout, is_contiguous
from fastconv._config import Algorithm

PassName = Literal["forward", "backward_input", "backward_weight"]

SLOW_NOTE = "slow: "  # how the native module marks a generic kernel among its notes


def forced_copies(arrays: Mapping[str, Array]) -> list[str]:
    """Name the arrays that cost a copy, and why."""
    copies = []
    for name, array in arrays.items():
        if not is_contiguous(array):
            reason = "not aligned" if array.flags.c_contiguous else f"not C-contiguous (strides {array.strides})"
            copies.append(f"{name} is {reason}: {array.nbytes} bytes are copied")
    return copies


def slow_notes(notes: Iterable[str]) -> list[str]:
    """The notes of the native module that speak of a generic kernel."""
    return [note.removeprefix(SLOW_NOTE) for note in notes if note.startswith(SLOW_NOTE)]


def refuse(op: str, reasons: list[str]) -> None:
    """Raise RuntimeError if there is a reason: this call must not be slow."""
    if reasons:
        raise RuntimeError(f"{op}: fastconv.config.strict refuses a slow path: {'; '.join(reasons)}")


def refuse_slow_conv2d(
    op: str,
    shape: _core.Conv2dShape,
    pass_name: PassName,
    arrays: Mapping[str, Array],
    layout: Layout,
    algo: Algorithm,
) -> None:
    """What `config.strict` asks of every convolution before it runs."""
    dtype = next(iter(arrays.values())).dtype
    plan = _core.conv2d_explain(
        shape, pass_name, "float64" if dtype.itemsize == 8 else "float32", layout=layout, algo=algo
    )
    refuse(op, forced_copies(arrays) + slow_notes(plan["notes"]))
