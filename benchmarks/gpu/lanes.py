"""What is timed: graphs of calls on rotating arrays, ours and cuDNN's through PyTorch, in turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastconv import ops
from gpu.layers import Case
from gpu.place import Call, Gpu
from gpu.rotation import Rotation, Summary, orders, summary


def arrays(gpu: Gpu, case: Case, channels_last: bool, seed: int) -> dict[str, Any]:
    """Random normal values, since zeros flatter; weights scaled so that results stay near 1."""
    torch = gpu.torch
    torch.manual_seed(seed)
    images = (case.n, case.c, case.hw, case.hw), (case.n, case.o, case.out_hw, case.out_hw)
    found = {name: torch.randn(shape, device=gpu.device) for name, shape in zip(("x", "gy"), images, strict=True)}
    weight = (case.o, case.c // case.groups, case.k, case.k)
    found["w"] = torch.randn(weight, device=gpu.device) / (case.c // case.groups * case.k**2) ** 0.5
    if channels_last:
        found = {name: a.contiguous(memory_format=torch.channels_last) for name, a in found.items()}
    if case.short:
        found = {name: a.to(getattr(torch, case.precision)) for name, a in found.items()}
    return found


def ours(gpu: Gpu, case: Case, tensors: Mapping[str, Any]) -> Call:
    """Our call with its result allocated beforehand."""
    geometry: dict[str, Any] = {"stride": case.stride, "padding": case.padding, "groups": case.groups}
    geometry["precision"] = None if case.short else case.precision
    window: dict[str, Any] = {"kernel_size": case.k, "stride": case.stride, "padding": case.padding}
    a = {name: gpu.ours(tensor) for name, tensor in tensors.items()}
    x_like, y_like, w_like = (gpu.ours(gpu.torch.empty_like(tensors[name])) for name in ("x", "gy", "w"))
    calls: dict[str, Call] = {
        "forward": lambda: ops.conv2d(a["x"], a["w"], **geometry, out=y_like),
        "dgrad": lambda: ops.conv2d_backward_input(a["x"].shape, a["w"], a["gy"], **geometry, out=x_like),
        "wgrad": lambda: ops.conv2d_backward_weight(a["x"], a["w"].shape, a["gy"], **geometry, out=w_like),
        "max-pool": lambda: ops.max_pool2d(a["x"], **window, out=y_like),
        "avg-pool": lambda: ops.avg_pool2d(a["x"], **window, out=y_like),
        "relu": lambda: ops.relu(a["x"], out=x_like),
    }
    return calls[case.op]


def theirs(gpu: Gpu, case: Case, a: Mapping[str, Any]) -> Call:
    """PyTorch's call of the same operation, cuDNN inside where it has one."""
    torch = gpu.torch
    functional = torch.nn.functional
    pair = [case.stride] * 2, [case.padding] * 2, [1, 1]

    def backward(mask: list[bool]) -> Call:
        return lambda: torch.ops.aten.convolution_backward(
            a["gy"], a["x"], a["w"], None, *pair, False, [0, 0], case.groups, mask
        )

    calls: dict[str, Call] = {
        "forward": lambda: functional.conv2d(a["x"], a["w"], None, case.stride, case.padding, groups=case.groups),
        "dgrad": backward([True, False, False]),
        "wgrad": backward([False, True, False]),
        "max-pool": lambda: functional.max_pool2d(a["x"], case.k, case.stride, case.padding),
        "avg-pool": lambda: functional.avg_pool2d(a["x"], case.k, case.stride, case.padding),
        "relu": lambda: functional.relu(a["x"]),
    }
    return calls[case.op]


# How a lane calls, whether its arrays lie channels-last, and whether cuDNN may only take deterministic algorithms.
LANES = {
    "fastconv": (ours, True, False),
    "cudnn channels-last": (theirs, True, False),
    "cudnn nchw": (theirs, False, False),
    "cudnn deterministic": (theirs, True, True),  # of gradients; elsewhere it is the same
}
BACKWARD = ("dgrad", "wgrad")


