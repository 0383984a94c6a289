"""Arrays of all libraries: what is read from them, which stream, which device, and what is refused."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuda_arrays import GpuArray, OldGpuArray, Plain
from fastconv import cuda
from fastconv._checks.gpu import is_on_gpu
from fastconv.cuda import arrays, native
from fastconv.cuda.launch import Launch


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [GpuArray, OldGpuArray, Plain, lambda a: a], ids=["dlpack", "old", "cai", "numpy"])
def test_every_protocol_tells_the_same(emulated: ModuleType, x: np.ndarray, kind: Any) -> None:
    found = arrays.look("op", "x", kind(x))
    assert (found.address, found.shape, found.dtype, found.device) == (x.ctypes.data, x.shape, "float32", 0)
    assert found.strides == (12, 4, 1)
    turned = arrays.look("op", "x", kind(x.transpose(2, 0, 1)))
    assert turned.strides == (1, 12, 4)
    assert arrays.memory_order(turned) == (1, 2, 0)
    assert turned.permuted(1, 2, 0).contiguous
    assert arrays.memory_order(arrays.look("op", "x", kind(x[:, :, ::2]))) is None


def test_results_come_from_the_library_of_the_input(emulated: ModuleType, x: np.ndarray) -> None:
    y = cuda.relu(GpuArray(x))
    assert type(y) is GpuArray
    np.testing.assert_array_equal(y.array, np.maximum(x, 0))
    with pytest.raises(TypeError, match="relu: pass out="):
        cuda.relu(Plain(x))


def test_torch_tensors(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, x: np.ndarray) -> None:
    """Asked directly. A tensor in host memory that says it was on a GPU stands for one."""
    torch = pytest.importorskip("torch")

    class OnGpu(torch.Tensor):
        is_cuda = property(lambda self: True)

        def get_device(self) -> int:
            return 1

    tensor = torch.from_numpy(x.copy())
    found = arrays.look("op", "x", tensor.as_subclass(OnGpu))
    assert (found.address, found.shape, found.strides) == (tensor.data_ptr(), (2, 3, 4), (12, 4, 1))
    assert (found.dtype, found.device, found.library) == ("float32", 1, "torch")
    images = torch.zeros((2, 3, 4, 5)).to(memory_format=torch.channels_last).as_subclass(OnGpu)
    assert arrays.look("op", "x", images).permuted(0, 2, 3, 1).contiguous
    assert arrays.look("op", "x", torch.zeros(2, dtype=torch.bfloat16).as_subclass(OnGpu)).dtype == "bfloat16"

    leaf = torch.zeros(2, requires_grad=True)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    with pytest.raises(TypeError, match=r"relu: input requires a gradient that would be lost; pass input.detach\(\)"):
        cuda.relu(leaf)


def test_cupy_arrays(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, x: np.ndarray) -> None:
    """The attributes that CuPy documents, and its current stream."""

    class Array:
        def __init__(self, a: np.ndarray) -> None:
            self.shape, self.strides, self.dtype, self.itemsize = a.shape, a.strides, a.dtype, a.itemsize
            self.data, self.device, self.array = SimpleNamespace(ptr=a.ctypes.data), SimpleNamespace(id=1), a

    stream = emulated.emulate_stream(1)
    cupy = SimpleNamespace(ndarray=Array, cuda=SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=stream)))
    monkeypatch.setitem(__import__("sys").modules, "cupy", cupy)
    out = Array(np.empty_like(x))
    assert arrays.look("op", "x", Array(x))[1:6] == (x.ctypes.data, x.shape, (12, 4, 1), "float32", 1)
    assert arrays.stream(out) == stream
    cuda.relu(Array(x), out=out)
    np.testing.assert_array_equal(out.array, np.maximum(x, 0))
    assert emulated.emulated_orders() == []  # one library, one stream: nobody waits


def test_who_goes_to_the_gpu(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by what an array says of itself, without loading anything for it."""

    class Unspeakable:
        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("no such device in DLPack")

    for value in (GpuArray(x), GpuArray(x, kind=13), Plain(x), SimpleNamespace(is_cuda=True)):
        assert is_on_gpu(value)
    cupy = SimpleNamespace(ndarray=type("ndarray", (), {"__dlpack_device__": None}))
    monkeypatch.setitem(__import__("sys").modules, "cupy", cupy)
    assert is_on_gpu(cupy.ndarray())  # not asked: its answer takes a question to the driver
    for value in (x, GpuArray(x, kind=1), Unspeakable(), SimpleNamespace(is_cuda=False), [1.0], None):
        assert not is_on_gpu(value)


# Streams


