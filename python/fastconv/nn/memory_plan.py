"""What a model needs in bytes, known before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastconv.nn.program import Program

if TYPE_CHECKING:
    from fastconv.optim import Optimizer


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by kind; `model.plan(batch)` makes it.

    Attributes
    ----------
    parameters, parameter_gradients, optimizer_state : int
        For as long as the model lives.
    packed_weights : int
        Weights in the kernels' order, kept by inference, and those with a batch norm folded in.
    arena : int
        All activations, gradients, indices, masks and batches together; what doesn't live at one time shares memory.
    scratch : int
        The most that a kernel borrows while it runs.
    arena_by_kind : mapping of str to int
        What the arena holds, as if nothing shared memory: more than `arena` in sum.
    total : int
    """

    parameters: int
    parameter_gradients: int
    optimizer_state: int
    packed_weights: int
    arena: int
    scratch: int
    arena_by_kind: Mapping[str, int]

    @property
    def total(self) -> int:
        return (
            self.parameters
            + self.parameter_gradients
            + self.optimizer_state
            + self.packed_weights
            + self.arena
            + self.scratch
        )

    def __str__(self) -> str:
        names = ("parameters", "parameter_gradients", "optimizer_state", "packed_weights", "arena", "scratch", "total")
        rows = [(name.replace("_", " "), getattr(self, name)) for name in names]
        rows[5:5] = [(f"  {kind} (unshared)", nbytes) for kind, nbytes in sorted(self.arena_by_kind.items())]
        return "\n".join(f"{name:<26}{nbytes:>16,} bytes" for name, nbytes in rows)


def memory_plan(program: Program, optimizer: Optimizer | None) -> MemoryPlan:
    """Return the bytes that `program` needs, with the optimiser's state where it trains."""
    trainable = [parameter for parameter in program.parameters if parameter.trainable]
    trains = program.mode.with_backward and program.mode.with_parameters
    by_kind: dict[str, int] = {}
    for block in program.schedule.blocks:
        by_kind[block.kind] = by_kind.get(block.kind, 0) + block.nbytes
    return MemoryPlan(
        parameters=sum(parameter.data.nbytes for parameter in program.parameters),
        parameter_gradients=sum(parameter.data.nbytes for parameter in trainable) if trains else 0,
        optimizer_state=optimizer.state_bytes(program.parameters) if trains and optimizer is not None else 0,
        packed_weights=0
        if trains
        else sum({(step.layer, step.frame.norm): step.kernel_bytes[1] for step in program.steps}.values()),
        arena=program.arena_bytes,
        scratch=program.scratch_bytes,
        arena_by_kind=by_kind,
    )