def first_result(call: Call) -> Any:
    """The tensor that a call made; PyTorch's gradients come as a tuple with None in it."""
    found = call()
    return next(part for part in found if part is not None) if isinstance(found, tuple) else found


def check(gpu: Gpu, case: Case) -> float:
    """The largest difference of ours to PyTorch in float64, by its norm."""
    with gpu.torch.no_grad():
        own = arrays(gpu, case, channels_last=True, seed=1)
        got = gpu.theirs(first_result(ours(gpu, case, own))).double()
        wide = {name: a.double() for name, a in own.items()}
        expected = first_result(theirs(gpu, case, wide))
        return float((got - expected).norm() / expected.norm().clamp_min(1e-30))


def graph(gpu: Gpu, calls: list[Call], repeat: int) -> Call:
    """All calls, `repeat` times over, captured behind warm-up calls on a stream of its own."""
    with gpu.aside():
        for call in [*calls[:3], *calls[:3], *calls[:3]]:
            call()
    kept: list[Any] = [None] * len(calls)  # or all results would share memory, and stay in the cache

    def run() -> None:
        for _ in range(repeat):
            for index, call in enumerate(calls):
                kept[index] = call()

    replay = gpu.capture(run)
    return lambda held=kept: replay()  # type: ignore[misc]


def measure(gpu: Gpu, case: Case, turn: Rotation, rounds: int) -> tuple[dict[str, Summary], dict[str, str]]:
    """Seconds of a call in each lane, and why a lane is missing. Lanes take turns, one replay each."""
    graphs: dict[str, Any] = {}
    refused: dict[str, str] = {}
    cudnn = gpu.torch.backends.cudnn
    cudnn.allow_tf32 = case.precision == "tf32"  # else float32 exactly
    with gpu.torch.no_grad():
        for name, (make, channels_last, deterministic) in LANES.items():
            if deterministic and case.op not in BACKWARD:
                continue
            try:
                cudnn.deterministic = deterministic
                sets = [arrays(gpu, case, channels_last, seed) for seed in range(turn.sets)]
                calls = [make(gpu, case, a) for a in sets]
                graphs[name] = sets, graph(gpu, calls, turn.calls // turn.sets)
            except RuntimeError as error:
                refused[name] = str(error).partition("\n")[0]
                gpu.synchronize()
        cudnn.allow_tf32 = cudnn.deterministic = False
        samples: dict[str, list[float]] = {name: [] for name in graphs}
        for order in orders(list(graphs), rounds):
            for name in order:
                samples[name].append(gpu.seconds(graphs[name][1]) / turn.calls)
    return {name: summary(values) for name, values in samples.items()}, refused


def ceilings(gpu: Gpu, rounds: int = 20, elements: int = 1 << 28, size: int = 8192) -> dict[str, float]:
    """What the device does at most, here and now: a copy of 1 GB, and PyTorch's matrix products."""
    torch = gpu.torch

    def seconds(call: Call) -> float:
        for _ in range(3):
            call()
        return summary([gpu.seconds(call) for _ in range(rounds)]).median_s

    def copy_rate() -> float:
        a, b = torch.randn(elements, device=gpu.device), torch.empty(elements, device=gpu.device)
        return float(2 * 4 * a.numel() / seconds(lambda: b.copy_(a)))

    result = {"copy_bytes_per_s": copy_rate()}
    work = 2 * size**3
    torch.backends.cuda.matmul.allow_tf32 = False
    x, y = (torch.randn(size, size, device=gpu.device) for _ in range(2))
    result["fp32_flops_per_s"] = work / seconds(lambda: x @ y)
    torch.backends.cuda.matmul.allow_tf32 = True
    result["tf32_flops_per_s"] = work / seconds(lambda: x @ y)
    torch.backends.cuda.matmul.allow_tf32 = False
    p, q = x.bfloat16(), y.bfloat16()
    result["bf16_flops_per_s"] = work / seconds(lambda: p @ q)
    return result