def test_streams_of_the_interface(emulated: ModuleType, x: np.ndarray) -> None:
    """Arrays say where they are ready; ours waits for theirs, and afterwards theirs for ours."""
    ours, theirs = emulated.emulate_stream(0), emulated.emulate_stream(0)
    cuda.relu(Plain(x, ours), out=Plain(np.empty_like(x), theirs))
    assert emulated.emulated_orders() == [(theirs, ours), (ours, theirs)]
    cuda.relu(Plain(x, ours), out=Plain(np.empty_like(x), ours))
    cuda.relu(Plain(x, ours), out=Plain(np.empty_like(x), None))  # None: need not be waited for
    assert emulated.emulated_orders() == []
    cuda.relu(Plain(x, ours), out=Plain(np.empty_like(x), 1))  # 1: the legacy default stream
    assert emulated.emulated_orders() == [(0, ours), (ours, 0)]
    assert arrays.stream(Plain(x, 2)) == 2
    with pytest.raises(ValueError, match="relu: input names stream 0"):
        cuda.relu(Plain(x, 0))


def test_dlpack_is_asked_for_data_on_a_stream(emulated: ModuleType, x: np.ndarray) -> None:
    source = GpuArray(x)
    cuda.relu(source)
    assert set(source.asked_for) == {1}


def test_a_stream_of_another_device(emulated: ModuleType, x: np.ndarray) -> None:
    foreign = emulated.emulate_stream(1)
    with pytest.raises(ValueError, match="relu: the stream belongs to device 1, the arrays to device 0"):
        cuda.relu(Plain(x, foreign), out=Plain(np.empty_like(x)))


def test_the_device_of_the_arrays_is_current_for_the_call_alone(emulated: ModuleType, x: np.ndarray) -> None:
    other = arrays.look("op", "x", GpuArray(x, device=1))
    with Launch("op", other):
        assert emulated.enter_device(1, 0) == 1
    assert emulated.enter_device(0, 0) == 0
    with pytest.raises(KeyError), Launch("op", other):
        raise KeyError
    assert emulated.enter_device(0, 0) == 0


# Refused


def test_arrays_on_different_devices(emulated: ModuleType, x: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match="relu: all arrays must lie on one device, got input on device 0 and out on dev"
    ):
        cuda.relu(GpuArray(x), out=GpuArray(np.empty_like(x), device=1))


@pytest.mark.parametrize("of", ["numpy", "torch", "dlpack"])
def test_memory_of_the_host(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch, x: np.ndarray, of: str) -> None:
    monkeypatch.setattr(native, "emulated", lambda: False)
    w = np.zeros((1, 1, 1, 4), np.float32)
    host: Any = w
    if of == "torch":
        host = pytest.importorskip("torch").from_numpy(w)
    elif of == "dlpack":
        host = GpuArray(w, kind=1)
    with pytest.raises(TypeError, match=r"conv2d: weight must be an array on a GPU, got .*in host memory; .*move it"):
        cuda.conv2d(GpuArray(x[None]), host)


def test_memory_of_another_maker_of_gpus(emulated: ModuleType, x: np.ndarray) -> None:
    with pytest.raises(TypeError, match="relu: input must be an array on a GPU, got cuda_arrays.GpuArray of shape"):
        cuda.relu(GpuArray(x, kind=10))


def test_what_cannot_be_taken_as_it_is(emulated: ModuleType, x: np.ndarray) -> None:
    with pytest.raises(TypeError, match="relu: input must be float32, float16 or bfloat16, got float64"):
        cuda.relu(GpuArray(x.astype(np.float64)))
    with pytest.raises(TypeError, match="relu: input must be float32, float16 or bfloat16, got float32 of the other"):
        cuda.relu(Plain(x.astype(">f4")))
    with pytest.raises(ValueError, match="relu: out must lie in memory as input does"):
        cuda.relu(GpuArray(x), out=GpuArray(np.empty((2, 4, 3), np.float32).transpose(0, 2, 1)))
    with pytest.raises(ValueError, match="relu: input must have strides of whole elements"):
        cuda.relu(Plain(x, strides=(48, 16, 3)))
    with pytest.raises(TypeError, match="relu: input must not have a mask"):
        cuda.relu(Plain(x, mask=Plain(x)))
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    for kind in (Plain, GpuArray):
        with pytest.raises(ValueError, match="relu: out must be writeable"):
            cuda.relu(GpuArray(x), out=kind(frozen))


def test_no_driver(x: np.ndarray) -> None:
    """Kernels are there, a device is not."""
    status = "off: CUDA driver version is insufficient for CUDA runtime version; driver for CUDA 11.4, built with 13.0"
    native.use(SimpleNamespace(emulated=False, device_count=lambda: 0, driver_status=lambda: status))  # type: ignore
    try:
        with pytest.raises(cuda.CudaError, match="relu: CUDA is off: CUDA driver version is insufficient"):
            cuda.relu(Plain(x))
    finally:
        native.use(None)


def test_no_code_for_the_device(emulated: ModuleType, x: np.ndarray) -> None:
    why = "cudaErrorNoKernelImageForDevice, no kernel image is available for execution on the device"
    emulated.set_emulation(late_landing=False, backwards=False, launch_error=why)
    try:
        with pytest.raises(
            cuda.CudaError, match=r"kernel relu_forward failed: .*no kernel image.*24 elements.*has code for 75-real"
        ):
            cuda.relu(GpuArray(x))
    finally:
        emulated.set_emulation(late_landing=False, backwards=False)
    cuda.relu(GpuArray(x))
