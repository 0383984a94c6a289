"""What a call on GPU arrays costs the host, in microseconds: everything before the kernel. It needs no GPU.

python benchmarks/gpu/host.py

Kernels are the emulator's with launches switched off. Arrays are PyTorch tensors, and CuPy arrays if CuPy is there, in
host memory, that say they lie on a GPU. So what the CUDA runtime takes is missing: a launch, and a question or two
before it. What the array library does for a call is in it, but for a stand-in's current stream, and is measured beside
it: a new array. PyTorch's calls on the CPU are a scale, and not what its calls on a GPU cost.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "python"), str(ROOT / "tests")]

import machine  # noqa: E402  # the path comes first
from fastconv import cuda, ops  # noqa: E402
from fastconv.cuda import native  # noqa: E402

IMAGES, FILTERS, VECTOR = (2, 16, 8, 8), (16, 16, 3, 3), (16,)  # PyTorch on the CPU computes next to nothing
Calls = dict[str, Callable[[], Any]]


class Tensors:
    """Of PyTorch, in host memory, passing for some on a GPU."""

    suffix = ""

    def __init__(self, torch: Any) -> None:
        self._torch, stream = torch, SimpleNamespace(cuda_stream=0)
        torch.Tensor.is_cuda = True
        torch.Tensor.get_device = lambda self: 0
        torch.cuda.current_stream = lambda device=None: stream

    def new(self, *shape: int) -> Any:
        return self._torch.randn(shape)

    def images(self, *shape: int) -> Any:
        """(N, C, H, W), channels-last in memory."""
        return self.new(*shape).to(memory_format=self._torch.channels_last)

    def nhwc(self, images: Any) -> Any:
        return images.permute(0, 2, 3, 1)


class CupyArrays:
    """Of CuPy, on memory of NumPy; what asks the driver gives way to a stand-in, whose time is not CuPy's."""

    suffix = " (CuPy)"

    def __init__(self, cupy: Any) -> None:
        self._cupy, stream = cupy, SimpleNamespace(ptr=0)
        cupy.cuda.get_current_stream = lambda device=None: stream

    def new(self, *shape: int) -> Any:
        host = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        memory = self._cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
        return self._cupy.ndarray(shape, np.float32, self._cupy.cuda.MemoryPointer(memory, 0))

    def images(self, n: int, c: int, h: int, w: int) -> Any:
        return self.new(n, h, w, c).transpose(0, 3, 1, 2)

    def nhwc(self, images: Any) -> Any:
        return images.transpose(0, 2, 3, 1)


def our_calls(of: Any) -> Calls:
    n, c, h, w = IMAGES
    x, filters, bias, y = of.images(*IMAGES), of.images(*FILTERS), of.new(*VECTOR), of.images(*IMAGES)
    pooled, rows, matrix, products = of.images(n, c, h // 2, w // 2), of.new(n, c), of.new(c, c), of.new(n, c)
    planes, planar = of.new(*IMAGES), of.new(*FILTERS)
    places: Any = None
    if not of.suffix:  # CuPy's new arrays need a GPU
        places = ops.max_pool2d(x, 2, return_indices=True)[1]
    x1, filters1, y1 = of.nhwc(x), of.nhwc(filters), of.nhwc(y)
    fused: dict[str, Any] = {"padding": 1, "activation": "relu"}
    calls: Calls = {
        "ops.conv2d, bias, ReLU": lambda: ops.conv2d(x, filters, bias, **fused),
        "cuda.conv2d, bias, ReLU": lambda: cuda.conv2d(x1, filters1, bias, **fused),
        "ops.max_pool2d": lambda: ops.max_pool2d(x, 2),
        "ops.relu": lambda: ops.relu(x),
        "ops.linear, bias": lambda: ops.linear(rows, matrix, bias),
        "ops.conv2d of NCHW memory, bias, ReLU": lambda: ops.conv2d(planes, planar, bias, **fused),
        "ops.conv2d_backward_input": lambda: ops.conv2d_backward_input(IMAGES, filters, y, padding=1),
        "ops.conv2d_backward_weight": lambda: ops.conv2d_backward_weight(x, FILTERS, y, padding=1),
        "ops.conv2d_backward_bias": lambda: ops.conv2d_backward_bias(y),
        "ops.max_pool2d_backward": lambda: ops.max_pool2d_backward(pooled, places, IMAGES, 2),
        "ops.conv2d, bias, ReLU, out": lambda: ops.conv2d(x, filters, bias, **fused, out=y),
        "cuda.conv2d, bias, ReLU, out": lambda: cuda.conv2d(x1, filters1, bias, **fused, out=y1),
        "ops.max_pool2d, out": lambda: ops.max_pool2d(x, 2, out=pooled),
        "ops.relu, out": lambda: ops.relu(x, out=y),
        "ops.linear, bias, out": lambda: ops.linear(rows, matrix, bias, out=products),
    }
    return {name + of.suffix: call for name, call in calls.items() if not of.suffix or name.endswith("out")}


def torch_calls(torch: Any) -> Calls:
    """What PyTorch does by itself, on the CPU."""
    functional = torch.nn.functional
    x, filters, bias = torch.randn(IMAGES), torch.randn(FILTERS), torch.randn(VECTOR)
    matrix, rows, like = torch.randn(16, 16), torch.randn(2, 16), {"dtype": x.dtype, "device": x.device}
    return {
        "a new tensor": lambda: torch.empty(IMAGES, **like),
        "PyTorch on the CPU: conv2d, bias, then relu_": lambda: functional.conv2d(x, filters, bias, padding=1).relu_(),
        "PyTorch on the CPU: max_pool2d": lambda: functional.max_pool2d(x, 2),
        "PyTorch on the CPU: relu": lambda: functional.relu(x),
        "PyTorch on the CPU: linear": lambda: functional.linear(rows, matrix, bias),
    }


def microseconds(calls: Calls, rounds: int, loop: int) -> Iterator[tuple[str, float, float]]:
    """Name, median and least of the rounds; the calls take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            begin = time.perf_counter()
            for _ in range(loop):
                call()
            found[name].append((time.perf_counter() - begin) / loop * 1e6)
    for name, times in found.items():
        yield name, statistics.median(times), min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--loop", type=int, default=1000, help="calls in a round")
    arguments = parser.parse_args()
    torch, builder = importlib.import_module("torch"), importlib.import_module("cuda_emulator")
    emulator = builder.load(builder.build(timed=True))
    emulator.set_emulation(late_landing=False, backwards=False, launches=False)
    native.use(emulator)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    calls = torch_calls(torch) | our_calls(Tensors(torch))
    try:
        calls |= our_calls(CupyArrays(importlib.import_module("cupy")))
    except ImportError:
        print("CuPy is not installed")
    facts = machine.facts()
    print(f"{facts['cpu']}, commit {facts['commit']}, Python {sys.version.split()[0]}, PyTorch {torch.__version__}")
    print(f"{'microseconds a call':48} median   least")
    for name, median, least in microseconds(calls, arguments.rounds, arguments.loop):
        print(f"{name:48} {median:6.2f}  {least:6.2f}")


if __name__ == "__main__":
    main()
