"""Model: a graph of layers with a loss and an optimiser, run by the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import losses, optim
from fastconv.losses import Loss
from fastconv.nn.batch import Arrays, check_inputs, check_targets
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Node
from fastconv.nn.memory_plan import MemoryPlan, memory_plan
from fastconv.nn.network import Network
from fastconv.nn.program import Program
from fastconv.nn.steps import Mode
from fastconv.ops import arguments
from fastconv.ops.arguments import Array
from fastconv.optim import Optimizer

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]

_PREDICT = Mode()
_TRAIN = Mode(training=True, with_backward=True)


class Model(Network):
    """A network between symbolic inputs and outputs.

    Parameters
    ----------
    inputs, outputs : Node or sequence of Node
        What `Input(...)` returned, and what the layers called on it returned.
    seed : int or numpy.random.Generator, default 0
        What start values and dropout masks are drawn from.
    dtype : "float32" or "float64", default "float32"
        Of the parameters and of all arithmetic; batches are cast to it.
    layout : "NCHW" or "NHWC", default "NCHW"
        How 4-D arrays that go in and come out lie in memory. Shapes in this API are (C, H, W) in both.
    algo : "auto", "direct" or "winograd", default "auto"
        For convolutions that do not choose for themselves; "auto" is `fastconv.config.algo`.

    Attributes
    ----------
    graph : Graph
    optimizer : Optimizer or None
    rng : numpy.random.Generator

    Examples
    --------
    >>> image = Input((1, 28, 28))
    >>> x = Flatten()(MaxPool2d(2)(Conv2d(None, 8, 3, activation="relu")(image)))
    >>> model = Model(image, Linear(None, 10)(x))
    """

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
        self._metrics: dict[str, Metric] = {}

    # One batch at a time

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss | Sequence[str | Loss | None] = "cross_entropy",
        metrics: Sequence[str | Metric] = (),
    ) -> None:
        """Choose how the model is trained.

        Parameters
        ----------
        optimizer : str or Optimizer
            See `fastconv.optim.get`.
        loss : str or Loss, or one for each output
            See `fastconv.losses.get`; None for an output that isn't trained. Several losses are added.
        metrics : sequence of str or callable
            See `fastconv.metrics.get`; a callable takes (output, target) and returns a float.
        """
        from fastconv import metrics as known_metrics

        chosen: Sequence[Any] = [loss] if isinstance(loss, str | Loss) else loss
        if len(chosen) != len(self.graph.outputs):
            raise ValueError(
                f"Model.compile: loss must name one for each of {len(self.graph.outputs)} outputs, got {loss!r}"
            )
        resolved = tuple(None if one is None else losses.get(one) for one in chosen)
        if not any(resolved):
            raise ValueError("Model.compile: at least one output must have a loss")
        if isinstance(metrics, str):
            raise TypeError(f"Model.compile: metrics must be a sequence, got {metrics!r}; write [{metrics!r}]")
        named: dict[str, Metric] = {}
        for metric in metrics:
            function = known_metrics.get(metric)
            named[metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)] = function
        self.optimizer, self._losses, self._metrics = optim.get(optimizer), resolved, named

    @property
    def loss(self) -> Loss | tuple[Loss | None, ...] | None:
        """The loss, or one for each output; None before `compile`."""
        return self._losses[0] if len(self._losses) == 1 else (self._losses or None)

    @property
    def metrics(self) -> dict[str, Metric]:
        return dict(self._metrics)

    def _require_compiled(self, what: str) -> Optimizer:
        if self.optimizer is None:
            raise RuntimeError(f"Model.{what}: call model.compile(optimizer, loss) first")
        return self.optimizer

    def _arrays(self, what: str, x: Arrays) -> tuple[list[NDArray[Any]], list[Shape]]:
        """Return the input arrays and their logical shapes, and build the model if that is still to be done."""
        arrays, shapes = check_inputs(what, x, self.graph, self.layout)
        if not self._built:
            self.build([shape[1:] for shape in shapes])
        return arrays, shapes

    def train_on_batch(self, x: Arrays, y: Arrays) -> dict[str, float]:
        """Do one step of training; returns "loss" and the metrics, computed before the step."""
        optimizer = self._require_compiled("train_on_batch")
        arrays, shapes = self._arrays("train_on_batch", x)
        targets = check_targets("train_on_batch", y, self._losses, shapes[0][0])
        with self._engine.lock:
            program = self._engine.program(shapes, self._dtype, _TRAIN, self._losses)
            program.load(arrays, self.layout)
            program.load_targets(targets, self.layout)
            program.forward()
            logs = self._logs(program, targets, program.losses())
            program.backward()
            optimizer.step(self.parameters())
        return logs

    def test_on_batch(self, x: Arrays, y: Arrays) -> dict[str, float]:
        """Return "loss" and the metrics of a batch."""
        self._require_compiled("test_on_batch")
        arrays, shapes = self._arrays("test_on_batch", x)
        targets = check_targets("test_on_batch", y, self._losses, shapes[0][0])
        with self._engine.lock:
            program = self._engine.program(shapes, self._dtype, _PREDICT, self._losses)
            program.load(arrays, self.layout)
            program.load_targets(targets, self.layout)
            program.forward()
            return self._logs(program, targets, program.losses())

    def _logs(self, program: Program, targets: Sequence[NDArray[Any]], found: Sequence[float]) -> dict[str, float]:
        logs = {"loss": sum(found)}
        outputs = [out for out, loss in zip(program.outputs, self._losses, strict=True) if loss is not None]
        for index, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            prefix = "" if len(outputs) == 1 else f"output_{index}_"
            if prefix:
                logs[f"{prefix}loss"] = found[index]
            for name, metric in self._metrics.items():
                logs[prefix + name] = metric(output, target)
        return logs

    def predict_on_batch(self, x: Arrays) -> Any:
        """Return the output for a batch, a new array; a tuple of them where the model has several outputs."""
        arrays, shapes = self._arrays("predict_on_batch", x)
        with self._engine.lock:
            program = self._engine.program(shapes, self._dtype, _PREDICT)
            program.load(arrays, self.layout)
            program.forward()
            results = program.results(self.layout)
        return results[0] if len(results) == 1 else results

    def __call__(self, x: Any) -> Any:
        """On arrays: `predict_on_batch`. On nodes: use the model as a part of a larger graph, weights shared."""
        nodes = [x] if isinstance(x, Node) else x
        if not isinstance(nodes, list | tuple) or not any(isinstance(node, Node) for node in nodes):
            return self.predict_on_batch(x)
        if len(nodes) != len(self.graph.inputs):
            raise ValueError(f"Model: takes {len(self.graph.inputs)} nodes, got {len(nodes)}")
        images: dict[Node, Node] = dict(zip(self.graph.inputs, nodes, strict=True))
        for node in self.graph.nodes:
            if node.layer is not None:
                images[node] = Node(node.layer, [images[source] for source in node.inputs])
        results = tuple(images[node] for node in self.graph.outputs)
        return results[0] if len(results) == 1 else results

    def gradients(self, x: Arrays, y: Arrays, wrt: Node | Sequence[Node]) -> tuple[float, tuple[Array, ...]]:
        """Return the loss and its gradients with respect to inputs or feature maps; the model stays as it is.

        Parameters
        ----------
        x, y : numpy.ndarray, or one for each input and each loss
        wrt : Node or sequence of Node
            Inputs (`model.graph.inputs`) or what layers return (`model.node(name)`).

        Returns
        -------
        loss : float
        gradients : tuple of numpy.ndarray
            New arrays, (N, C, H, W) or (N, F), one for each node. Dropout is off, as in inference.
        """
        self._require_compiled("gradients")
        nodes = (wrt,) if isinstance(wrt, Node) else tuple(wrt)
        for node in nodes:
            if node not in self.graph.nodes:
                raise ValueError(f"Model.gradients: wrt must be nodes of this model, got {node!r}")
        arrays, shapes = self._arrays("gradients", x)
        targets = check_targets("gradients", y, self._losses, shapes[0][0])
        mode = Mode(with_backward=True, with_parameters=False, keep_grad=nodes)
        with self._engine.lock:
            program = self._engine.program(shapes, self._dtype, mode, self._losses)
            program.load(arrays, self.layout)
            program.load_targets(targets, self.layout)
            program.forward()
            loss = sum(program.losses())
            program.backward()
            return loss, tuple(program.grad_of(node).copy(order="C") for node in nodes)

    # Whole data sets

    def fit(self, x: Any, y: Any = None, **options: Any) -> Any:
        """Train; see `fastconv.train.fit`."""
        from fastconv import train

        if isinstance(x, np.ndarray):
            self._arrays("fit", x[:0])  # builds the model: callbacks and checkpoints want its parameters
        return train.fit(self, x, y, **options)

    def evaluate(self, x: Any, y: Any = None, **options: Any) -> dict[str, float]:
        """Return loss and metrics over a data set; see `fastconv.train.evaluate`."""
        from fastconv import train

        return train.evaluate(self, x, y, **options)

    def predict(self, x: Any, **options: Any) -> Any:
        """Return the outputs for a data set; see `fastconv.train.predict`."""
        from fastconv import train

        return train.predict(self, x, **options)

    def plan(self, batch: int, training: bool = True, input_shapes: Sequence[Shape] | None = None) -> MemoryPlan:
        """Return the bytes that a step of training, or a prediction, of `batch` samples takes; nothing is allocated."""
        count = arguments.integer("Model.plan", "batch", batch)
        if count < 0:
            raise ValueError(f"Model.plan: batch must be at least 0, got {batch}")
        if training:
            self._require_compiled("plan(training=True)")
        shapes = [(count, *shape) for shape in self._known_shapes("plan", input_shapes)]
        mode = _TRAIN if training else _PREDICT
        program = self._engine.plan(shapes, self._dtype, mode, self._losses if training else ())
        return memory_plan(program, self.optimizer)
