"""Which compiled module runs the kernels: `_cuda`, or none and why. Tests put the emulator in its place."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from fastconv import _core
from fastconv.cuda.error import CudaError

_module: ModuleType | None = None
_why_not = ""
calls: dict[Any, Any] = {}  # of each `Operation`, in this module
_has_device = False  # once seen, not asked for again at every call


def _load() -> ModuleType | None:
    global _module, _why_not
    if _module is None and not _why_not:
        try:
            _module = importlib.import_module("fastconv._cuda")
        except ModuleNotFoundError:
            _why_not = _core.cuda_status()
        except ImportError as error:
            _why_not = f"off: the module with the kernels does not load: {error}"
    return _module


def use(module: ModuleType | None) -> None:
    """Run kernels in this module from now on; None goes back to the own one."""
    global _module, _why_not, _has_device
    _module, _why_not, _has_device = module, "", False
    calls.clear()


def module(op: str) -> Any:
    """The compiled module, or a CudaError that says why there is none, or no device: driver missing or too old."""
    global _has_device
    loaded = _load()
    if loaded is None:
        raise CudaError(f"{op}: CUDA is {_why_not}")
    if not _has_device:
        if loaded.device_count() == 0:
            raise CudaError(f"{op}: CUDA is {loaded.driver_status()}")
        _has_device = True
    return loaded


def emulated() -> bool:
    """Whether kernels run on the CPU, on NumPy arrays."""
    loaded = _load()
    return loaded is not None and bool(loaded.emulated)


def status() -> str:
    """Say in one sentence whether GPU kernels can run here, and why not."""
    loaded = _load()
    return _why_not if loaded is None else str(loaded.driver_status())


def device_count() -> int:
    """Return the number of GPUs; 0 without a driver or without compiled kernels."""
    loaded = _load()
    return 0 if loaded is None else int(loaded.device_count())


def device_properties(device: int = 0) -> dict[str, Any]:
    """Return name, compute_capability, multiprocessors and memory_bytes of a GPU.

    Raises
    ------
    CudaError
        If there is no such device.
    """
    found: dict[str, Any] = module("device_properties").device_properties(device)
    return found
