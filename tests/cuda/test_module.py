"""The module itself: with and without a GPU, errors, and the stub."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastconv
from fastconv import cuda


def test_without_kernels_or_driver_everything_says_why() -> None:
    assert cuda.device_count() >= 0
    assert cuda.status().startswith(("on", "off"))
    assert fastconv.info().cuda == cuda.status()
    if cuda.device_count() == 0:
        with pytest.raises(cuda.CudaError):
            cuda.device_properties()


def test_numpy_arrays_are_refused_without_the_emulator() -> None:
    x = np.zeros((1, 4, 4, 8), np.float32)
    with pytest.raises((TypeError, cuda.CudaError), match="conv2d: "):
        cuda.conv2d(x, x)


def test_a_failed_launch_names_kernel_and_geometry(emulated: ModuleType) -> None:
    """2^31 blocks are one too many; no memory is touched."""
    with pytest.raises(cuda.CudaError, match="kernel fill failed: a grid has at most 2147483647 blocks .* elements"):
        emulated.fill(16, 0.0, 2**31 * 1024, stream=0)
    with pytest.raises(cuda.CudaError, match="devices 0 and 1"):
        cuda.device_properties(2)


def test_any_array_with_the_cuda_interface_is_taken(emulated: ModuleType) -> None:
    class Foreign:
        def __init__(self, array: np.ndarray) -> None:
            self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3, "stream": None}

    x, out = np.array([-1.0, 2.0], np.float32), np.empty(2, np.float32)
    cuda.relu(Foreign(x), out=Foreign(out))
    assert out.tolist() == [0, 2]
    with pytest.raises(TypeError, match="relu: pass out="):
        cuda.relu(Foreign(x))


def test_the_stub_has_the_names_of_the_module(emulated: ModuleType) -> None:
    stub = ast.parse((Path(fastconv.__file__).parent / "_cuda.pyi").read_text(encoding="utf-8"))
    names = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    values = {n.target.id for n in stub.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    public = {name for name in {*names, *values} if not name.startswith("_")}
    assert public == {name for name in dir(emulated) if not name.startswith("_")}
    for name, node in names.items():
        if isinstance(node, ast.FunctionDef):
            signature = inspect.getdoc(getattr(emulated, name)) or ""
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                assert f"{argument.arg}:" in signature.splitlines()[0], (name, argument.arg)
