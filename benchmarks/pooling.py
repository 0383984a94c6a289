"""Measure pooling, ReLU and addition, which are bound by memory: `python benchmarks/pooling.py`.

Every result is checked against PyTorch's before it is timed, where PyTorch is installed. Columns: median time and its
spread, GB/s of the bytes that the pass must read and write, the share of the rate of a copy of as many bytes on as many
threads (plain or streamed past the caches, whichever is faster, in turns with the pass), and how many times faster than
PyTorch in either layout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastconv
import timing
from fastconv import _core

Array: TypeAlias = NDArray[Any]
Call: TypeAlias = Callable[[], Any]
Shape: TypeAlias = tuple[int, int, int, int]

SHAPES: dict[str, Shape] = {
    "huge": (64, 64, 112, 112),  # results beyond the cache, too
    "large": (16, 64, 112, 112),
    "one": (1, 64, 112, 112),
    "middle": (8, 64, 28, 28),
    "small": (8, 256, 14, 14),
}
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass(frozen=True)
class Window:
    """A pooling window; 0 is the whole image."""

    kernel: int
    stride: int
    padding: int = 0

    def of(self, shape: Shape) -> _core.Pool2dShape:
        kernel = (self.kernel, self.kernel) if self.kernel else shape[2:]
        stride = (self.stride, self.stride) if self.kernel else kernel
        p = (self.padding, self.padding)
        return _core.Pool2dShape(shape, kernel, stride, (p, p), (1, 1), False)

    @property
    def options(self) -> tuple[int, int, int]:
        return self.kernel, self.stride, self.padding


WINDOWS = {
    "2x2": Window(2, 2),
    "3x3s2p1": Window(3, 2, 1),
    "3x3s1p1": Window(3, 1, 1),
    "3x3s3": Window(3, 3),
    "global": Window(0, 0),
}


@dataclass(frozen=True)
class Case:
    """One pass: `ours` by layout, the bytes it must move, and rivals with what they return."""

    name: str
    nbytes: int
    ours: dict[str, Call]
    results: dict[str, Array]  # what ours writes, in memory order
    rivals: dict[str, Call]


def lay_out(array: Array, layout: str) -> Array:
    return array if layout == "NCHW" else aligned(np.moveaxis(array, 1, 3))


def aligned(array: Array) -> Array:
    """A copy that begins on a cache line, as a model's arrays do."""
    copy: Array = _core.empty_aligned(array.size * array.itemsize).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def tensors(array: Array) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {}
    tensor = torch.from_numpy(array.copy())
    return {"torch": tensor, "torch channels_last": tensor.contiguous(memory_format=torch.channels_last)}


def max_cases(name: str, window: Window, x: Array, layouts: list[str], with_torch: bool) -> Iterator[Case]:
    shape = window.of(x.shape)
    n, c, oh, ow = shape.output_shape
    rng = np.random.default_rng(1)
    grad = aligned(rng.standard_normal((n, c, oh, ow)).astype(x.dtype))
    forward: dict[str, Call] = {}
    indexed: dict[str, Call] = {}
    backward: dict[str, Call] = {}
    outputs: dict[str, Array] = {}
    gradients: dict[str, Array] = {}
    for layout in layouts:
        given, g = lay_out(x, layout), lay_out(grad, layout)
        y, gx = aligned(np.zeros_like(g)), aligned(np.zeros_like(given))
        where = aligned(np.zeros(g.shape, np.int32))
        forward[layout] = bind(_core.max_pool2d_forward, shape, given, y, None, layout=layout)
        indexed[layout] = bind(_core.max_pool2d_forward, shape, given, y, where, layout=layout)
        indexed[layout]()
        backward[layout] = bind(_core.max_pool2d_backward, shape, g, where, gx, layout=layout)
        outputs[layout], gradients[layout] = y, gx
    plain: dict[str, Call] = {}
    rival: dict[str, Call] = {}
    back: dict[str, Call] = {}
    if with_torch:
        import torch

        aten, (k, s, p) = torch.ops.aten, window.options
        for label, t in tensors(x).items():
            g = tensors(grad)[label]
            plain[label] = bind(torch.nn.functional.max_pool2d, t, k, s, p)
            rival[label] = bind(torch.nn.functional.max_pool2d, t, k, s, p, return_indices=True)
            places = rival[label]()[1]
            pairs = [[v, v] for v in (k, s, p)]
            back[label] = bind(aten.max_pool2d_with_indices_backward, g, t, *pairs, [1, 1], False, places)
    moved, index_bytes = x.nbytes + grad.nbytes, grad.size * 4
    yield Case(f"max {name} forward", moved, forward, outputs, plain)
    yield Case(f"max {name} forward+indices", moved + index_bytes, indexed, outputs, rival)
    yield Case(f"max {name} backward", moved + index_bytes, backward, gradients, back)


