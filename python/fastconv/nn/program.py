"""Program: a graph for one input shape and one mode, as flat lists of calls on views of an arena.

Made in two parts: everything that needs no memory (shapes, fusion, lifetimes, offsets), so that `plan()` can tell the
bytes beforehand; then `bind`, which makes each view and each call once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv.losses import Loss
from fastconv.nn.activation import Softmax
from fastconv.nn.arena import place
from fastconv.nn.device import CPU, Device
from fastconv.nn.frame import Call, Shape
from fastconv.nn.graph import Graph, Node
from fastconv.nn.parameter import Parameter
from fastconv.nn.schedule import LossSite, Schedule
from fastconv.nn.steps import Mode, Transfer, Value, fuse, lower

Losses: TypeAlias = Sequence[Loss | None]  # one place for each output; none at all: outputs only


class Program:
    """What the engine runs.

    Use: `bind` once, then for each batch `load`, `run`, and read `outputs`, `value_of`, `grad_of`.
    """

    def __init__(
        self,
        graph: Graph,
        input_shapes: Sequence[Shape],
        dtype: np.dtype[Any],
        mode: Mode,
        losses: Losses,
        generator: np.random.Generator,
        device: Device = CPU,
    ) -> None:
        self.mode = mode
        self.device = device
        loss_nodes = [loss_node(node, loss) for node, loss in zip(graph.outputs, losses, strict=bool(losses))]
        kept = {*graph.outputs, *mode.keep, *mode.seeds, *(node for node in loss_nodes if node is not None)}
        steps, self._values = lower(graph, input_shapes, dtype, mode, kept, generator, device)
        self.steps = fuse(steps)
        self._sites = [
            LossSite(loss, self._values[node])
            for node, loss in zip(loss_nodes, losses, strict=True)
            if node is not None and loss is not None
        ]
        self._weights = mode.loss_weights or (1.0,) * len(self._sites)
        self._seeds = {node: LossSite(None, self._values[node]) for node in mode.seeds}
        self._inputs = [self._values[node] for node in graph.inputs]
        self._outputs = [self._values[node] for node in graph.outputs]
        sites = [*self._sites, *self._seeds.values()]
        self.schedule = Schedule(self._inputs, self.steps, sites, dtype, mode.with_backward, device)
        self.arena_bytes = place(self.schedule.blocks)
        self.parameters = [parameter for layer in graph.layers for parameter in layer.parameters().values()]
        self._storage: list[Array] = []
        self.arena: NDArray[np.uint8] | None = None

    @property
    def scratch_bytes(self) -> int:
        """The most that a kernel or a loss borrows while it runs; weights that are packed ahead are not borrowed."""
        losses = [(site.loss, site.value.shape) for site in self._sites if site.loss is not None]
        found = [loss.kernel_bytes_on(self.device, shape) for loss, shape in losses]
        costs = [step.kernel_bytes for step in self.steps]
        steps = [scratch - (0 if self.mode.with_backward else packed) for scratch, packed in costs]
        return max([0, *(-(-nbytes // 64) * 64 for nbytes in found), *steps])

    # Binding

    def is_bound_to(self, arena: NDArray[np.uint8]) -> bool:
        """Return whether the views lie in this arena and the parameters' memory is the same still."""
        return self.arena is arena and all(
            parameter.data is storage for parameter, storage in zip(self.parameters, self._storage, strict=True)
        )

    def bind(self, arena: NDArray[np.uint8]) -> None:
        """Make all views and calls.

        Scratch is reserved at once. Were it to grow from layer to layer, malloc would keep much of what is given back:
        the first prediction of a ResNet-18 then took 14 MB more.
        """
        if self.mode.with_parameters:
            self.device.reserve_scratch(self.scratch_bytes)
        self.arena = arena
        self._storage = [parameter.data for parameter in self.parameters]
        self._check_devices()
        self._forward: list[Call] = []
        for step in self.steps:
            frame = step.frame
            frame.inputs = [value.slot.array(arena) for value in step.inputs]
            frame.output = step.output.slot.array(arena)
            frame.buffers = {name: slot.array(arena) for name, slot in step.buffers.items()}
            if not step.layer.is_view(frame):
                self._forward += step.layer.forward_calls(frame)
        self._losses = [
            self._bind_loss(site, weight, arena) for site, weight in zip(self._sites, self._weights, strict=True)
        ]
        self._backward = self._bind_backward(arena) if self.mode.with_backward else []
        self._input_arrays = [value.slot.array(arena) for value in self._inputs]
        self._targets = [site.target.array(arena) for site in self._sites]
        self._make_staging()
        self.outputs = [_channels_first(value, value.slot.array(arena)) for value in self._outputs]

    def _check_devices(self) -> None:
        for parameter in self.parameters:
            if parameter.device.name != self.device.name:
                raise RuntimeError(
                    f"Model: parameter {parameter.name!r} lies on {parameter.device.name} and the model on "
                    f"{self.device.name}; a layer of two models moves with the last `to`"
                )

    def _make_staging(self) -> None:
        """What a batch is written to by the host: on the CPU the places themselves."""
        places = [*self._input_arrays, *self._targets]
        sets = 2 if self.mode.training and self.device.on_gpu else 1  # one is sent while the next is written
        self._hosts = [[self.device.staging(array) for array in places] for _ in range(sets)]
        self._now = 0  # the set that is written
        self._uploads = self.device.uploads([list(zip(places, hosts, strict=True)) for hosts in self._hosts])
        self._fed: list[tuple[Any, Any]] = []  # what lies on the GPU already
        self._seed_hosts: dict[Node, Array] = {}

    def _bind_loss(self, site: LossSite, weight: float, arena: NDArray[np.uint8]) -> Callable[[], Any]:
        assert site.loss is not None
        buffers = {name: slot.array(arena) for name, slot in site.buffers.items()}
        grad = None if site.grad is None else site.grad.array(arena)
        arrays = site.value.slot.array(arena), site.target.array(arena), buffers, grad
        if self.device.on_gpu:
            return site.loss.bind_on(self.device, *arrays, weight)
        loss = site.loss.bind(*arrays)
        if weight == 1:
            return loss

        def weighted() -> float:
            value = loss()
            if grad is not None:
                np.multiply(grad, weight, out=grad)
            return value

        return weighted

    def _bind_backward(self, arena: NDArray[np.uint8]) -> list[Call]:
        sites = [*self._sites, *self._seeds.values()]
        bind = self.device.bind
        calls: list[Call] = [_transfer(bind, item, arena) for site in sites for item in site.after]
        calls += [bind.fill(slot.array(arena), 0) for slot in self.schedule.zeros]
        written: set[Parameter] = set()
        for step in reversed(self.steps):
            if step.grad_output is None:
                continue
            frame = step.frame
            frame.written = written
            frame.grad_output = step.grad_output.array(arena)
            frame.grad_inputs = [None if slot is None else slot.array(arena) for slot in step.grad_inputs]
            calls += [_transfer(bind, item, arena) for item in step.before_backward]
            if not step.shares_grad:
                calls += step.layer.backward_calls(frame)
            calls += [_transfer(bind, item, arena) for item in step.after_backward]
        if not self.mode.with_parameters:
            return calls
        unreached = [parameter for parameter in self.parameters if parameter.trainable and parameter not in written]
        return calls + [bind.fill(parameter.gradient(), 0) for parameter in unreached]

    # Running

    def load(self, arrays: Sequence[Any], layout: str) -> None:
        """Copy a batch in, cast to the parameters' dtype and laid out channels-last, in one pass.

        Views of arrays on the GPU are noted, for `upload`.
        """
        self._fed = []
        if arrays and not isinstance(arrays[0], np.ndarray):
            self._fed = list(zip(self._input_arrays, arrays, strict=True))
            return
        if self._uploads is not None:
            self._now = self._uploads.wait()
        for inside, array in zip(self._hosts[self._now][: len(arrays)], arrays, strict=True):
            if layout == "NHWC" or array.ndim != 4:
                np.copyto(inside, array, casting="unsafe")
            elif array.dtype == inside.dtype and arguments.is_contiguous(array):
                _core.nchw_to_nhwc(array, inside)
            else:
                np.copyto(np.moveaxis(inside, -1, 1), array, casting="unsafe")

    def load_targets(self, targets: Sequence[Any], layout: str) -> None:
        """Check and copy the losses' targets, one for each output that has a loss."""
        hosts = self._hosts[self._now][len(self._inputs) :]
        for site, inside, into, target in zip(self._sites, self._targets, hosts, targets, strict=True):
            assert site.loss is not None
            if self._fed:
                self._fed.append((inside, site.loss.target_on_gpu(target, site.value.shape, layout)))
                continue
            site.loss.load_target(target, site.value.shape, into, layout)
            if self.device.on_gpu:
                site.loss.check_target(into, site.value.shape)

    def upload(self) -> None:
        """Send what was loaded to where it is read; nothing to do on the CPU."""
        if self._fed:
            self.device.feed(self._fed)
            self._fed = []
        elif self._uploads is not None:
            self._uploads()

    def forward(self) -> None:
        for call in self._forward:
            call()

    def losses(self) -> list[Any]:
        """Return the losses, without their weights; with backward this also writes the first gradients.

        On a GPU they are arrays of one number there, which the next run of the program overwrites.
        """
        return [loss() for loss in self._losses]

    @property
    def draws(self) -> bool:
        """Whether a layer draws random numbers."""
        return self.mode.training and any(step.layer.draws for step in self.steps)

    def train(self, optimizer: Any, parameters: Sequence[Parameter]) -> list[Any]:
        """Put all kernels of a step on a GPU's stream, and nothing else: what a graph captures."""
        self.forward()
        found = self.losses()
        self.backward()
        optimizer.apply(parameters)
        return found

    def output_of(self, place: int) -> Array:
        """Return an output, for metrics: a view on the CPU."""
        found: Array = self.device.host(self.outputs[place])
        return found

    def backward(self) -> None:
        for call in self._backward:
            call()

    # Reading

    def targets_on_host(self, layout: str) -> list[NDArray[Any]]:
        """Return copies of the targets, for metrics, where a batch lay on the GPU."""
        found = [self.device.host(target) for target in self._targets]
        images = [target.ndim == 4 and layout == "NCHW" for target in found]
        return [np.moveaxis(t, -1, 1) if image else t for t, image in zip(found, images, strict=True)]

    def results_on_gpu(self, layout: str) -> tuple[Any, ...]:
        """Return new arrays on the GPU with the outputs; 4-D ones lie channels-last."""
        found = [self.device.result(output) for output in self.outputs]
        return tuple(one.transpose(0, 2, 3, 1) if _turns(one, layout) else one for one in found)

    def results(self, layout: str) -> tuple[Array, ...]:
        """Return new arrays with the outputs, 4-D ones in the given layout."""
        found: list[Array] = []
        for value, output in zip(self._outputs, self.outputs, strict=True):
            if self.device.on_gpu:
                host = self.device.host(output)
                found.append(np.ascontiguousarray(np.moveaxis(host, 1, -1)) if _turns(output, layout) else host)
            elif output.ndim == 4 and layout == "NCHW":
                found.append(np.empty(value.shape, output.dtype))
                _core.nhwc_to_nchw(np.moveaxis(output, 1, -1), found[-1])
            else:
                found.append((np.moveaxis(output, 1, -1) if output.ndim == 4 else output).copy())
        return tuple(found)

    def value_of(self, node: Node) -> Array:
        """Return what a node computed, a view on the CPU; the node is an output or among `mode.keep`."""
        assert self.arena is not None
        value = self._values[node]
        found: Array = self.device.host(_channels_first(value, value.slot.array(self.arena)))
        return found

    def seed_of(self, node: Node) -> Array | None:
        """Return an array to write the gradient of a node among `mode.seeds` into; None where nobody wants it.

        `send_seeds` follows.
        """
        site = self._seeds[node]
        assert self.arena is not None
        if site.grad is None:
            return None
        found: Array = self.device.host(_channels_first(site.value, site.grad.array(self.arena)))
        self._seed_hosts[node] = found
        return found

    def send_seeds(self) -> None:
        """Bring the seeds to where backward reads them; on the CPU they were written there."""
        assert self.arena is not None
        for node, host in self._seed_hosts.items() if self.device.on_gpu else ():
            site = self._seeds[node]
            assert site.grad is not None
            self.device.put(_channels_first(site.value, site.grad.array(self.arena)), host)

    def grad_of(self, node: Node) -> Array:
        """Return a view of a gradient among `mode.keep_grad`."""
        value = self._values[node]
        assert self.arena is not None
        assert value.grad is not None
        found: Array = self.device.host(_channels_first(value, value.grad.array(self.arena)))
        return found


