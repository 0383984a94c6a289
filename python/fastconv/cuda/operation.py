"""One operation on GPU arrays: a form of arguments is judged once, afterwards its plan is looked up and run.

The form of a call: type, dtype, shape, strides and device of each array, and the options exactly as they were written.
A judge looks at a form as `arrays.View`s, refuses what cannot be, and says what runs and what is returned. That takes
tens of microseconds, so the native module remembers the answer and, for arrays of PyTorch and CuPy, does the whole
call itself from then on (csrc/cuda/bindings/bind_quick_calls.cpp). What differs from call to call is looked at each
time: addresses, alignment, overlap, the current stream, and whether a gradient would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastconv.cuda import arrays, native
from fastconv.cuda.launch import Launch


class Output(NamedTuple):
    """An array that a call returns; `order`: its axes in memory, from the slowest to the fastest, if not as in C."""

    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...] | None = None


class Plan(NamedTuple):
    """What a call runs, on the addresses of its inputs, then its results, then memory for the time of the call."""

    native: Any
    results: tuple[Output, ...]
    scratch: tuple[Output, ...] = ()


class Operation:
    """Call it with the arrays, `out` and the options; `judge(op, *views, out, *options)` gives a Plan or raises."""

    def __init__(self, op: str, names: Sequence[str], judge: Callable[..., Plan]) -> None:
        self.op, self._names, self._judge = op, tuple(names), judge

    def __call__(self, inputs: tuple[Any, ...], out: Any, options: tuple[Any, ...]) -> Any:
        calls = native.calls.get(self)
        done = None if calls is None else calls.run(inputs, out, options)
        return self._judged(inputs, out, options) if done is None else done

    def _judged(self, inputs: tuple[Any, ...], out: Any, options: tuple[Any, ...]) -> Any:
        op = self.op
        module = native.module(op)
        views = [
            None if value is None else arrays.look(op, name, value)
            for name, value in zip(self._names, inputs, strict=True)
        ]
        first = views[0]
        assert first is not None
        given = None if out is None else arrays.look(op, "out", out)
        with Launch(op, first, *views[1:], given) as stream:  # judges ask which GPU it is
            plan = self._judge(op, *views, given, *options)
            makers = [arrays.maker(op, first, *array) for array in (*plan.results, *plan.scratch)[out is not None :]]
            made = [make() for make in makers]
            written = [arrays.look(op, "out", array) for array in made]
            if given is not None:
                makers, made, written = [_nothing, *makers], [out, *made], [given, *written]
            plan.native.run([array.address if array else 0 for array in (*views, *written)], stream)
        if first.library in ("torch", "cupy"):
            for value in (*inputs, *made):
                arrays.read_directly(module, value)
            calls = native.calls.setdefault(self, module.Calls())
            calls.remember(inputs, out, options, plan.native, makers, len(plan.results))
        return made[0] if len(plan.results) == 1 else tuple(made[: len(plan.results)])


def _nothing() -> None:
    """Makes the result that the caller has made."""