def avg_cases(name: str, window: Window, x: Array, layouts: list[str], with_torch: bool) -> Iterator[Case]:
    shape = window.of(x.shape)
    grad = aligned(np.random.default_rng(1).standard_normal(shape.output_shape).astype(x.dtype))
    forward: dict[str, Call] = {}
    backward: dict[str, Call] = {}
    outputs: dict[str, Array] = {}
    gradients: dict[str, Array] = {}
    for layout in layouts:
        given, g = lay_out(x, layout), lay_out(grad, layout)
        y, gx = aligned(np.zeros_like(g)), aligned(np.zeros_like(given))
        forward[layout] = bind(_core.avg_pool2d_forward, shape, given, y, layout=layout)
        backward[layout] = bind(_core.avg_pool2d_backward, shape, g, gx, layout=layout)
        outputs[layout], gradients[layout] = y, gx
    rival: dict[str, Call] = {}
    back: dict[str, Call] = {}
    if with_torch:
        import torch

        aten, (k, s, p) = torch.ops.aten, window.options
        for label, t in tensors(x).items():
            g = tensors(grad)[label]
            if window.kernel == 0:
                rival[label] = bind(torch.nn.functional.adaptive_avg_pool2d, t, 1)
                back[label] = bind(aten._adaptive_avg_pool2d_backward, g, t)
            else:
                rival[label] = bind(torch.nn.functional.avg_pool2d, t, k, s, p)
                back[label] = bind(aten.avg_pool2d_backward, g, t, [k, k], [s, s], [p, p], False, True, None)
    moved = x.nbytes + grad.nbytes
    yield Case(f"avg {name} forward", moved, forward, outputs, rival)
    yield Case(f"avg {name} backward", moved, backward, gradients, back)


def elementwise_cases(x: Array, with_torch: bool) -> Iterator[Case]:
    """Layouts make no difference to these."""
    other = aligned(np.random.default_rng(1).standard_normal(x.shape).astype(x.dtype))
    y, gx, total = (aligned(np.zeros_like(x)) for _ in range(3))
    relu, add = bind(_core.relu_forward, x, y), bind(_core.add, x, other, total)
    relu()
    back = bind(_core.relu_backward, other, y, gx)
    rivals: list[dict[str, Call]] = [{}, {}, {}]
    if with_torch:
        import torch

        for label, t in tensors(x).items():
            o, positive = tensors(other)[label], torch.relu(t)
            rivals[0][label] = bind(torch.relu, t)
            rivals[1][label] = bind(torch.ops.aten.threshold_backward, o, positive, 0)
            rivals[2][label] = bind(torch.add, t, o)
    yield Case("relu forward", 2 * x.nbytes, {"NCHW": relu}, {"NCHW": y}, rivals[0])
    yield Case("relu backward", 3 * x.nbytes, {"NCHW": back}, {"NCHW": gx}, rivals[1])
    yield Case("add", 3 * x.nbytes, {"NCHW": add}, {"NCHW": total}, rivals[2])


def bind(function: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    return lambda: function(*arguments, **options)


def check(case: Case) -> None:
    for label, rival in case.rivals.items():
        result = rival()
        expected = (result[0] if isinstance(result, tuple) else result).numpy()
        for layout, call in case.ours.items():
            call()
            got = case.results[layout]
            got = got if layout == "NCHW" else np.moveaxis(got, 3, 1)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, err_msg=f"{case.name} {layout} {label}")


