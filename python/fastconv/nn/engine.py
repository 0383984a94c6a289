"""Engine: keeps the programs of a model, one for each input shape and mode, and the arena that they share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv._config import Algorithm, config
from fastconv.nn.device import CPU, Device
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Graph
from fastconv.nn.program import Losses, Program
from fastconv.nn.steps import Mode

PROGRAMS = 8  # a training and an inference program for the full and the last batch, and some to spare


class Turn:
    """A lock whose holder may not take it again: a metric that ran the model would overwrite what is being computed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise RuntimeError(
                "Model: a metric, a loss or a function given to gradients must not run the model that runs it; "
                "compute what it needs before"
            )
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._holder = None
        self._lock.release()


class Engine:
    """Makes, keeps and binds programs.

    Programs run one after another, so one arena, as large as the largest needs, serves all; a program whose arena
    was replaced by a larger one is bound again when its turn comes.

    Attributes
    ----------
    turn : Turn
        Held while a program runs: calls from several threads take turns.
    device : Device
        Where programs run, and their arena lies.
    """

    def __init__(
        self, graph: Graph, generator: np.random.Generator, algo: Algorithm = "auto", device: Device = CPU
    ) -> None:
        self.device = device
        self._algo = algo
        self._graph = graph
        self._generator = generator
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._arena: NDArray[np.uint8] = device.empty(0)
        self.turn = Turn()

    @property
    def arena_bytes(self) -> int:
        """Bytes held now."""
        return self._arena.nbytes

    def plan(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any], mode: Mode, losses: Losses) -> Program:
        """Return the program, not bound yet if it is new."""
        mode = replace(mode, algo=config.algo if self._algo == "auto" else self._algo)
        frozen = tuple(parameter.trainable for layer in self._graph.layers for parameter in layer.parameters().values())
        variants = tuple(layer.variant for layer in self._graph.layers)
        key = (tuple(input_shapes), dtype, mode, tuple(losses), frozen, variants)
        program = self._programs.get(key)
        if program is None:
            program = Program(self._graph, input_shapes, dtype, mode, losses, self._generator, self.device)
            self._programs[key] = program
            if len(self._programs) > PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def program(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any], mode: Mode, losses: Losses = ()) -> Program:
        """Return the program, ready to load and run."""
        program = self.plan(input_shapes, dtype, mode, losses)
        if program.arena_bytes > self._arena.nbytes:
            self._arena = _allocate(self.device, program.arena_bytes)
        if not program.is_bound_to(self._arena):
            program.bind(self._arena)
        return program

    def clear(self) -> None:
        """Forget the programs and give the arena back."""
        self._programs.clear()
        self._arena = self.device.empty(0)


def _allocate(device: Device, nbytes: int) -> NDArray[np.uint8]:
    try:
        return device.empty(nbytes)  # type: ignore[no-any-return]
    except MemoryError:
        raise MemoryError(
            f"Model: no memory for an arena of {nbytes:,} bytes; model.plan(batch) tells what a batch size needs"
        ) from None
