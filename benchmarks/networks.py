"""Run every network of the zoo at its real input size, and hold its memory against the plan: `benchmarks/networks.py`.

Each network runs in processes of its own, once for inference and once for training (one step of SGD with momentum). The
peak is what the process held at most during three steps beyond what it held before the model was made, without the
batch itself; making the model is not counted, as drawing start values takes memory of its own. Linux only: the kernel
is asked for the peak. Batches are of one sample, or of 64 where samples are small: what Python takes for a network's
layers, half a MB, would be more than the network otherwise.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import nn, optim, zoo

NETWORKS: dict[str, tuple[Callable[[], nn.Model], str]] = {
    name: (zoo.get(name), "cross_entropy") for name in zoo.CLASSIFIERS if name != "digits_cnn"
} | {
    "convnet": (lambda: zoo.convnet(2, 3, 1, (3, 32, 32)), "cross_entropy"),
    "go_policy": (zoo.go_policy, "cross_entropy"),
    "unet": (lambda: zoo.unet((3, 256, 256), 4, width=32, depth=4), "cross_entropy"),
    "denoising_unet": (zoo.denoising_unet, "mse"),
}

LARGEST_SMALL = 3 * 32 * 32  # numbers in a sample


def resident(key: str) -> int:
    """Return VmRSS (held now) or VmHWM (the most so far) of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def inputs_of(model: nn.Model, batch: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((batch, *(node.shape or ())), np.float32) for node in model.graph.inputs)


def targets_of(model: nn.Model, batch: int, loss: str) -> np.ndarray:
    shape = (batch, *(model.graph.outputs[0].shape or ()))
    if loss == "mse":
        return np.zeros(shape, np.float32)
    return np.zeros((shape[0], *shape[2:]), np.int64)


def measure(name: str, batch: int | None, training: bool) -> dict[str, Any]:
    """Run one network in this process."""
    build, loss = NETWORKS[name]
    warm = zoo.digits_cnn()  # threads and libraries are there before the count begins
    warm.compile("sgd", "cross_entropy")
    warm.train_on_batch(np.zeros((32, 1, 8, 8), np.float32), np.zeros(32, np.int64))
    del warm
    gc.collect()
    before = resident("VmRSS")
    model = build()
    if batch is None:
        batch = 64 if np.prod(model.graph.inputs[0].shape or ()) <= LARGEST_SMALL else 1
    x = inputs_of(model, batch)
    batch_bytes = sum(array.nbytes for array in x)
    if training:
        model.compile(optim.SGD(0.001, momentum=0.9), loss)
        y = targets_of(model, batch, loss)
        batch_bytes += y.nbytes
    plan = model.plan(batch, training=training)
    gc.collect()
    forget_peak()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        if training:
            model.train_on_batch(x if len(x) > 1 else x[0], y)
        else:
            model.predict_on_batch(x if len(x) > 1 else x[0])
        times.append(time.perf_counter() - start)
    peak = resident("VmHWM") - before - batch_bytes
    return {
        "network": name,
        "batch": batch,
        "training": training,
        "parameters": sum(parameter.size for parameter in model.parameters()),
        "plan_bytes": plan.total,
        "peak_bytes": peak,
        "time_s": min(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--batch", type=int, metavar="N", help="samples in a batch (1, or 64 of small images)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--child", choices=("inference", "training"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.networks[0], options.batch, options.child == "training")))
        return
    print(
        f"{'network':<16} {'':<10} {'parameters':>12} {'batch':>5} {'plan MB':>9} {'peak MB':>9} {'peak/plan':>9} "
        f"{'ms':>9}"
    )
    results = []
    for name in options.networks or NETWORKS:
        for mode in ("inference", "training"):
            words = [sys.executable, __file__, name, "--child", mode]
            words += [] if options.batch is None else ["--batch", str(options.batch)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}, {mode}: {done.stderr.strip().splitlines()[-1]}")
            result = json.loads(done.stdout)
            results.append(result)
            plan, peak = result["plan_bytes"], result["peak_bytes"]
            print(
                f"{name:<16} {mode:<10} {result['parameters']:>12,} {result['batch']:>5} {plan / 1e6:>9.1f} "
                f"{peak / 1e6:>9.1f} {peak / plan:>9.3f} {1e3 * result['time_s']:>9.1f}",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