def loss_node(output: Node, loss: Loss | None) -> Node | None:
    """Where the loss of an output is taken: before the Softmax or Sigmoid that a cross entropy has in itself."""
    if loss is None:
        return None
    layer = output.layer
    if loss.from_logits and layer is not None and loss.logits_of == layer.activation:
        raise ValueError(
            f"{loss.name}: takes the values before a {layer.activation}, and {layer.label} applies it itself; write "
            f"{layer.activation.capitalize()}() as a layer of its own behind it"
        )
    of_classes = not isinstance(layer, Softmax) or layer.axis == 1
    if loss.from_logits and layer is not None and loss.logits_of == layer.kind and of_classes:
        return output.inputs[0]
    return output


def _turns(output: Array, layout: str) -> bool:
    return output.ndim == 4 and layout == "NHWC"


def _channels_first(value: Value, array: Array) -> Array:
    return array.transpose(0, 3, 1, 2) if len(value.shape) == 4 else array


def _transfer(bind: Any, item: Transfer, arena: NDArray[np.uint8]) -> Call:
    source, target = item.source.array(arena).reshape(-1), item.target.array(arena).reshape(-1)
    if item.add:
        return bind.add(source, target, target)  # type: ignore[no-any-return]
    return bind.copy(target, source)  # type: ignore[no-any-return]
