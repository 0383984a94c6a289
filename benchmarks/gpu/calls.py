"""Single calls at batch 1 and 8, the host's time included: a convolution with bias and ReLU, and whole networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import torch_networks
from fastconv import ops, zoo
from gpu.place import Call, Gpu
from gpu.turns import interleaved

OURS = "fastconv"
RIVALS = ("pytorch nchw", "pytorch channels-last")
TOLERANCE = 1e-4  # against PyTorch's float32, which may come from Winograd


@dataclass(frozen=True)
class Layer:
    """A convolution with bias and ReLU."""

    n: int
    c: int
    hw: int
    o: int
    k: int
    stride: int = 1

    kind = "eager layer"

    @property
    def name(self) -> str:
        return f"{self.k}x{self.k}{' s2' * (self.stride == 2)} {self.c}-{self.o} {self.hw} N={self.n}"


@dataclass(frozen=True)
class Network:
    """Inference of a model of the zoo."""

    network: str
    n: int
    small: bool = False  # with images of 8 x 8, where the network takes them

    kind = "eager network"

    @property
    def name(self) -> str:
        return f"{self.network} N={self.n}"


def cases() -> list[Layer | Network]:
    sizes = [(64, 56, 64, 3, 1), (128, 28, 128, 3, 1), (512, 7, 512, 3, 1), (64, 56, 256, 1, 1), (128, 56, 128, 3, 2)]
    layers = [Layer(n, *size) for size in sizes for n in (1, 8)]
    return [*layers, *(Network(name, n) for name in ("lenet5", "resnet20") for n in (1, 8))]


def tiny(case: Layer | Network) -> Layer | Network:
    """The same on a few numbers, for a dry run."""
    return Network(case.network, 1, True) if isinstance(case, Network) else Layer(1, 8, 6, 8, case.k, case.stride)


def _layer_lanes(gpu: Gpu, case: Layer) -> dict[str, Call]:
    torch = gpu.torch
    torch.manual_seed(0)
    x = torch.randn(case.n, case.c, case.hw, case.hw, device=gpu.device)
    w = torch.randn(case.o, case.c, case.k, case.k, device=gpu.device) / (case.c * case.k**2) ** 0.5
    b = torch.randn(case.o, device=gpu.device)
    last = torch.channels_last
    options: dict[str, Any] = {"stride": case.stride, "padding": case.k // 2}

    def rival(x: Any, w: Any) -> Call:
        functional = torch.nn.functional
        return lambda: functional.relu(functional.conv2d(x, w, b, **options))

    lasting = x.contiguous(memory_format=last), w.contiguous(memory_format=last)
    own_x, own_w, own_b = (gpu.ours(tensor) for tensor in (*lasting, b))
    return {
        OURS: lambda: ops.conv2d(own_x, own_w, own_b, **options, activation="relu"),
        "pytorch nchw": rival(x, w),
        "pytorch channels-last": rival(*lasting),
    }


def _network_lanes(gpu: Gpu, case: Network) -> dict[str, Call]:
    if gpu.cupy is None:
        raise RuntimeError(gpu.no_cupy)
    torch = gpu.torch
    small = case.small and case.network == "resnet20"
    model = zoo.resnet20((3, 8, 8)) if small else zoo.get(case.network)()
    state = model.state_dict()
    (shape,) = (node.shape for node in model.graph.inputs)
    assert shape is not None
    x = np.random.default_rng(0).standard_normal((case.n, *shape), np.float32)
    here = gpu.to_cupy(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    model.to("cuda")

    def rival(channels_last: bool) -> Call:
        module = torch_networks.build(torch, case.network, state, channels_last, gpu.device).eval()
        memory = torch.channels_last if channels_last else torch.contiguous_format
        images = torch.from_numpy(x).to(gpu.device).contiguous(memory_format=memory)
        return lambda: module(images)

    return {OURS: lambda: model(here), "pytorch nchw": rival(False), "pytorch channels-last": rival(True)}


def _host(gpu: Gpu, result: Any) -> np.ndarray:
    if hasattr(result, "get"):
        return np.asarray(result.get())
    return np.asarray(gpu.theirs(result).cpu().numpy())


def row(gpu: Gpu, case: Layer | Network, rounds: int, calls: int) -> dict[str, Any]:
    """Figures of one case; checked first."""
    found: dict[str, Any] = {"case": {"name": case.name, "kind": case.kind}, "lanes": {}}
    make: Callable[[Any, Any], dict[str, Call]] = _layer_lanes if isinstance(case, Layer) else _network_lanes
    with gpu.torch.inference_mode():
        try:
            lanes = make(gpu, case)
            expected = _host(gpu, lanes[RIVALS[0]]())
            got = _host(gpu, lanes[OURS]())
        except RuntimeError as reason:
            return {**found, "refused": f"not run: {reason}"}
        found["error"] = float(np.linalg.norm(got - expected) / max(float(np.linalg.norm(expected)), 1e-30))
        if not found["error"] < TOLERANCE:
            return {**found, "refused": f"WRONG: {found['error']:.1e} from PyTorch, not timed"}
        times = interleaved(lanes, gpu.synchronize, rounds, calls)
    found["lanes"] = {name: {**vars(s), "steady": s.steady} for name, s in times.items()}
    return found
