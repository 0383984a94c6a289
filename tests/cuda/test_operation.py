"""Calls whose like was judged before: the same results, the same errors, and little left to do for Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fake_cupy
from fastconv import cuda, ops
from fastconv.cuda import native
from fastconv.cuda.operation import Operation


@pytest.fixture
def torch(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch, whose tensors in host memory pass for some on a GPU."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this PyTorch has no functions in C for DLPack")
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(torch.Tensor, "get_device", lambda self: 0, raising=False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: SimpleNamespace(cuda_stream=0))
    return torch


class Judged:
    """How often Python had to judge."""

    def __init__(self) -> None:
        self.times = 0

    def new(self) -> int:
        times, self.times = self.times, 0
        return times


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judged:
    count, judge = Judged(), Operation._judged

    def counting(self: Operation, *arguments: Any) -> Any:
        count.times += 1
        return judge(self, *arguments)

    monkeypatch.setattr(Operation, "_judged", counting)
    return count


def tensor(torch: Any, rng: np.random.Generator, *shape: int) -> Any:
    """Channels-last where it has four dimensions."""
    made = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return made.to(memory_format=torch.channels_last) if len(shape) == 4 else made


def cases(new: Callable[..., Any], image: Any, filters: Any, single: Any, nhwc: Callable[[Any], Any]) -> dict[str, Any]:
    """Calls of every quick operation; `out` or None is passed to each."""
    bias, rows, matrix = new(6), new(3, 4), new(6, 4)
    fused: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "activation": "relu"}
    return {
        "conv2d": lambda out: ops.conv2d(image, filters, bias, **fused, out=out),
        "conv2d of one image": lambda out: ops.conv2d(single, filters, padding="same", out=out),
        "conv2d NHWC": lambda out: ops.conv2d(nhwc(image), filters, bias, [1, 1], layout="NHWC", out=out),
        "cuda.conv2d": lambda out: cuda.conv2d(nhwc(image), nhwc(filters), bias, precision="ieee", out=out),
        "max_pool2d": lambda out: ops.max_pool2d(image, 2, out=out),
        "cuda.max_pool2d": lambda out: cuda.max_pool2d(nhwc(image), (2, 3), 1, padding=1, ceil_mode=True, out=out),
        "avg_pool2d": lambda out: ops.avg_pool2d(image, 3, 2, padding=1, count_include_pad=False, out=out),
        "global_avg_pool2d": lambda out: ops.global_avg_pool2d(image, out=out),
        "global_max_pool2d": lambda out: ops.global_max_pool2d(single, out=out),
        "relu": lambda out: ops.relu(image, out=out),
        "add": lambda out: ops.add(image, image, out=out),
        "relu_backward": lambda out: ops.relu_backward(image, image, out=out),
        "linear": lambda out: ops.linear(rows, matrix, bias, activation="relu", out=out),
        "linear of one row": lambda out: ops.linear(rows[1], matrix, out=out),
    }


NAMES = list(cases(lambda *_: [0, 0], [0], [0], 0, lambda a: a))


@pytest.mark.parametrize("name", NAMES)
def test_the_second_call_of_torch(torch: Any, rng: np.random.Generator, judged: Judged, name: str) -> None:
    image = tensor(torch, rng, 2, 4, 6, 5)
    made = cases(
        lambda *shape: tensor(torch, rng, *shape),
        image,
        torch.nn.Parameter(tensor(torch, rng, 6, 4, 3, 2), requires_grad=False),
        image[1],
        lambda a: a.permute(0, 2, 3, 1),
    )
    call = made[name]
    first, second = call(None), call(None)
    assert judged.new() == 1
    assert (second.shape, second.stride(), second.dtype) == (first.shape, first.stride(), first.dtype)
    assert second.data_ptr() != first.data_ptr()
    assert torch.equal(first, second)
    image.mul_(-2.0)  # another image at the same place
    truth = call(None)
    second.fill_(float("nan"))
    assert call(second) is second
    assert judged.new() == 1  # with `out` it is another form
    second.fill_(float("nan"))
    assert call(second) is second
    assert judged.new() == 0
    assert torch.equal(second, truth)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "linear of one row"])
def test_the_second_call_of_cupy(cupy: fake_cupy.Counts, rng: np.random.Generator, judged: Judged, name: str) -> None:
    def new(*shape: int) -> fake_cupy.Array:
        array = fake_cupy.zeros(shape, np.float32)
        array._host[...] = rng.standard_normal(shape)
        return array

    def images(n: int, c: int, h: int, w: int) -> fake_cupy.Array:
        return new(n, h, w, c).transpose(0, 3, 1, 2)

    image = images(2, 4, 6, 5)
    call = cases(new, image, images(6, 4, 3, 2), image[1], lambda a: a.transpose(0, 2, 3, 1))[name]
    first = call(None)
    cupy.reset()
    second = call(None)
    assert (judged.new(), cupy.allocations, cupy.waits, cupy.uploads, cupy.downloads) == (1, 1, 0, 0, 0)
    assert (second.shape, second.strides) == (first.shape, first.strides)
    np.testing.assert_array_equal(first._host, second._host)
    first._host[...] = np.nan
    assert call(first) is first
    first._host[...] = np.nan
    cupy.reset()
    assert call(first) is first
    assert (judged.new(), cupy.allocations) == (1, 0)
    np.testing.assert_array_equal(first._host, second._host)


def test_indices_are_a_second_result(torch: Any, rng: np.random.Generator, judged: Judged) -> None:
    x = tensor(torch, rng, 2, 4, 6, 5)
    (y, places), (again, same) = (ops.max_pool2d(x, 2, return_indices=True) for _ in range(2))
    assert judged.new() == 1
    assert torch.equal(y, again)
    assert torch.equal(places, same)
    out = torch.empty_like(y)
    for _ in range(2):
        assert ops.max_pool2d(x, 2, return_indices=True, out=out)[0] is out
    assert judged.new() == 1


def test_in_place(torch: Any, rng: np.random.Generator) -> None:
    x = tensor(torch, rng, 3, 4)
    expected = torch.clamp(x, min=0)
    for _ in range(2):
        assert ops.relu(x, out=x) is x
        assert torch.equal(x, expected)


# Every form is judged, and nothing passes because something like it passed


def test_options_that_look_alike(torch: Any, rng: np.random.Generator) -> None:
    x, w = tensor(torch, rng, 1, 4, 6, 5), tensor(torch, rng, 6, 4, 3, 3)
    for _ in range(2):
        ops.conv2d(x, w, stride=1, padding=1)
        ops.conv2d(x, w, stride=(1, 1), padding="same")
        ops.max_pool2d(x, 2, 1, 0, 1, False)
    wrong: list[tuple[Any, str]] = [
        (lambda: ops.conv2d(x, w, stride=True, padding=1), "conv2d: stride must be an integer, got True"),
        (lambda: ops.conv2d(x, w, stride=1.0, padding=1), "conv2d: stride must be an integer, got 1.0"),
        (lambda: ops.conv2d(x, w, stride=(1, True), padding="same"), r"conv2d: stride\[1\] must be an integer"),
        (lambda: ops.conv2d(x, w, stride=np.True_, padding=1), "conv2d: stride must be an integer, got"),
        (lambda: ops.conv2d(x, w, padding="samE"), "conv2d: padding must be one of"),
        (lambda: ops.conv2d(x, w, padding=1, layout="NWHC"), "conv2d: layout must be one of"),
        (lambda: ops.conv2d(x, w, padding=1, algo="winograd"), "conv2d: algo must be 'auto' or 'direct'"),
        (lambda: ops.conv2d(x, w, padding=1, precision="tf"), "conv2d: precision must be"),
        (lambda: ops.max_pool2d(x, 2, 1, 0, 1, 0), "max_pool2d: ceil_mode must be True or False"),
        (lambda: ops.conv2d(x, w, stride=2**64), "conv2d: stride must fit 64 bits"),
    ]
    for call, text in wrong:
        for _ in range(2):
            with pytest.raises((TypeError, ValueError), match=text):
                call()
    assert ops.conv2d(x, w, stride=np.int64(1), padding=1).shape == (1, 6, 6, 5)


def test_arrays_that_look_alike(torch: Any, rng: np.random.Generator) -> None:
    x, w, b = tensor(torch, rng, 2, 4, 6, 5), tensor(torch, rng, 6, 4, 3, 3), tensor(torch, rng, 6)
    y = ops.conv2d(x, w, b, padding=1)

    def fails(error: type[Exception], text: str, *arrays: Any, out: Any = None) -> None:
        ops.conv2d(x, w, b, padding=1)
        ops.conv2d(x, w, b, padding=1, out=y)
        for _ in range(2):
            with pytest.raises(error, match=text):
                ops.conv2d(*arrays, padding=1, out=out)

    fails(TypeError, "conv2d: weight must be float32, got float64", x, w.double(), b)
    fails(TypeError, "conv2d: input must be float32, got float64", x.double(), w, b)
    fails(ValueError, r"conv2d: bias must have shape \(6,\), got \(7,\)", x, w, torch.zeros(7))
    fails(ValueError, "conv2d: bias must be C-contiguous", x, w, torch.zeros(12)[::2])
    fails(ValueError, r"conv2d: out must have shape .*, got \(2, 6, 5, 6\)", x, w, b, out=y.new_empty((2, 6, 5, 6)))
    fails(ValueError, "conv2d: out must not overlap input", x, w, b, out=overlapping(torch, x, y))
    fails(ValueError, "conv2d: input must be aligned to 4 bytes", misaligned(torch, x), w, b)
    fails(TypeError, "conv2d: weight must be a plain strided tensor", x, torch._neg_view(w), b)
    fails(TypeError, "conv2d: weight must be an array on a GPU", x, w.numpy().tolist(), b)
    with torch.enable_grad():
        fails(TypeError, "conv2d: weight requires a gradient that would be lost", x, w.clone().requires_grad_(), b)
        fails(TypeError, "conv2d: bias requires a gradient that would be lost", x, w, torch.nn.Parameter(b))


def overlapping(torch: Any, x: Any, like: Any) -> Any:
    """A result that shares memory with x."""
    memory = torch.empty(like.numel() + x.numel(), dtype=torch.float32)
    out = torch.as_strided(memory, like.shape, like.stride(), x.numel() // 2)
    x.set_(memory.untyped_storage(), 0, x.shape, x.stride())
    return out


def misaligned(torch: Any, x: Any) -> Any:
    memory = torch.zeros(4 * x.numel() + 5, dtype=torch.uint8)
    floats = memory.numpy()[1 : 1 + 4 * x.numel()].view(np.float32)
    return torch.as_strided(torch.from_numpy(floats), x.shape, x.stride())


def test_parameters_without_gradients_are_quick(torch: Any, rng: np.random.Generator, judged: Judged) -> None:
    x, w = tensor(torch, rng, 3, 4), torch.nn.Parameter(tensor(torch, rng, 6, 4))
    with torch.no_grad():
        for _ in range(3):
            ops.linear(x, w)
    assert judged.new() == 1
    with torch.enable_grad(), pytest.raises(TypeError, match="linear: weight requires a gradient"):
        ops.linear(x, w)


def test_the_stream_of_another_device(cupy: fake_cupy.Counts, emulated: ModuleType) -> None:
    x = fake_cupy.zeros((2, 3), np.float32)
    cuda.relu(x)
    foreign = emulated.emulate_stream(1)
    fake_cupy.state.stream = fake_cupy.Stream(foreign)
    try:
        for _ in range(2):
            with pytest.raises(ValueError, match="relu: the stream belongs to device 1, the arrays to device 0"):
                cuda.relu(x)
    finally:
        fake_cupy.state.stream = fake_cupy.Stream()


def test_arrays_of_two_libraries_are_judged_each_time(torch: Any, rng: np.random.Generator, judged: Judged) -> None:
    x, other = tensor(torch, rng, 3, 4), rng.standard_normal((3, 4)).astype(np.float32)
    for _ in range(2):
        ops.add(x, other)
    assert judged.new() == 2


def test_what_needs_a_conversion_has_no_plan(torch: Any, rng: np.random.Generator, judged: Judged) -> None:
    x, w = tensor(torch, rng, 2, 4, 6, 5), tensor(torch, rng, 6, 4, 3, 3)
    first = ops.conv2d(x.contiguous(), w)
    judged.new()
    assert torch.equal(ops.conv2d(x.contiguous(), w), first)
    assert torch.equal(ops.conv2d(x, w), first)


def test_an_error_of_a_launch(torch: Any, emulated: ModuleType) -> None:
    x = torch.zeros(8)
    cuda.relu(x)
    emulated.set_emulation(late_landing=False, backwards=False, launch_error="cudaErrorUnknown")
    try:
        with pytest.raises(cuda.CudaError, match="kernel relu_forward failed: cudaErrorUnknown"):
            cuda.relu(x)
    finally:
        emulated.set_emulation(late_landing=False, backwards=False)
    cuda.relu(x)


# What it costs


def test_forms_are_forgotten_when_there_are_many(torch: Any) -> None:
    for size in range(1, 1100):
        cuda.relu(torch.zeros(size))
    (calls,) = native.calls.values()
    assert 0 < len(calls) <= 1024
    assert torch.equal(cuda.relu(torch.ones(7)), torch.ones(7))


def entered(call: Callable[[], object]) -> list[str]:
    """The Python functions that a call enters, itself left out."""
    names: list[str] = []
    sys.setprofile(lambda frame, event, _: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names[1:]


def test_a_call_enters_few_functions_of_python(torch: Any, rng: np.random.Generator) -> None:
    x, w, b = tensor(torch, rng, 2, 4, 6, 5), tensor(torch, rng, 6, 4, 3, 3), tensor(torch, rng, 6)
    for call, most in (
        (lambda: ops.conv2d(x, w, b, padding=1, activation="relu"), 5),  # conv2d twice, is it a GPU's, where, the call
        (lambda: cuda.conv2d(x.permute(0, 2, 3, 1), w.permute(0, 2, 3, 1), b), 2),
        (lambda: ops.max_pool2d(x, 2), 6),
        (lambda: ops.relu(x), 5),
        (lambda: ops.linear(x[:, :, 0, 0].contiguous(), b.reshape(6, 1).repeat(1, 4), b), 5),
    ):
        call()
        assert len(entered(call)) <= most, entered(call)
