"""A training step as a CUDA graph: all kernels of the step in one launch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from fastconv.nn.batch import Arrays
from fastconv.nn.engine import PROGRAMS
from fastconv.nn.program import Program
from fastconv.optim import Optimizer

if TYPE_CHECKING:
    from fastconv.nn.compiled import CompiledNetwork


Note: TypeAlias = Callable[[Program, Sequence[Any], Sequence[NDArray[Any]]], None]


@dataclass
class _Recorded:
    """A graph, or None as long as its program has run once only, and what its kernels have addresses of."""

    key: Hashable
    graph: Any
    losses: list[Any]
    held: tuple[Any, ...]


class CapturedStep:
    """Training steps of a model on a GPU, each one launch; `Model.capture` makes it.

    The first step with a batch of some size runs kernel by kernel, so that the driver loads them; the second one is
    recorded while it is put on the stream; every other one is replayed. They compute the same, bit for bit. What
    changes between steps lies on the device: the batch, the learning rate, the number of the step, and what dropout
    draws from, all written before a launch. A graph is recorded anew when something else has changed: the memory of the
    model, the optimiser or its options, which layers are frozen.

    Nothing is allocated in a step. The host waits for nothing but the copy of the batch before the last one, and for
    nothing at all if batches lie on the GPU.
    """

    def __init__(self, model: CompiledNetwork) -> None:
        self._model = model
        device: Any = model.engine.device
        with device.active():
            self._stream = device.cupy.cuda.Stream(non_blocking=True)
        self._device = device
        self._graphs: dict[Program, _Recorded] = {}
        self._last: list[Any] = []

    def __call__(self, x: Arrays, y: Arrays) -> None:
        """Put one step of training on the stream; arguments as for `Model.train_on_batch`."""
        self.put("capture", x, y)

    def put(self, what: str, x: Arrays, y: Arrays, note: Note | None = None) -> None:
        """Do so for the method `what`; `note` gets program, losses and targets and puts behind them what it likes."""
        model, device = self._model, self._device
        if model.engine.device is not device:
            raise RuntimeError(f"CapturedStep: the model has moved to {model.device}; call model.capture() again")
        optimizer, batch = model.training_batch(what, x, y)
        with model.engine.turn, self._stream, device.active():
            program = model.load_training(batch)
            model.begin_step(program, optimizer)
            self._last = self._run(program, optimizer)
            if note is not None:
                note(program, self._last, batch.targets)

    def _run(self, program: Program, optimizer: Optimizer) -> list[Any]:
        parameters = self._model.parameters()
        key = (
            optimizer.fixed_options(),
            tuple(parameter.weight_decay for parameter in parameters),
            id(program.arena),
            self._device.scratch,
        )
        known = self._graphs.get(program)
        if known is None or known.key != key:
            held = program.arena, self._device.scratch_memory, optimizer, [one.data for one in parameters]
            losses = program.train(optimizer, parameters)
            self._graphs[program] = _Recorded(key, None, losses, held)
            if len(self._graphs) > PROGRAMS:
                del self._graphs[next(iter(self._graphs))]
            return losses
        if known.graph is None:
            self._stream.begin_capture()
            try:
                known.losses = program.train(optimizer, parameters)
            finally:
                known.graph = self._stream.end_capture()
        known.graph.launch(self._stream)
        return known.losses

    @property
    def loss(self) -> float:
        """The loss of the last step, before it changed the model; reading it waits for the GPU."""
        if not self._last:
            raise RuntimeError("CapturedStep.loss: no step has run yet")
        return self._model.total_loss(self._last)

    @property
    def recorded(self) -> int:
        """How many graphs there are: one for each batch size."""
        return sum(known.graph is not None for known in self._graphs.values())
