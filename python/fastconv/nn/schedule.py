"""When every array of a program is first and last used, and which arrays may share memory.

Time runs: 0 the batch is copied in, 1..F the steps, F + 1 the losses, then the steps backward, and last the moment at
which results are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.losses import Loss
from fastconv.nn.arena import Block, Slot
from fastconv.nn.device import CPU, Device
from fastconv.nn.frame import Shape
from fastconv.nn.steps import Step, Transfer, Value


@dataclass(eq=False)
class LossSite:
    """A loss at a value, and where its arrays will lie. Without a loss the gradient is written from outside."""

    loss: Loss | None
    value: Value
    target: Slot = field(init=False)
    buffers: dict[str, Slot] = field(default_factory=dict)
    grad: Slot | None = None
    after: list[Transfer] = field(default_factory=list)


class Schedule:
    """Lifetimes of all arrays of `steps`.

    Attributes
    ----------
    blocks : list of Block
        All memory, ready to be placed.
    zeros : list of Slot
        Gradients that were asked for but that no loss reaches.
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        steps: Sequence[Step],
        sites: Sequence[LossSite],
        dtype: np.dtype[Any],
        with_backward: bool,
        device: Device = CPU,
    ) -> None:
        self._steps = steps
        self._sites = sites
        self._dtype = dtype
        self._with_backward = with_backward
        self._device = device
        self._blocks: list[Block] = []
        self._loss_time = len(steps) + 1
        self._end = 2 * len(steps) + 2
        self.zeros: list[Slot] = []
        self._make_values(inputs)
        self._use_values(inputs)
        self._work_in_place()
        self._make_losses()
        if with_backward:
            for index in reversed(range(len(steps))):
                self._backward(steps[index], self._backward_time(index))
            self._keep_grads([*inputs, *(step.output for step in steps)])
        self.blocks = [block for block in self._blocks if block.merged_into is None]

    def _backward_time(self, index: int) -> int:
        return self._loss_time + len(self._steps) - index

    def _slot(self, shape: Shape, dtype: np.dtype[Any], kind: str) -> Slot:
        block = Block(kind)
        self._blocks.append(block)
        return Slot(shape, dtype, block)

    # Forward

    def _make_values(self, inputs: Sequence[Value]) -> None:
        for value in inputs:
            value.slot = self._slot(value.memory, self._dtype, "inputs")
        for step in self._steps:
            step.needs = step.layer.needs(step.frame)
            if step.layer.is_view(step.frame):
                step.output.slot = Slot(step.output.memory, self._dtype, step.inputs[0].slot.block)
            else:
                step.output.slot = self._slot(step.output.memory, self._dtype, "activations")
            for name, buffer in step.needs.buffers.items():
                step.buffers[name] = self._slot(buffer.shape, buffer.dtype, "buffers")

    def _use_values(self, inputs: Sequence[Value]) -> None:
        for value in inputs:
            value.slot.use(0)
            if value.kept:
                value.slot.use(self._end)
        for index, step in enumerate(self._steps):
            times = [index + 1]
            if self._with_backward and step.output.requires_grad:
                times.append(self._backward_time(index))
            for value in step.inputs:
                value.slot.use(times[-1] if step.needs.inputs else index + 1)
            step.output.slot.use(index + 1)
            if step.needs.output:
                step.output.slot.use(times[-1])
            if step.output.kept:
                step.output.slot.use(self._end)
            for name, slot in step.buffers.items():
                slot.use(index + 1)
                if step.needs.buffers[name].saved:
                    slot.use(times[-1])

    def _work_in_place(self) -> None:
        """Write an output over an input that nobody reads any more."""
        for index, step in enumerate(self._steps):
            source, output = step.inputs[0], step.output
            if (
                step.layer.in_place
                and source.slot.block is not output.slot.block
                and source.slot.block.last == index + 1
                and source.memory == output.memory
                and all(other.slot.block is not source.slot.block for other in step.inputs[1:])
            ):
                source.slot.merge(output.slot)

    def _make_losses(self) -> None:
        for site in self._sites:
            shape, value = site.value.shape, site.value
            if site.loss is not None:
                site.target = self._slot(*site.loss.target_buffer(shape, self._dtype), "targets")
                site.target.use(0)
                site.target.use(self._loss_time)
                for name, spec in site.loss.buffers_on(self._device, shape, self._dtype).items():
                    site.buffers[name] = self._slot(*spec, "buffers")
                    site.buffers[name].use(self._loss_time)
            value.slot.use(self._loss_time)
            if self._with_backward and value.requires_grad:
                site.grad, transfers = self._contribute(value, self._loss_time)
                site.after.extend(transfers)

    # Backward

    def _contribute(self, value: Value, time: int) -> tuple[Slot, list[Transfer]]:
        """Return where a gradient of `value` is to be written, and the addition if it isn't the first."""
        slot = self._slot(value.memory, self._dtype, "gradients")
        slot.use(time)
        if value.grad is None:
            value.grad = slot
            return slot, []
        value.grad.use(time)
        return slot, [Transfer(slot, value.grad, add=True)]

    def _backward(self, step: Step, time: int) -> None:
        """Schedule one step; does nothing where no loss reaches it or nothing behind it wants a gradient."""
        grad = step.output.grad
        if grad is None or not step.output.requires_grad:
            return
        grad.use(time)
        step.grad_output = grad
        if step.needs.writes_grad_output and step.output.keeps_grad:
            step.grad_output = self._slot(grad.shape, grad.dtype, "gradients")
            step.grad_output.use(time)
            step.before_backward.append(Transfer(grad, step.grad_output, add=False))
        given_away = step.output.keeps_grad  # whether the memory of grad must stay as it is
        for value in step.inputs:
            if not value.requires_grad:
                step.grad_inputs.append(None)
            elif step.shares_grad:
                step.grad_inputs.append(None)
                if value.grad is not None:
                    value.grad.use(time)
                    step.after_backward.append(Transfer(grad, value.grad, add=True))
                elif given_away or step.inputs.count(value) > 1:  # x + x would add to what it still reads
                    target, _ = self._contribute(value, time)
                    step.after_backward.append(Transfer(grad, target, add=False))
                else:
                    value.grad = Slot(value.memory, grad.dtype, grad.block)
                    given_away = True
            elif step.layer.in_place and value.grad is None and not given_away:
                value.grad = Slot(value.memory, grad.dtype, grad.block)
                step.grad_inputs.append(value.grad)
                given_away = True
            else:
                target, transfers = self._contribute(value, time)
                step.grad_inputs.append(target)
                step.after_backward.extend(transfers)

    def _keep_grads(self, values: Sequence[Value]) -> None:
        for value in values:
            if value.keeps_grad:
                if value.grad is None:
                    value.grad = self._slot(value.memory, self._dtype, "gradients")
                    self.zeros.append(value.grad)
                    value.grad.use(self._loss_time)
                value.grad.use(self._end)
