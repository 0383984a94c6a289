"""Measure batch normalisation with a ReLU, in training and inference: `python benchmarks/normalisation.py`.

The lines and columns are those of `benchmarks/pooling.py`. Bytes are what the passes must read and write when the array
does not stay in a cache: training reads its input twice, backward both arrays twice.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastconv
from fastconv import _core
from pooling import KEEP_MEMORY, Array, Call, Case, aligned, bind, lay_out, measure, print_row, tensors


def cases(shape: tuple[int, ...], layouts: list[str], with_torch: bool) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    x, grad = (aligned(rng.standard_normal(shape).astype(np.float32)) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(2))
    mean, var = rng.standard_normal(shape[1]).astype(np.float32), rng.uniform(1, 2, shape[1]).astype(np.float32)
    ours: list[dict[str, Call]] = [{}, {}, {}]
    results: list[dict[str, Array]] = [{}, {}, {}]
    rivals: list[dict[str, Call]] = [{}, {}, {}]
    for layout in layouts:
        given, g = lay_out(x, layout), lay_out(grad, layout)
        outputs = [aligned(np.zeros_like(given)) for _ in range(3)]
        stats, moved = np.zeros((shape[1], 2)), np.zeros((shape[1], 2))
        vectors = np.zeros((2, shape[1]), np.float32)
        options: dict[str, Any] = {"activation": "relu", "layout": layout}
        train = bind(_core.norm_forward, given, weight, bias, outputs[0], stats, **options)
        train()
        running = {"running_mean": mean, "running_var": var, "training": False}
        infer = bind(_core.norm_forward, given, weight, bias, outputs[1], moved, **running, **options)
        back = bind(_core.norm_backward, g, given, stats, weight, bias, outputs[2], *vectors, **options)
        for index, call in enumerate((train, infer, back)):
            ours[index][layout], results[index][layout] = call, outputs[index]
    if with_torch:
        import torch

        w, b, m, v = (torch.from_numpy(array.copy()) for array in (weight, bias, mean, var))
        aten = torch.ops.aten
        for label, t in tensors(x).items():
            g = tensors(grad)[label]
            y, saved_mean, saved_rstd = aten.native_batch_norm(t, w, b, None, None, True, 0.1, 1e-5)
            z = torch.relu(y)

            def forward(t: Any = t) -> Any:
                return torch.relu_(torch.nn.functional.batch_norm(t, None, None, w, b, True))

            def inference(t: Any = t) -> Any:
                return torch.relu_(torch.nn.functional.batch_norm(t, m, v, w, b, False))

            def backward(t: Any = t, g: Any = g, z: Any = z, mean: Any = saved_mean, rstd: Any = saved_rstd) -> Any:
                masked = aten.threshold_backward(g, z, 0)
                keep = [True, True, True]
                return aten.native_batch_norm_backward(masked, t, w, None, None, mean, rstd, True, 1e-5, keep)

            for index, call in enumerate((forward, inference, backward)):
                rivals[index][label] = call
    yield Case("batch norm + relu training", 3 * x.nbytes, ours[0], results[0], rivals[0])
    yield Case("batch norm + relu inference", 2 * x.nbytes, ours[1], results[1], rivals[1])
    yield Case("batch norm + relu backward", 5 * x.nbytes, ours[2], results[2], rivals[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--layouts", nargs="+", choices=("NHWC", "NCHW"), default=["NHWC", "NCHW"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rivals", nargs="*", choices=("torch",), default=[], help="measure these too")
    parser.add_argument("--keep-memory", action="store_true", help="tell malloc to keep freed memory (glibc)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.keep_memory and any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ) | KEEP_MEMORY)
    for threads in arguments.threads:
        fastconv.set_num_threads(threads)
        if arguments.rivals:
            import torch

            torch.set_num_threads(threads)
        for batch in arguments.batch:
            shape = (batch, arguments.channels, arguments.size, arguments.size)
            print(f"\n{'x'.join(map(str, shape))} float32, {fastconv.isa_active()}, {threads} threads")
            for case in cases(shape, arguments.layouts, bool(arguments.rivals)):
                print_row(measure(case, arguments.rounds))


if __name__ == "__main__":
    main()
