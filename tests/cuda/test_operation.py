"""Calls whose like was judged before: the same results, the same errors, and little left to do for Python."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fake_cupy
import fastconv
from fastconv import cuda, ops
from fastconv.cuda import native
from fastconv.cuda.arrays import View
from fastconv.cuda.operation import Operation, Output, Plan


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


FUSED: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "activation": "relu"}
# Every quick operation, on the arrays of `Arrays` and with `out` or None.
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "conv2d": lambda a, out: ops.conv2d(a.image, a.filters, a.bias, **FUSED, out=out),
    "conv2d of one image": lambda a, out: ops.conv2d(a.image[1], a.filters, padding="same", out=out),
    "conv2d NHWC": lambda a, out: ops.conv2d(a.nhwc(a.image), a.filters, a.bias, [1, 1], layout="NHWC", out=out),
    "conv2d of planes": lambda a, out: ops.conv2d(a.planes, a.planar_filters, a.bias, **FUSED, out=out),
    "cuda.conv2d": lambda a, out: cuda.conv2d(a.nhwc(a.image), a.nhwc(a.filters), a.bias, precision="ieee", out=out),
    "conv2d_backward_input": lambda a, out: ops.conv2d_backward_input(
        (2, 4, 6, 5), a.filters, a.grad, padding=1, out=out
    ),
    "conv2d_backward_input of planes": lambda a, out: ops.conv2d_backward_input(
        a.image.shape, a.planar_filters, a.grad, padding=1, out=out
    ),
    "conv2d_backward_weight": lambda a, out: ops.conv2d_backward_weight(
        a.image, (6, 4, 3, 2), a.grad, padding=1, out=out
    ),
    "conv2d_backward_weight of planes": lambda a, out: ops.conv2d_backward_weight(
        a.planes, [6, 4, 3, 2], a.grad, padding=1, out=out
    ),
    "conv2d_backward_bias": lambda a, out: ops.conv2d_backward_bias(a.grad, out=out),
    "max_pool2d": lambda a, out: ops.max_pool2d(a.image, 2, out=out),
    "max_pool2d of planes": lambda a, out: ops.max_pool2d(a.planes, 2, out=out),
    "cuda.max_pool2d": lambda a, out: cuda.max_pool2d(a.nhwc(a.image), (2, 3), 1, padding=1, ceil_mode=True, out=out),
    "max_pool2d_backward": lambda a, out: ops.max_pool2d_backward(a.pooled, a.places, (2, 4, 6, 5), 2, out=out),
    "avg_pool2d": lambda a, out: ops.avg_pool2d(a.image, 3, 2, padding=1, count_include_pad=False, out=out),
    "avg_pool2d_backward": lambda a, out: ops.avg_pool2d_backward(a.pooled, (2, 4, 6, 5), 2, out=out),
    "global_avg_pool2d": lambda a, out: ops.global_avg_pool2d(a.image, out=out),
    "global_avg_pool2d_backward": lambda a, out: ops.global_avg_pool2d_backward(a.pixels, (2, 4, 6, 5), out=out),
    "global_max_pool2d": lambda a, out: ops.global_max_pool2d(a.image[1], out=out),
    "relu": lambda a, out: ops.relu(a.image, out=out),
    "add": lambda a, out: ops.add(a.image, a.image, out=out),
    "relu_backward": lambda a, out: ops.relu_backward(a.image, a.image, out=out),
    "sigmoid": lambda a, out: ops.sigmoid(a.image, out=out),
    "gelu_backward": lambda a, out: ops.gelu_backward(a.image, a.image, out=out),
    "linear": lambda a, out: ops.linear(a.rows, a.matrix, a.bias, activation="relu", out=out),
    "linear of one row": lambda a, out: ops.linear(a.rows[1], a.matrix, out=out),
    "linear_backward_input": lambda a, out: ops.linear_backward_input(a.matrix, a.products, out=out),
    "linear_backward_weight": lambda a, out: ops.linear_backward_weight(a.rows, a.products, out=out),
    "linear_backward_bias": lambda a, out: ops.linear_backward_bias(a.products, out=out),
}


def arrays_of(new: Callable[..., Any], nhwc: Callable[[Any], Any], image: Callable[..., Any]) -> SimpleNamespace:
    """`new` makes arrays in C order, `image` channels-last ones, `nhwc` shows these as (N, H, W, C)."""
    a = SimpleNamespace(
        nhwc=nhwc,
        image=image(2, 4, 6, 5),
        planes=new(2, 4, 6, 5),
        filters=image(6, 4, 3, 2),
        planar_filters=new(6, 4, 3, 2),
        bias=new(6),
        grad=image(2, 6, 6, 6),
        pooled=image(2, 4, 3, 2),
        pixels=image(2, 4, 1, 1),
        rows=new(3, 4),
        matrix=new(6, 4),
        products=new(3, 6),
    )
    a.places = ops.max_pool2d(a.image, 2, return_indices=True)[1]
    return a


@pytest.mark.parametrize("name", CASES)
def test_the_second_call_of_torch(torch: Any, rng: np.random.Generator, judged: Judged, name: str) -> None:
    def new(*shape: int) -> Any:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    a = arrays_of(new, lambda x: x.permute(0, 2, 3, 1), lambda *shape: tensor(torch, rng, *shape))
    a.matrix = torch.nn.Parameter(a.matrix, requires_grad=False)
    call = CASES[name]
    judged.new()
    first, second = call(a, None), call(a, None)
    assert judged.new() == 1
    assert (second.shape, second.stride(), second.dtype) == (first.shape, first.stride(), first.dtype)
    assert second.data_ptr() != first.data_ptr()
    assert torch.equal(first, second)
    for array in (a.image, a.planes, a.grad, a.pooled, a.rows, a.products):
        array.mul_(-2.0)  # other numbers at the same place
    truth = call(a, None)
    assert judged.new() == 0
    element_by_element = name in (
        "relu",
        "add",
        "relu_backward",
        "sigmoid",
        "gelu_backward",
    )  # these want their results to lie as their inputs
    for out in (second, torch.empty_like(second), *([] if element_by_element else [second.contiguous()])):
        out.fill_(float("nan"))
        assert call(a, out) is out
        assert torch.equal(out, truth)
        judged.new()
        out.fill_(float("nan"))
        assert call(a, out) is out
        assert judged.new() == 0
        assert torch.equal(out, truth)


@pytest.mark.parametrize("name", [name for name in CASES if name != "linear of one row"])
def test_the_second_call_of_cupy(cupy: fake_cupy.Counts, rng: np.random.Generator, judged: Judged, name: str) -> None:
    def new(*shape: int) -> fake_cupy.Array:
        array = fake_cupy.zeros(shape, np.float32)
        array._host[...] = rng.standard_normal(shape)
        return array

    def image(n: int, c: int, h: int, w: int) -> fake_cupy.Array:
        return new(n, h, w, c).transpose(0, 3, 1, 2)

    a, call = arrays_of(new, lambda x: x.transpose(0, 2, 3, 1), image), CASES[name]
    first = call(a, None)
    cupy.reset()
    judged.new()
    second = call(a, None)
    taken = cupy.allocations
    assert (judged.new(), cupy.waits, cupy.uploads, cupy.downloads) == (0, 0, 0, 0)
    assert 1 <= taken <= 4  # the result, and where planes are converted or the sums of a gradient lie
    assert taken == 1 or "planes" in name or "backward" in name
    assert (second.shape, second.strides) == (first.shape, first.strides)
    np.testing.assert_array_equal(first._host, second._host)
    first._host[...] = np.nan
    assert call(a, first) is first
    first._host[...] = np.nan
    cupy.reset()
    judged.new()
    assert call(a, first) is first
    assert (judged.new(), cupy.allocations) == (0, taken - 1)
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
        ops.avg_pool2d(x, 2, divisor_override=-1)
        ops.elu(x, alpha=1.0)
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
        (lambda: ops.elu(x, alpha=True), "elu: alpha must be a number, got True"),
        (lambda: ops.conv2d(x, w, stride=2**64), "conv2d: stride must fit 64 bits"),
        (lambda: ops.avg_pool2d(x, 2, divisor_override=2**64), "avg_pool2d: divisor_override must fit 64 bits"),
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


def test_devices(cupy: fake_cupy.Counts, emulated: ModuleType) -> None:
    """Each device is another form, and is current for the call alone."""
    here = [fake_cupy.zeros((2, 3), np.float32) for _ in range(3)]
    with fake_cupy.Device(1):
        there = [fake_cupy.zeros((2, 3), np.float32) for _ in range(3)]
    for _ in range(3):
        assert ops.add(here[0], here[1]).device.id == 0
        assert ops.add(there[0], there[1]).device.id == 1
        assert ops.add(here[0], here[1], out=here[2]) is here[2]
        assert ops.add(there[0], there[1], out=there[2]) is there[2]
        assert emulated.enter_device(0, 0) == 0
        for arrays in ((here[0], there[1], here[2]), (here[0], here[1], there[2])):
            with pytest.raises(ValueError, match="add: all arrays must lie on one device, got input on device 0 and"):
                ops.add(*arrays[:2], out=arrays[2])


def test_the_device_is_current_for_the_judge(cupy: fake_cupy.Counts, emulated: ModuleType) -> None:
    """What it asks of the GPU, the number of its multiprocessors say, is asked of the right one."""
    seen = []

    def judge(op: str, x: View, out: View | None) -> Plan:
        seen.append(emulated.enter_device(1, 0))
        return Plan(emulated.plan_relu(6, dtype="float32"), (Output(x.shape, x.dtype),))

    with fake_cupy.Device(1):
        x = fake_cupy.zeros((2, 3), np.float32)
    probe = Operation("probe", ("input", "mask"), lambda op, x, mask, out: judge(op, x, out))
    assert probe((x, None), None, ()).device.id == 1
    assert seen == [1]
    assert emulated.enter_device(0, 0) == 0


def test_arrays_of_two_libraries_are_judged_each_time(
    cupy: fake_cupy.Counts, torch: Any, rng: np.random.Generator, judged: Judged
) -> None:
    """Their streams have to wait for each other."""
    x, other = tensor(torch, rng, 3, 4), fake_cupy.zeros((3, 4), np.float32)
    for _ in range(2):
        ops.add(x, x)
        ops.add(other, other)
    judged.new()
    for _ in range(2):
        ops.add(x, other)
        ops.add(other, x)
    assert judged.new() == 4


def test_memory_orders(cupy: fake_cupy.Counts, rng: np.random.Generator) -> None:
    """Two arrays of one shape, one channels-last and one not, and a part of one."""
    planes = fake_cupy.zeros((2, 3, 4, 5), np.float32)
    planes._host[...] = rng.standard_normal(planes.shape)
    last = fake_cupy.zeros((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    last._host[...] = planes._host
    for _ in range(2):
        for x in (planes, last):
            assert ops.relu(x).strides == x.strides
            np.testing.assert_array_equal(
                ops.max_pool2d(x, 2)._host, ops.max_pool2d(planes._host.astype(np.float64), 2)
            )
        wide = fake_cupy.zeros((2, 3, 4, 10), np.float32)[..., ::2]
        with pytest.raises(ValueError, match="relu: input must fill its memory without gaps"):
            ops.relu(wide)


def test_strictness_is_part_of_the_form(torch: Any, rng: np.random.Generator, monkeypatch: Any) -> None:
    x, w = tensor(torch, rng, 2, 4, 6, 5), tensor(torch, rng, 6, 4, 3, 3)
    for _ in range(2):
        ops.conv2d(x.contiguous(), w)
    monkeypatch.setattr(fastconv.config, "strict", True)
    for _ in range(2):
        ops.conv2d(x, w)
        with pytest.raises(RuntimeError, match="conv2d: .*strict refuses a slow path: input is NCHW in memory"):
            ops.conv2d(x.contiguous(), w)
        with pytest.raises(RuntimeError, match="conv2d: .*strict refuses a slow path: out is NCHW in memory"):
            ops.conv2d(x, w, out=torch.empty((2, 6, 4, 3)))


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


def test_nothing_is_kept(torch: Any, rng: np.random.Generator) -> None:
    """Neither arrays nor options are held longer than the call."""
    x, w, b, y = (tensor(torch, rng, *shape) for shape in ((2, 4, 6, 5), (6, 4, 3, 3), (6,), (2, 6, 6, 5)))
    part = overlapping(torch, x, y)
    padding, layout = ((1, 1), (1, 1)), "NC" + "HW"[:2]

    def counts() -> list[int]:
        return [sys.getrefcount(value) for value in (x, w, b, y, padding, layout)]

    ops.conv2d(x, w, b, padding=padding, layout=layout, out=y)
    before = counts()
    for _ in range(100):
        ops.conv2d(x, w, b, padding=padding, layout=layout, out=y)
        ops.conv2d(x.contiguous(), w, b, padding=padding, layout=layout)
        with pytest.raises(ValueError, match="must not overlap"):
            ops.conv2d(x, w, b, padding=padding, layout=layout, out=part)
    assert counts() == before


def test_many_threads(torch: Any) -> None:
    """They share the plans of an operation, and each gets its own result."""
    inputs = [torch.arange(-size, size, dtype=torch.float32) for size in range(1, 40)]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(x.numel() for x in inputs if not torch.equal(cuda.relu(x), x.clamp(min=0)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


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
        (
            lambda: ops.conv2d(x, w, b, padding=1, activation="relu"),
            6,
        ),  # conv2d twice; is it a GPU's, where; strict; the call
        (lambda: cuda.conv2d(x.permute(0, 2, 3, 1), w.permute(0, 2, 3, 1), b), 2),
        (lambda: ops.max_pool2d(x, 2), 6),
        (lambda: ops.relu(x), 5),
        (lambda: ops.linear(x[:, :, 0, 0].contiguous(), b.reshape(6, 1).repeat(1, 4), b), 5),
    ):
        call()
        assert len(entered(call)) <= most, entered(call)


def test_options_of_activations(torch: Any, rng: np.random.Generator) -> None:
    """Functions and their numbers have plans of their own, and errors name the function."""
    x = tensor(torch, rng, 2, 4, 6, 5)
    for _ in range(2):
        for alpha in (0.5, 2.0):
            assert torch.allclose(ops.elu(x, alpha=alpha), torch.nn.functional.elu(x, alpha), atol=1e-6)
            assert torch.allclose(ops.leaky_relu(x, alpha), torch.nn.functional.leaky_relu(x, alpha))
        assert torch.allclose(ops.tanh(x), torch.tanh(x), atol=1e-6)
        with pytest.raises(ValueError, match="^tanh: input must be aligned"):
            ops.tanh(misaligned(torch, x))
