"""Measure one training step of a small CNN, ours against PyTorch: `python benchmarks/train_step.py`.

A step is: copy the batch in, forward, loss, backward, optimiser. PyTorch runs eagerly in both its layouts, once with
malloc as it is and once with malloc told to keep freed memory (which spares it page faults), each in a process of its
own. All start from the same weights, and their losses are compared before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
import timing
import torch_networks
from contestants import KEEP_MEMORY

Step = Callable[[], float]
LEARNING_RATE = 0.01
CHECKED_STEPS = 3


def batch_of(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((size, 1, 28, 28), np.float32), rng.integers(0, 10, size)


def our_step(model: Any, size: int) -> Step:
    images, labels = batch_of(size)
    model.compile(fastconv.optim.SGD(LEARNING_RATE, momentum=0.9), "cross_entropy")
    return lambda: float(model.train_on_batch(images, labels)["loss"])


def torch_step(network: str, state: dict[str, np.ndarray], size: int, channels_last: bool) -> Step:
    import torch

    torch.set_num_threads(fastconv.get_num_threads())
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model = torch_networks.build(torch, network, state, channels_last)
    images, labels = batch_of(size)
    x = torch.from_numpy(images).contiguous(memory_format=memory)
    y = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def measure(network: str, size: int, rounds: int, rivals: bool) -> dict[str, Any]:
    """All contestants in turns, in this process."""
    model = fastconv.zoo.get(network)()
    state = {name: array.copy() for name, array in model.state_dict().items()}
    steps: dict[str, Step] = {"fastconv": our_step(model, size)}
    if rivals:
        steps["torch NCHW"] = torch_step(network, state, size, channels_last=False)
        steps["torch channels_last"] = torch_step(network, state, size, channels_last=True)
    losses = {who: [step() for _ in range(CHECKED_STEPS)] for who, step in steps.items()}
    for who, values in losses.items():
        if not np.allclose(values, losses["fastconv"], rtol=1e-4):
            raise AssertionError(f"{network}: {who} computes other losses: {values} against {losses['fastconv']}")
    times = timing.interleaved(steps, rounds, limit_s=30)
    return {who: time.as_dict() for who, time in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("keras_mnist", "lenet5"), default="keras_mnist")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, nargs="+", default=[fastconv.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-torch", action="store_true", help="measure fastconv alone")
    parser.add_argument("--here", action="store_true", help="measure in this process and print JSON (used by itself)")
    arguments = parser.parse_args()
    if arguments.here:
        fastconv.set_num_threads(arguments.threads[0])
        print(json.dumps(measure(arguments.network, arguments.batch, arguments.rounds, not arguments.no_torch)))
        return
    print(fastconv.info())
    for threads in arguments.threads:
        for memory, extra in (("malloc as it is", {}), ("malloc keeps memory", KEEP_MEMORY)):
            options = ["--network", arguments.network, "--batch", str(arguments.batch), "--threads", str(threads)]
            options += ["--rounds", str(arguments.rounds), *(["--no-torch"] if arguments.no_torch else [])]
            command = [sys.executable, __file__, "--here", *options]
            done = subprocess.run(command, env=dict(os.environ) | extra, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            times = json.loads(done.stdout)
            own = times["fastconv"]["median_s"]
            print(f"\n{arguments.network}, batch {arguments.batch}, {threads} thread{'s' * (threads > 1)}, {memory}")
            for who, time in times.items():
                spread = time["mad_s"] / time["median_s"]
                print(f"  {who:<22} {time['median_s'] * 1e3:>8.3f} ms ±{spread:>4.0%}   x{time['median_s'] / own:.2f}")


if __name__ == "__main__":
    main()
