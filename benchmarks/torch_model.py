"""Measure a PyTorch network before and after `fastconv.torch.replace`: `python benchmarks/torch_model.py --threads 2`.

Three blocks of convolution, batch norm, ReLU, convolution, ReLU and max pooling, a dense layer; 32 images of 32 x 32.
Both networks have the same weights, take turns in one process, and must agree on loss and gradients first.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from typing import Any

import torch
from torch import nn

import fastconv
import fastconv.torch as fct
import timing


def block(inputs: int, outputs: int) -> list[Any]:
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return [first, nn.BatchNorm2d(outputs), nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2)]


def forward(model: Any, images: Any) -> Any:
    with torch.no_grad():
        return model(images)


def step(model: Any, images: Any, labels: Any) -> float:
    """The loss; gradients of all parameters are behind it."""
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return float(loss.detach())


def check(theirs: Any, ours: Any, images: Any, labels: Any) -> None:
    """In float32 the loss; gradients in float64, since a rounding that turns the sign under a ReLU changes many."""
    losses = step(theirs, images, labels), step(ours, images, labels)
    exact = [copy.deepcopy(model).double() for model in (theirs, ours)]
    for model in exact:
        step(model, images.double(), labels)
    expected, got = (torch.cat([p.grad.flatten() for p in model.parameters()]) for model in exact)
    error = float((got - expected).norm() / expected.norm())
    if abs(losses[0] - losses[1]) > 1e-5 or error > 1e-10:
        raise SystemExit(f"losses {losses}, gradients differ by {error:.1e} in the 2-norm: nothing is timed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fastconv.set_num_threads(options.threads)
    for name, memory_format in (("NCHW", torch.contiguous_format), ("channels_last", torch.channels_last)):
        torch.manual_seed(0)
        theirs = nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), nn.Flatten(), nn.Linear(2048, 10))
        theirs = theirs.to(memory_format=memory_format)
        ours = fct.replace(copy.deepcopy(theirs))
        images = torch.randn(32, 3, 32, 32).to(memory_format=memory_format)
        labels = torch.randint(0, 10, (32,))
        check(theirs, ours, images, labels)
        for what, call in (
            ("forward", partial(forward, images=images)),
            ("forward and backward", partial(step, images=images, labels=labels)),
        ):
            lanes = {"PyTorch": partial(call, theirs), "replaced": partial(call, ours)}
            times = {lane: t.median_s for lane, t in timing.interleaved(lanes, options.rounds).items()}
            ratio = times["PyTorch"] / times["replaced"]
            print(f"{name:14}{what:22}PyTorch {times['PyTorch'] * 1e3:6.1f} ms, replaced {ratio:.2f} times faster")


if __name__ == "__main__":
    main()
