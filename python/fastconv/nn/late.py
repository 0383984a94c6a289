"""Steps of `fit` on a GPU: captured ones, whose figures come when somebody looks at them, so that nothing waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.nn.batch import Arrays
from fastconv.nn.captured import CapturedStep
from fastconv.nn.program import Program

if TYPE_CHECKING:
    from fastconv.nn.compiled import CompiledNetwork

_STEPS = 1024  # whose losses are kept on the GPU until they are read, all in one copy


class LateLogs(Mapping[str, float]):
    """What `train_on_batch` returns; the first look at it waits for the GPU."""

    def __init__(self, steps: LateSteps) -> None:
        self._steps = steps
        self.figures: dict[str, float] | None = None

    @property
    def known(self) -> Mapping[str, float]:
        if self.figures is None:
            self._steps.read()
        assert self.figures is not None
        return self.figures

    def __getitem__(self, name: str) -> float:
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class _Metrics:
    """Metrics of one step: outputs on their way to pinned memory, targets copied, figures computed a step later."""

    def __init__(self, steps: LateSteps, program: Program, targets: Sequence[NDArray[Any]]) -> None:
        self._model = steps.model
        wanted = [place for place, metrics in enumerate(self._model.metrics_by_output) if metrics]
        self._targets = [target.copy() for target in targets] if wanted else targets
        copies = {place: steps.downloads(program, place) for place in wanted}
        self._outputs = {place: (copy, copy()) for place, copy in copies.items()}

    def measure(self) -> list[dict[str, float]]:
        def output(place: int) -> NDArray[Any]:
            copy, number = self._outputs[place]
            found: NDArray[Any] = copy.read(number)
            return found

        return self._model.measured(output, self._targets)


class LateSteps:
    """``steps(x, y)`` is `train_on_batch` with the same bits, but returns at once.

    Each loss is copied to its place in a list on the GPU, and the list is read when it is full or when somebody looks.
    Metrics are computed here, from outputs that are copied out behind each step: one step later, while the GPU works on
    the next. The host is at most two batches ahead.
    """

    def __init__(self, model: CompiledNetwork) -> None:
        self.model = model
        self._device: Any = model.engine.device
        self._step = CapturedStep(model)
        self._list: Any = None  # (_STEPS, losses)
        self._waiting: list[LateLogs] = []
        self._measured: list[list[dict[str, float]]] = []  # of the first of these
        self._metrics: list[_Metrics] = []  # of the others
        self._downloads: dict[tuple[Program, int], tuple[Any, Any]] = {}

    def __call__(self, x: Arrays, y: Arrays) -> Mapping[str, float]:
        model = self.model
        if model.engine.device is not self._device:  # a callback has moved the model: what it needs now is another's
            self.read()
            return model.train_on_batch(x, y)
        if len(self._waiting) == _STEPS:
            self.read()
        self._step.put("train_on_batch", x, y, self._note)
        while len(self._metrics) > 1:  # the GPU works on the step that has just been put on its stream
            self._measured.append(self._metrics.pop(0).measure())
        self._waiting.append(LateLogs(self))
        return self._waiting[-1]

    def _note(self, program: Program, losses: Sequence[Any], targets: Sequence[NDArray[Any]]) -> None:
        """On the stream of the step, behind it."""
        if self._list is None or self._list.shape[1] != len(losses):
            self.read()
            self._list = self._device.zeros((_STEPS, len(losses)), np.dtype(np.float32))
        for place, loss in enumerate(losses):
            self._device.note(self._list, len(self._waiting) * len(losses) + place, loss)
        self._metrics.append(_Metrics(self, program, targets))

    def downloads(self, program: Program, place: int) -> Any:
        """The pinned memory for an output, two copies in turn."""
        output, copies = self._downloads.get((program, place), (None, None))
        if output is not program.outputs[place]:  # new, or bound to another arena
            output, copies = program.outputs[place], self._device.downloads(program.outputs[place], 2)
            self._downloads[program, place] = output, copies
        return copies

    def read(self) -> None:
        """Wait for all steps so far, and fill in their figures."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = self._device.host(self._list)
        self._measured += [metrics.measure() for metrics in self._metrics]
        measured, self._measured, self._metrics = self._measured, [], []
        for logs, found, metrics in zip(waiting, losses, measured, strict=False):
            logs.figures = self.model.figures([float(loss) for loss in found], metrics)
