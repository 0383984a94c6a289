"""Model: a graph of layers with a loss and an optimiser, run by the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.nn.batch import Arrays, check_targets, inputs_in_order, run_in_slices, targets_in_order
from fastconv.nn.compiled import PREDICT, TRAIN, CompiledNetwork
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Node
from fastconv.nn.memory_plan import MemoryPlan, memory_plan
from fastconv.nn.objective import Objective, Point, add_term, terms
from fastconv.nn.steps import Mode


class Model(CompiledNetwork):
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

    # Inner maps and gradients

    def features(self, x: Arrays, of: Point | Sequence[Point], batch_size: int = 256) -> Any:
        """Return what layers put out for these inputs: inner maps, as well as inputs and outputs.

        Parameters
        ----------
        x : numpy.ndarray, or one for each input
        of : str or Node, or a sequence of them
            Names of layers ("conv2d_1") or inputs, or nodes of `model.graph`. A layer with an activation of its own
            gives what comes behind it.
        batch_size : int, default 256
            Samples at a time.

        Returns
        -------
        numpy.ndarray or tuple of them
            New arrays in the model's layout; a tuple where `of` is a sequence.
        """
        nodes = self._points("features: of", of)
        size = arguments.integer("Model.features", "batch_size", batch_size)
        if size < 1:
            raise ValueError(f"Model.features: batch_size must be at least 1, got {size}")

        def step(batch: Arrays) -> tuple[Array, ...]:
            arrays, shapes = self._arrays("features", batch)
            with self._engine.turn:
                program = self._engine.program(shapes, self._dtype, Mode(keep=nodes))
                program.load(arrays, self.layout)
                self._run_forward(program)
                return tuple(self._outside(program.value_of(node)) for node in nodes)

        x = inputs_in_order("features", x, self.graph)
        self._arrays_of_host("features", x)
        found = run_in_slices(step, x, size)
        return found[0] if isinstance(of, str | Node) else found

    def _arrays_of_host(self, what: str, x: Arrays) -> tuple[list[Array], list[Shape]]:
        arrays, shapes = self._arrays(what, x)
        if not isinstance(arrays[0], np.ndarray):
            raise TypeError(f"Model.{what}: x must be a numpy.ndarray, or a list of them, got arrays on a GPU")
        return arrays, shapes

    def _points(self, what: str, points: Point | Sequence[Point]) -> tuple[Node, ...]:
        chosen = (points,) if isinstance(points, str | Node) else tuple(points)
        if not chosen:
            raise ValueError(f"Model.{what} must be at least one name or node, got none")
        return tuple(self.point(what, point) for point in chosen)

    def _outside(self, view: Array) -> Array:
        """Return a new array in the model's layout from a view (N, C, H, W) or (N, F)."""
        return (np.moveaxis(view, 1, -1) if view.ndim == 4 and self.layout == "NHWC" else view).copy(order="C")

    def gradients(
        self,
        x: Arrays,
        y: Arrays | None = None,
        wrt: Point | Sequence[Point] | None = None,
        *,
        of: Objective | None = None,
    ) -> tuple[float, Any]:
        """Return a scalar and its gradients with respect to inputs or inner maps; the model stays as it is.

        The scalar is the sum of the compiled losses (where `y` is given) and of the terms in `of`.

        Parameters
        ----------
        x : numpy.ndarray, or one for each input
        y : numpy.ndarray, or one for each loss, optional
            Targets of the losses that `compile` chose.
        wrt : str or Node, or a sequence of them, optional
            With respect to what: inputs or what layers return, as names or nodes. Default: the input (all of them, in a
            tuple, where the model has several).
        of : str, Node, mapping, or list of pairs, optional
            Names or nodes of outputs or inner maps, and what is wanted of each (a list may hold a map twice):

            - None, or only a name instead of a mapping: the sum of all elements
            - int: the sum of a channel or feature; (c, y, x): of one unit; both summed over the batch
            - array of the map's shape: the sum of map * array, whose gradient at the map is the array
            - (loss, target) or (loss, target, weight): see `fastconv.losses.get`
            - a function: gets the map (a copy, in the model's layout), returns the value and its gradient there

        Returns
        -------
        value : float
        gradients : numpy.ndarray or tuple of them
            New arrays in the model's layout; a tuple where `wrt` is a sequence. Dropout is off, as in inference. Zeros
            where nothing in the sum depends on the map.

        Examples
        --------
        >>> value, grad = model.gradients(image, of={"conv2d_3": 7})  # towards what channel 7 responds to
        >>> value, grad = model.gradients(image, of=[("conv2d_4", ("mse", content)), ("conv2d_1", gram_loss)])
        """
        if y is None and of is None:
            raise ValueError("Model.gradients: y (for the compiled losses) or of (terms) must be given, got neither")
        if y is not None:
            self._require_compiled("gradients")
        only = isinstance(wrt, str | Node) or (wrt is None and len(self.graph.inputs) == 1)
        nodes = self._points("gradients: wrt", self.graph.inputs if wrt is None else wrt)
        wanted = [] if of is None else terms(self, of)
        arrays, shapes = self._arrays_of_host("gradients", x)
        seeds = tuple(dict.fromkeys(node for node, _ in wanted))
        mode = Mode(with_backward=True, with_parameters=False, keep_grad=nodes, seeds=seeds)
        if y is not None:
            mode = replace(mode, loss_weights=self._loss_weights)
            targets = check_targets("gradients", y, self.graph, self._losses, shapes[0][0])
        with self._engine.turn:
            program = self._engine.program(shapes, self._dtype, mode, () if y is None else self._losses)
            program.load(arrays, self.layout)
            if y is not None:
                program.load_targets(targets, self.layout)
            with self._engine.device.active():
                program.upload()
                program.forward()
                value = 0.0 if y is None else self._total(self._numbers(program.losses()))
            grads = {node: program.seed_of(node) for node in seeds}
            for node, grad in grads.items():
                if grad is None:  # nothing behind it is asked for; its value is
                    grads[node] = np.zeros_like(program.value_of(node))
                else:
                    grad[...] = 0
            for node, term in wanted:
                into = grads[node]
                assert into is not None
                value += add_term(self.graph.label(node), term, program.value_of(node), into, self.layout)
            program.send_seeds()
            with self._engine.device.active():
                program.backward()
            found = tuple(self._outside(program.grad_of(node)) for node in nodes)
        return value, found[0] if only else found

    # Whole data sets

    def fit(self, x: Any, y: Any = None, **options: Any) -> Any:
        """Train; see `fastconv.train.fit`."""
        from fastconv import train

        x, y = inputs_in_order("fit", x, self.graph), targets_in_order("fit", y, self.graph, self._losses)
        arrays = x if isinstance(x, list | tuple) else [x]
        if all(isinstance(array, np.ndarray) and array.ndim for array in arrays):
            self._arrays("fit", [array[:0] for array in arrays])  # builds it: callbacks want its parameters
        if options.get("validation_data") is not None:
            judge_x, judge_y = options["validation_data"]
            options["validation_data"] = (
                inputs_in_order("fit", judge_x, self.graph),
                targets_in_order("fit", judge_y, self.graph, self._losses),
            )
        return train.fit(self, x, y, **options)

    def evaluate(self, x: Any, y: Any = None, **options: Any) -> dict[str, float]:
        """Return loss and metrics over a data set; see `fastconv.train.evaluate`."""
        from fastconv import train

        x, y = inputs_in_order("evaluate", x, self.graph), targets_in_order("evaluate", y, self.graph, self._losses)
        return train.evaluate(self, x, y, **options)

    def predict(self, x: Any, **options: Any) -> Any:
        """Return the outputs for a data set; see `fastconv.train.predict`."""
        from fastconv import train

        return train.predict(self, inputs_in_order("predict", x, self.graph), **options)

    def plan(self, batch: int, training: bool = True, input_shapes: Sequence[Shape] | None = None) -> MemoryPlan:
        """Return the bytes that a step of training, or a prediction, of `batch` samples takes; nothing is allocated."""
        count = arguments.integer("Model.plan", "batch", batch)
        if count < 0:
            raise ValueError(f"Model.plan: batch must be at least 0, got {batch}")
        if training:
            self._require_compiled("plan(training=True)")
        shapes = [(count, *shape) for shape in self._known_shapes("plan", input_shapes)]
        mode = TRAIN if training else PREDICT
        program = self._engine.plan(shapes, self._dtype, mode, self._losses if training else ())
        return memory_plan(program, self.optimizer)
