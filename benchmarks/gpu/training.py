"""Whole training steps of small networks: our captured step, PyTorch kernel by kernel and as a CUDA graph.

All start from the same weights and see the same batches, which lie on the GPU: channels-last, but for PyTorch's NCHW
lanes. float32 without TF32. Nobody reads a loss while the clock runs; before, all losses have to agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import torch_networks
from fastconv import nn, optim, zoo
from gpu.place import Call, Gpu
from gpu.turns import interleaved

CAPTURED, BATCH_BY_BATCH = "fastconv graph", "fastconv train_on_batch"
EAGER = ("pytorch eager nchw", "pytorch eager channels-last")
GRAPHS = ("pytorch graph nchw", "pytorch graph channels-last")
BATCHES = 4  # different ones, in turn
CHECKED_STEPS = 5  # ours is a graph from the second on, PyTorch's from the fourth
WARM = 3
LEARNING_RATE = 1e-3  # a large one lets rounding grow from step to step
TOLERANCE = 1e-3  # of a loss after steps of float32 by other algorithms


@dataclass(frozen=True)
class Step:
    """Training of a network of the zoo: SGD with momentum, cross entropy."""

    network: str
    batch: int
    small: bool = False  # with images of 8 x 8, where the network takes them

    def model(self) -> nn.Model:
        return zoo.resnet20((3, 8, 8)) if self.small and self.network == "resnet20" else zoo.get(self.network)()

    @property
    def name(self) -> str:
        return f"{self.network} N={self.batch}"


def cases() -> list[Step]:
    return [Step(network, batch) for network in ("lenet5", "keras_mnist", "resnet20") for batch in (64, 128)]


def tiny(case: Step) -> Step:
    """The same with two small images, for a dry run."""
    return Step(case.network, 2, small=True)


@dataclass
class Lane:
    """A step, and the loss of the last one."""

    step: Call
    loss: Callable[[], float]


class _Data:
    """Batches on the host, and endless turns of them as each lane wants them."""

    def __init__(self, gpu: Gpu, case: Step, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self._gpu = gpu
        self._images = [rng.standard_normal((case.batch, *shape), np.float32) for _ in range(BATCHES)]
        self._labels = [rng.integers(0, 10, case.batch) for _ in range(BATCHES)]

    def ours(self) -> Iterator[tuple[Any, Any]]:
        images = [self._gpu.to_cupy(np.ascontiguousarray(x.transpose(0, 2, 3, 1))) for x in self._images]
        labels = [self._gpu.to_cupy(y) for y in self._labels]
        return itertools.cycle([(x.transpose(0, 3, 1, 2), y) for x, y in zip(images, labels, strict=True)])

    def theirs(self, channels_last: bool) -> Iterator[tuple[Any, Any]]:
        torch, device = self._gpu.torch, self._gpu.device
        memory = torch.channels_last if channels_last else torch.contiguous_format
        images = [torch.from_numpy(x).to(device).contiguous(memory_format=memory) for x in self._images]
        return itertools.cycle(list(zip(images, [torch.from_numpy(y).to(device) for y in self._labels], strict=True)))


def _our_model(case: Step, state: dict[str, np.ndarray]) -> nn.Model:
    model = case.model()
    model.load_state_dict(state)
    model.compile(optim.SGD(LEARNING_RATE, momentum=0.9), "cross_entropy")
    return model.to("cuda")


def _captured(case: Step, state: dict[str, np.ndarray], data: _Data) -> Lane:
    step, batches = _our_model(case, state).capture(), data.ours()
    return Lane(lambda: step(*next(batches)), lambda: step.loss)


def _batch_by_batch(case: Step, state: dict[str, np.ndarray], data: _Data) -> Lane:
    """It waits for each loss."""
    model, batches, last = _our_model(case, state), data.ours(), [0.0]

    def step() -> None:
        last[0] = model.train_on_batch(*next(batches))["loss"]

    return Lane(step, lambda: last[0])


class _Theirs:
    """PyTorch's network and the parts of a step."""

    def __init__(self, gpu: Gpu, case: Step, state: dict[str, np.ndarray], channels_last: bool) -> None:
        self.torch = gpu.torch
        self.model = torch_networks.build(gpu.torch, case.network, state, channels_last, gpu.device).train()
        self.optimizer = gpu.torch.optim.SGD(self.model.parameters(), LEARNING_RATE, momentum=0.9)
        self.last: Any = None

    def step(self, x: Any, y: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.last = loss.detach()

    def loss(self) -> float:
        return float(self.last)


def _eager(gpu: Gpu, case: Step, state: dict[str, np.ndarray], data: _Data, channels_last: bool) -> Lane:
    theirs, batches = _Theirs(gpu, case, state, channels_last), data.theirs(channels_last)
    return Lane(lambda: theirs.step(*next(batches)), theirs.loss)


def _graph(gpu: Gpu, case: Step, state: dict[str, np.ndarray], data: _Data, channels_last: bool) -> Lane:
    """The first steps run kernel by kernel, as PyTorch wants it, then one is captured."""
    theirs, batches = _Theirs(gpu, case, state, channels_last), data.theirs(channels_last)
    x, y = (tensor.clone() for tensor in next(data.theirs(channels_last)))
    replay: list[Call] = []
    done = itertools.count(1)

    def step() -> None:
        for into, tensor in zip((x, y), next(batches), strict=True):
            into.copy_(tensor)
        if not replay and next(done) <= WARM:
            with gpu.aside():
                theirs.step(x, y)
            return
        if not replay:
            replay.append(gpu.capture(lambda: theirs.step(x, y)))
        replay[0]()

    return Lane(step, theirs.loss)


def lanes(gpu: Gpu, case: Step) -> tuple[dict[str, Lane], dict[str, str]]:
    """The lanes that there are, and why others are missing."""
    model = case.model()
    state = {name: array.copy() for name, array in model.state_dict().items()}
    (shape,) = (node.shape for node in model.graph.inputs)
    assert shape is not None
    data = _Data(gpu, case, shape)
    makers: dict[str, Callable[[], Lane]] = {
        CAPTURED: lambda: _captured(case, state, data),
        BATCH_BY_BATCH: lambda: _batch_by_batch(case, state, data),
    }
    for make, names in ((_eager, EAGER), (_graph, GRAPHS)):
        for name, channels_last in zip(names, (False, True), strict=True):
            makers[name] = lambda make=make, last=channels_last: make(gpu, case, state, data, last)  # type: ignore[misc]
    found: dict[str, Lane] = {}
    missing: dict[str, str] = {}
    for name, maker in makers.items():
        if name in (CAPTURED, BATCH_BY_BATCH) and gpu.cupy is None:
            missing[name] = gpu.no_cupy
            continue
        try:
            found[name] = maker()
        except RuntimeError as error:
            missing[name] = str(error).partition("\n")[0]
    return found, missing


def losses(found: dict[str, Lane], missing: dict[str, str]) -> dict[str, list[float]]:
    """The losses of the first steps of each lane; a lane that fails is moved to `missing`."""
    values: dict[str, list[float]] = {}
    for name, lane in list(found.items()):
        try:
            values[name] = [(lane.step(), lane.loss())[1] for _ in range(CHECKED_STEPS)]
        except RuntimeError as error:
            missing[name] = str(error).partition("\n")[0]
            del found[name]
    return values


def disagreement(values: dict[str, list[float]]) -> str | None:
    """Say which lane computes other losses than PyTorch kernel by kernel; None: they agree."""
    expected = values.get(EAGER[0], [])
    for name, found in values.items():
        if expected and not np.allclose(found, expected, rtol=TOLERANCE, atol=0):
            return f"WRONG: losses of {name} are {found}, of {EAGER[0]} {expected}; not timed"
    return None


def row(gpu: Gpu, case: Step, rounds: int, steps: int) -> dict[str, Any]:
    """Figures of one case; losses are compared first."""
    cudnn = gpu.torch.backends.cudnn
    cudnn.allow_tf32 = gpu.torch.backends.cuda.matmul.allow_tf32 = False
    found, missing = lanes(gpu, case)
    values = losses(found, missing)
    result: dict[str, Any] = {"case": {"name": case.name}, "losses": values, "missing": missing, "lanes": {}}
    wrong = disagreement(values)
    if wrong:
        return {**result, "refused": wrong}
    times = interleaved({name: lane.step for name, lane in found.items()}, gpu.synchronize, rounds, steps)
    result["lanes"] = {name: {**vars(s), "steady": s.steady} for name, s in times.items()}
    return result