def copies(nbytes: int) -> dict[str, Call]:
    """As many bytes as the pass moves, half of them read."""
    count = nbytes // 8
    source, target = (_core.empty_aligned(4 * count).view(np.float32) for _ in range(2))
    source.fill(1)
    target.fill(1)
    return {
        "copy": bind(_core.copy, source, target),
        "streamed copy": bind(_core.copy, source, target, stream=True),
    }


def measure(case: Case, rounds: int) -> dict[str, Any]:
    check(case)
    times = timing.interleaved({**case.ours, **copies(case.nbytes), **case.rivals}, rounds)
    copy_rate = case.nbytes / min(times["copy"].median_s, times["streamed copy"].median_s)
    return {
        "case": case.name,
        "bytes": case.nbytes,
        "copy_bytes_per_s": copy_rate,
        "times": {who: time.as_dict() for who, time in times.items()},
        "copy_share": {layout: case.nbytes / times[layout].median_s / copy_rate for layout in case.ours},
        "faster_than": {
            layout: {rival: times[rival].median_s / times[layout].median_s for rival in case.rivals}
            for layout in case.ours
        },
    }


def print_row(row: dict[str, Any]) -> None:
    for layout, share in row["copy_share"].items():
        own = row["times"][layout]
        rate = row["bytes"] / own["median_s"] / 1e9
        rivals = "  ".join(f"{who} x{ratio:.2f}" for who, ratio in row["faster_than"][layout].items())
        print(
            f"{row['case']:<30} {layout if len(row['copy_share']) > 1 else 'any ':<5} {own['median_s'] * 1e3:>9.3f} ms"
            f" ±{own['mad_s'] / own['median_s']:>4.0%} {rate:>6.1f} GB/s {share:>5.0%} of"
            f" {row['copy_bytes_per_s'] / 1e9:>5.1f}   {rivals}",
            flush=True,
        )


def cases(shape: Shape, dtype: str, layouts: list[str], with_torch: bool) -> Iterator[Case]:
    x = aligned(np.random.default_rng(0).standard_normal(shape).astype(dtype))
    for name, window in WINDOWS.items():
        if name not in ("3x3s3", "global"):
            yield from max_cases(name, window, x, layouts, with_torch)
        yield from avg_cases(name, window, x, layouts, with_torch)
    yield from elementwise_cases(x, with_torch)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES)[1:])
    parser.add_argument("--only", default="", help="parts of case names, comma-separated (default: all)")
    parser.add_argument("--layouts", nargs="+", choices=("NHWC", "NCHW"), default=["NHWC", "NCHW"])
    parser.add_argument("--threads", type=int, nargs="+", default=[fastconv.get_num_threads()])
    parser.add_argument("--isa", nargs="+", default=[fastconv.isa_active()], choices=fastconv.isa_available())
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rivals", nargs="*", choices=("torch",), default=[], help="measure these too")
    parser.add_argument(
        "--keep-memory", action="store_true", help="tell malloc to keep freed memory (glibc), for everybody"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.keep_memory and any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ) | KEEP_MEMORY)
    wanted = arguments.only.split(",")
    report: dict[str, Any] = {"info": fastconv.info().as_dict(), "arguments": vars(arguments), "runs": []}
    for isa in arguments.isa:
        fastconv.set_isa(isa)
        for threads in arguments.threads:
            fastconv.set_num_threads(threads)
            if arguments.rivals:
                import torch

                torch.set_num_threads(threads)
            for name in arguments.shapes:
                print(f"\n{'x'.join(map(str, SHAPES[name]))} {arguments.dtype}, {isa}, {threads} threads")
                rows = []
                for case in cases(SHAPES[name], arguments.dtype, arguments.layouts, bool(arguments.rivals)):
                    if any(part in case.name for part in wanted):
                        rows.append(measure(case, arguments.rounds))
                        print_row(rows[-1])
                report["runs"].append({"shape": SHAPES[name], "isa": isa, "threads": threads, "rows": rows})
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
