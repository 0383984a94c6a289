"""CompiledNetwork: a network with losses, metrics and an optimiser, one batch at a time. `Model` does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import losses, optim
from fastconv._checks import arguments
from fastconv.losses import Loss
from fastconv.nn.batch import Arrays, check_inputs, check_targets, in_order
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Node
from fastconv.nn.network import Network
from fastconv.nn.program import Program
from fastconv.nn.steps import Mode
from fastconv.optim import Optimizer

if TYPE_CHECKING:
    from fastconv.nn.captured import CapturedStep

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]

PREDICT = Mode()
TRAIN = Mode(training=True, with_backward=True)


class Batch(NamedTuple):
    """Arrays for inputs and losses, checked."""

    arrays: list[NDArray[Any]]
    shapes: list[Shape]
    targets: list[NDArray[Any]]

    @property
    def on_gpu(self) -> bool:
        """Whether it lies there already, as views of other libraries' arrays."""
        return not isinstance(self.arrays[0], np.ndarray)


class CompiledNetwork(Network):
    """What `compile` adds to a network; see `Model`."""

    def __init__(
        self,
        inputs: Node | Sequence[Node],
        outputs: Node | Sequence[Node],
        *,
        seed: int | np.random.Generator = 0,
        dtype: DTypeLike = "float32",
        layout: str = "NCHW",
        algo: str = "auto",
    ) -> None:
        super().__init__(inputs, outputs, seed=seed, dtype=dtype, layout=layout, algo=algo)
        self.optimizer: Optimizer | None = None
        self._losses: tuple[Loss | None, ...] = ()
        self._loss_weights: tuple[float, ...] = ()  # one for each loss; none at all: 1
        self._metrics: tuple[dict[str, Metric], ...] = ()  # one for each output

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss | Sequence[str | Loss | None] | Mapping[str, str | Loss] = "cross_entropy",
        metrics: Sequence[str | Metric] | Mapping[str, Sequence[str | Metric]] = (),
        loss_weights: Sequence[float] | Mapping[str, float] | None = None,
    ) -> None:
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
            See `fastconv.optim.get`.
        loss : str or Loss, or one for each output, or a mapping of output names to them
            See `fastconv.losses.get`; None, or no entry, for an output that isn't trained. Several losses are added.
            An output is called as its layer.
        metrics : sequence of str or callable, or a mapping of output names to such sequences
            See `fastconv.metrics.get`; a callable takes (output, target) and returns a float.
        loss_weights : sequence of float, or mapping of output names to them, optional
            What each output's loss is multiplied by in the sum; 1 where nothing is said.
        """
        names = self.graph.output_names()
        chosen: Sequence[Any] = (
            [loss] if isinstance(loss, str | Loss) else in_order("compile", "loss", loss, names, "output")
        )
        if not isinstance(chosen, list | tuple):
            raise TypeError(f"Model.compile: loss must be a name, a Loss, or one for each output, got {loss!r}")
        if len(chosen) != len(names):
            raise ValueError(f"Model.compile: loss must name one for each of {len(names)} outputs, got {loss!r}")
        resolved = tuple(None if one is None else losses.get(one) for one in chosen)
        if not any(resolved):
            raise ValueError("Model.compile: at least one output must have a loss")
        for argument, given in (("loss_weights", loss_weights), ("metrics", metrics)):
            idle = [name for name, one in zip(names, resolved, strict=True) if one is None and name is not None]
            if isinstance(given, Mapping) and any(name in given for name in idle):
                raise ValueError(f"Model.compile: {argument} must name outputs that have a loss, {idle[0]!r} has none")
        weights = _checked_weights(in_order("compile", "loss_weights", loss_weights, names, "output"), resolved)
        each = in_order("compile", "metrics", metrics, names, "output")
        functions = tuple(
            _named_metrics((each[place] or ()) if isinstance(metrics, Mapping) else metrics)
            for place in range(len(names))
        )
        self._require_runnable([one for one in resolved if one is not None], optim.get(optimizer))
        self.optimizer = optim.get(optimizer)  # the last that can refuse: a model is compiled, or as it was
        self._losses, self._loss_weights, self._metrics = resolved, weights, functions

    def _require_runnable(self, chosen: Sequence[Loss], optimizer: Optimizer) -> None:
        problems = self._missing_for_training(chosen, optimizer) if self._engine.device.on_gpu else []
        if problems:
            raise RuntimeError(f"Model.compile: cannot train on {self.device}: {'; '.join(problems)}")

    @staticmethod
    def _missing_for_training(chosen: Sequence[Loss | None], optimizer: Optimizer | None) -> list[str]:
        idle = [f"loss {one.name!r} has no CUDA kernels yet" for one in chosen if one and not one.runs_on_gpu]
        missing = None if optimizer is None else optimizer.missing_on_gpu()
        return idle if missing is None else [*idle, missing]

    def missing_on_gpu(self) -> list[str]:
        return super().missing_on_gpu() + self._missing_for_training(self._losses, self.optimizer)

    @property
    def loss(self) -> Loss | tuple[Loss | None, ...] | None:
        """The loss, or one for each output; None before `compile`."""
        return self._losses[0] if len(self._losses) == 1 else (self._losses or None)

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name, of all outputs together."""
        return {name: metric for each in self._metrics for name, metric in each.items()}

    @property
    def metrics_by_output(self) -> tuple[dict[str, Metric], ...]:
        return self._metrics

    def _require_compiled(self, what: str) -> Optimizer:
        if self.optimizer is None:
            raise RuntimeError(f"Model.{what}: call model.compile(optimizer, loss) first")
        return self.optimizer

    def _arrays(self, what: str, x: Arrays) -> tuple[list[Any], list[Shape]]:
        """Return the input arrays and their logical shapes, and build the model if that is still to be done."""
        arrays, shapes = check_inputs(what, x, self.graph, self.layout, self._engine.device)
        if not self._built:
            self.build([shape[1:] for shape in shapes])
        return arrays, shapes

    def train_on_batch(self, x: Arrays, y: Arrays) -> dict[str, float]:
        """Do one step of training; returns "loss" and the metrics, computed before the step.

        On a GPU `x` and `y` may lie there, both of them, in arrays of CuPy, PyTorch or another library: float32, labels
        int64, images channels-last or contiguous. Labels that are no class make the loss NaN then.
        """
        optimizer, batch = self.training_batch("train_on_batch", x, y)
        with self._engine.turn:
            program = self.load_training(batch)
            if not self._engine.device.on_gpu:
                program.forward()
                logs = self._logs(program, batch.targets, program.losses())
                program.backward()
                optimizer.step(self.parameters())
                return logs
            with self._engine.device.active():
                self.begin_step(program, optimizer)
                targets = self._targets_for_metrics(program, batch)
                found = program.train(optimizer, self.parameters())
            return self._logs(program, targets, found)  # waits, with all work on its way

    def training_batch(self, what: str, x: Arrays, y: Arrays) -> tuple[Optimizer, Batch]:
        """Return the optimiser and the batch, checked; for the engine's users, `train_on_batch` and `CapturedStep`."""
        optimizer = self._require_compiled(what)
        return optimizer, self._batch(what, x, y)

    def _batch(self, what: str, x: Arrays, y: Arrays) -> Batch:
        batch = Batch(*self._arrays(what, x), [])
        targets = check_targets(
            what, y, self.graph, self._losses, batch.shapes[0][0], self._engine.device, batch.on_gpu
        )
        return batch._replace(targets=targets)

    def load_training(self, batch: Batch) -> Program:
        """Return the program that trains on such a batch, which is loaded; the engine's turn is held."""
        mode = replace(TRAIN, loss_weights=self._loss_weights)
        program = self._engine.program(batch.shapes, self._dtype, mode, self._losses)
        program.load(batch.arrays, self.layout)
        program.load_targets(batch.targets, self.layout)
        return program

    def begin_step(self, program: Program, optimizer: Optimizer) -> None:
        """On a GPU: send the batch, and what changes from step to step."""
        program.upload()
        optimizer.steps += 1
        self._engine.device.begin_step(optimizer, self._rng if program.draws else None)

    def test_on_batch(self, x: Arrays, y: Arrays) -> dict[str, float]:
        """Return "loss" and the metrics of a batch."""
        self._require_compiled("test_on_batch")
        batch = self._batch("test_on_batch", x, y)
        with self._engine.turn:
            program = self._engine.program(batch.shapes, self._dtype, PREDICT, self._losses)
            program.load(batch.arrays, self.layout)
            program.load_targets(batch.targets, self.layout)
            with self._engine.device.active():
                program.upload()
                targets = self._targets_for_metrics(program, batch)
                program.forward()
                return self._logs(program, targets, program.losses())

    def _run_forward(self, program: Program) -> None:
        if not self._engine.device.on_gpu:
            program.forward()
            return
        with self._engine.device.active():
            program.upload()
            program.forward()

    def _numbers(self, found: Sequence[Any]) -> list[float]:
        """The losses as floats; on a GPU the first one waits for it."""
        return [float(self._engine.device.host(loss)[0]) for loss in found] if self._engine.device.on_gpu else [*found]

    def capture(self) -> CapturedStep:
        """Return a training step that runs as one CUDA graph; the model must be on a GPU and compiled.

        ``step = model.capture()``, then ``step(x, y)`` instead of ``model.train_on_batch(x, y)``, and ``step.loss``
        where it is wanted: see `fastconv.nn.captured.CapturedStep`.
        """
        self._require_compiled("capture")
        if not self._engine.device.on_gpu:
            raise RuntimeError('Model.capture: a graph needs a GPU; call model.to("cuda") first')
        from fastconv.nn.captured import CapturedStep

        return CapturedStep(self)

    def trainer(self) -> Callable[[Arrays, Arrays], Mapping[str, float]]:
        """Return what `fit` calls for a step: `train_on_batch`, on a GPU without waiting for what it returns."""
        own = type(self).train_on_batch is not CompiledNetwork.train_on_batch
        if own or not self._engine.device.on_gpu:
            return self.train_on_batch
        from fastconv.nn.late import LateSteps

        return LateSteps(self)

    def total_loss(self, found: Sequence[Any]) -> float:
        """Return the sum of losses that a program gave, weighted."""
        return self._total(self._numbers(found))

    def _total(self, found: Sequence[Any]) -> float:
        weights = self._loss_weights or (1.0,) * len(found)
        return float(sum(weight * loss for weight, loss in zip(weights, found, strict=True)))

    def _targets_for_metrics(self, program: Program, batch: Batch) -> Sequence[NDArray[Any]]:
        """What metrics read, on the host; from a GPU before the kernels write other things to that place."""
        return program.targets_on_host(self.layout) if batch.on_gpu and any(self._metrics) else batch.targets

    def _logs(self, program: Program, targets: Sequence[NDArray[Any]], found: Sequence[Any]) -> dict[str, float]:
        values = self._numbers(found)
        return self.figures(values, self.measured(program.output_of, targets))

    def measured(
        self, output_of: Callable[[int], NDArray[Any]], targets: Sequence[NDArray[Any]]
    ) -> list[dict[str, float]]:
        """Return the metrics of each output that has a loss."""
        places = [place for place, loss in enumerate(self._losses) if loss is not None]
        return [
            {name: metric(output_of(place), target) for name, metric in self._metrics[place].items()}
            for place, target in zip(places, targets, strict=True)
        ]

    def figures(self, found: Sequence[float], measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return losses and metrics as `train_on_batch` calls them."""
        logs = {"loss": self._total(found)}
        places = [place for place, loss in enumerate(self._losses) if loss is not None]
        for place, value, metrics in zip(places, found, measured, strict=True):
            node = self.graph.outputs[place]
            named = node.layer is not None and node.layer.name is not None and self.graph.output_names()[place]
            prefix = "" if len(places) == 1 else f"{named or f'output_{place}'}_"
            if prefix:
                logs[f"{prefix}loss"] = value
            logs |= {prefix + name: figure for name, figure in metrics.items()}
        return logs

    def predict_on_batch(self, x: Arrays) -> Any:
        """Return the output for a batch, a new array; a tuple of them where the model has several outputs.

        Of a batch that lies on the model's GPU these are CuPy arrays there.
        """
        arrays, shapes = self._arrays("predict_on_batch", x)
        with self._engine.turn:
            program = self._engine.program(shapes, self._dtype, PREDICT)
            program.load(arrays, self.layout)
            self._run_forward(program)
            on_host = isinstance(arrays[0], np.ndarray)
            results = program.results(self.layout) if on_host else program.results_on_gpu(self.layout)
        return results[0] if len(results) == 1 else results


def _checked_weights(weights: Any, chosen: Sequence[Loss | None]) -> tuple[float, ...]:
    """Return a weight for each output that has a loss, or nothing where all are 1."""
    if weights is None:
        return ()
    if not isinstance(weights, list | tuple) or len(weights) != len(chosen):
        raise ValueError(
            f"Model.compile: loss_weights must hold one for each of {len(chosen)} outputs, got {weights!r}"
        )
    for weight in weights:
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float | np.number)):
            raise TypeError(f"Model.compile: loss_weights must be numbers, got {arguments.describe(weight)}")
        if weight is not None and not math.isfinite(weight):
            raise ValueError(f"Model.compile: loss_weights must be finite, got {weight}")
    pairs = zip(weights, chosen, strict=True)
    found = tuple(1.0 if weight is None else float(weight) for weight, loss in pairs if loss is not None)
    return () if all(weight == 1 for weight in found) else found


def _named_metrics(metrics: Any) -> dict[str, Metric]:
    from fastconv import metrics as known_metrics

    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(f"Model.compile: metrics must be a sequence, got {metrics!r}; write [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        function = known_metrics.get(metric)
        named[metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)] = function
    return named
